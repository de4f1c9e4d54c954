"""The datamodule in real trainers of both packages."""

from __future__ import annotations

import pickle

import lightning.pytorch as lightning
import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from curricula import CurriculumCallback, CurriculumDataModule, CurriculumLoader
from tests.models import Constant, Linear, Rows, rows_of, tasks_of_constants, tasks_of_rows, trainer

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def recording(package):
    """Return a model of one of the packages that notes what it is trained and validated on."""

    class Recording(package.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 1)
            self.trained = []
            self.validated = []

        def training_step(self, batch, batch_idx):
            if torch.is_grad_enabled():
                self.trained.append((float(batch[0].mean()), len(batch[0])))
            return (self.layer(batch[0]) - batch[1]).square().mean()

        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self.validated.append((dataloader_idx, float(batch[0].mean()), len(batch[0])))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-5)  # inputs may be large

    return Recording()


def fit(datamodule, package=pl, **options):
    callback, model = CurriculumCallback(), recording(package)
    fitter = package.Trainer(callbacks=[callback], **{**QUIET, "num_sanity_val_steps": 0, **options})
    fitter.fit(model, datamodule=datamodule)
    return model, callback


# ---------------------------------------------------------------- made from tasks


@pytest.mark.parametrize("workers", [0, 1])
def test_it_trains_on_the_curriculum_and_validates_every_task_in_order(workers):
    datamodule = CurriculumDataModule(
        tasks_of_constants(["a", "b"]),
        {"x": Constant(5, size=6), "y": DataLoader(Constant(7, size=3), batch_size=3)},
        batch_size=4,
        steps_per_epoch=5,
        num_workers=workers,
    )
    model, callback = fit(datamodule, max_epochs=2)
    assert callback.teacher.tasks == ("a", "b")
    assert [constant for constant, _ in model.trained] == callback.history.column("arm").tolist()
    assert {size for _, size in model.trained} == {4}
    assert model.validated == [(0, 5.0, 4), (0, 5.0, 2), (1, 7.0, 3)] * 2


def test_without_validation_tasks_no_validation_runs():
    model, callback = fit(CurriculumDataModule(tasks_of_constants(["a"]), batch_size=4), max_epochs=2)
    assert model.validated == []
    assert callback.teacher.updates == 16


def test_an_iterable_validation_task_is_batched_like_a_training_task():
    class Stream(IterableDataset):
        def __iter__(self):
            data = Constant(3, size=5)
            return (data[index] for index in range(5))

    datamodule = CurriculumDataModule(tasks_of_constants(["a"]), {"x": Stream()}, batch_size=4)
    model, _ = fit(datamodule, max_epochs=1)
    assert model.validated == [(0, 3.0, 4), (0, 3.0, 1)]


def test_validation_batches_are_collated_like_training_batches():
    datamodule = CurriculumDataModule(tasks_of_rows(4), {"v": Rows(0, 4)}, batch_size=2, collate_fn=tuple)
    assert list(datamodule.val_dataloader()["v"]) == [((0, 0), (0, 1)), ((0, 2), (0, 3))]
    assert {row for batch in datamodule.train_dataloader() for row in batch} == {(0, k) for k in range(4)}


def test_all_options_reach_the_loader():
    datamodule = CurriculumDataModule(
        tasks_of_rows(6, 6), batch_size=3, steps_per_epoch=4, grid={"x": 2}, seed=8, shuffle=False, drop_last=True
    )
    loader = datamodule.train_dataloader()
    assert isinstance(loader, CurriculumLoader)
    assert (len(loader), loader.batch_size, loader.grid, loader.seed) == (4, 3, {"x": ["1", "2"]}, 8)
    assert rows_of(next(iter(loader)))[1] == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tasks": {}}, ValueError, "at least one task"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"bach_size": 4}, TypeError, "unexpected keyword argument 'bach_size'"),
        ({"grid": {"x": 3}}, ValueError, r"grid \(x: 3\) has 3 cells for 1 tasks"),
        ({"val_tasks": {"v": []}}, ValueError, "task 'v' is an empty dataset"),
        ({"val_tasks": {}}, ValueError, "at least one task"),
        ({"val_tasks": [Rows(0, 1)]}, TypeError, "tasks must be a mapping"),
    ],
)
def test_whatever_is_wrong_is_said_when_it_is_made(arguments, error, message):
    with pytest.raises(error, match=message):
        CurriculumDataModule(**{"tasks": tasks_of_rows(4), **arguments})


def test_validating_without_validation_tasks_is_refused_by_lightning():
    with pytest.raises(MisconfigurationException, match="val_dataloader"):
        trainer().validate(recording(pl), datamodule=CurriculumDataModule(tasks_of_constants(["a"])))


@pytest.mark.parametrize("val_tasks", [None, {"v": Constant(5, size=4)}])
def test_a_pickled_datamodule_is_the_same(val_tasks):
    datamodule = CurriculumDataModule(tasks_of_constants(["a", "b"]), val_tasks, batch_size=4, steps_per_epoch=5)
    sent = pickle.loads(pickle.dumps(datamodule))
    first, _ = fit(datamodule, max_epochs=1)
    second, _ = fit(sent, max_epochs=1)
    assert second.trained == first.trained
    assert second.validated == first.validated == ([] if val_tasks is None else [(0, 5.0, 4)])


# ---------------------------------------------------------------- made from a datamodule


class Hooks:
    """What a user's datamodule may have; it notes which of it is called."""

    def __init__(self):
        super().__init__()
        self.called = []
        self.ready = False

    def prepare_data(self):
        self.called.append("prepare_data")

    def setup(self, stage):
        self.called.append("setup")
        self.ready = True

    def teardown(self, stage):
        self.called.append("teardown")

    def train_dataloader(self):
        assert self.ready, "setup was called on the object whose loaders are asked for"
        return {name: DataLoader(data, batch_size=4) for name, data in tasks_of_constants(["a", "b"]).items()}

    def val_dataloader(self):
        return DataLoader(Constant(9, size=2), batch_size=2)

    def on_before_batch_transfer(self, batch, dataloader_idx):
        self.called.append("before transfer")
        return batch

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch[0] + 100.0, batch[1]


class Existing(Hooks, pl.LightningDataModule):
    pass


class ExistingOfTheOtherPackage(Hooks, lightning.LightningDataModule):
    pass


BOTH = pytest.mark.parametrize(
    ("package", "kind"),
    [(pl, Existing), (lightning, ExistingOfTheOtherPackage)],
    ids=["pytorch_lightning", "lightning"],
)


@BOTH
def test_an_existing_datamodule_is_served_as_one_curriculum(package, kind):
    original = kind()
    adopted = CurriculumDataModule.from_datamodule(original, steps_per_epoch=6)
    assert isinstance(adopted, kind)
    model, callback = fit(adopted, package, max_epochs=2)
    assert callback.teacher.updates == 12
    assert callback.teacher.tasks == ("a", "b")
    arms = callback.history.column("arm").tolist()
    assert set(arms) == {0, 1}
    assert model.trained == [(100.0 + arm, 4) for arm in arms], "the hooks of the transfer are still the user's"
    assert model.validated == [(0, 109.0, 2)] * 2


@BOTH
def test_the_hooks_of_the_copy_are_called_and_the_original_stays_as_it_was(package, kind):
    original = kind()
    adopted = CurriculumDataModule.from_datamodule(original)
    adopted.called = []
    fit(adopted, package, max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    assert [call for call in adopted.called if call != "before transfer"] == [
        "prepare_data",
        "setup",
        "teardown",
    ]
    assert adopted.called.count("before transfer") == 1
    assert original.called == []
    assert not original.ready
    assert original.trainer is None
    original.ready = True
    assert isinstance(original.train_dataloader(), dict)


def test_the_class_is_asked_for_an_instance():
    with pytest.raises(TypeError, match=r"takes an instance of a LightningDataModule, got <class .*Existing"):
        CurriculumDataModule.from_datamodule(Existing)


def test_what_has_no_training_loader_is_refused():
    with pytest.raises(TypeError, match=r"takes an instance of a LightningDataModule, got \{'a': 1\}"):
        CurriculumDataModule.from_datamodule({"a": 1})


def test_loaders_that_are_no_dict_are_refused_when_training_starts():
    class Single(pl.LightningDataModule):
        def train_dataloader(self):
            return DataLoader(Constant(0))

    adopted = CurriculumDataModule.from_datamodule(Single())
    with pytest.raises(TypeError, match=r"Single.train_dataloader\(\) must return a dict .* got DataLoader"):
        fit(adopted, max_epochs=1)


def test_a_pickled_copy_serves_itself():
    adopted = CurriculumDataModule.from_datamodule(Existing(), steps_per_epoch=3)
    sent = pickle.loads(pickle.dumps(adopted))
    model, callback = fit(sent, max_epochs=1)
    assert len(model.trained) == callback.teacher.updates == 3
    assert sent.ready
    assert not adopted.ready


def test_a_loader_may_be_returned_from_any_datamodule():
    class Own(lightning.LightningDataModule):
        def train_dataloader(self):
            return CurriculumLoader(tasks_of_constants(["a", "b"]), batch_size=4, steps_per_epoch=7)

    _, callback = fit(Own(), lightning, max_epochs=1)
    assert callback.teacher.updates == 7


def test_a_loader_may_be_returned_from_the_module():
    class Own(Linear):
        def train_dataloader(self):
            return CurriculumLoader(tasks_of_constants(["a", "b"]), batch_size=4, steps_per_epoch=7)

    callback = CurriculumCallback()
    trainer(callback, max_epochs=1).fit(Own())
    assert callback.teacher.updates == 7
