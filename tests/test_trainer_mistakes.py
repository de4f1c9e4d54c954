"""Trainers that are set up in unusual ways, or wrongly: the curriculum works, or says what to do instead."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import (
    BatchSizeFinder,
    LearningRateFinder,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from pytorch_lightning.utilities import CombinedLoader
from torch.utils.data import DataLoader

from curricula import CurriculumCallback, CurriculumLoader
from curricula.signals import Signal
from tests.models import Constant, Linear, Noisy, tasks_of_constants, trainer


def loader(steps=20, **options):
    return CurriculumLoader(tasks_of_constants("abc"), batch_size=4, steps_per_epoch=steps, **options)


def held_out():
    return DataLoader(Constant(1.0), batch_size=4)


class Evaluated(Linear):
    """Can be evaluated in all ways."""

    def validation_step(self, batch, batch_idx):
        self.log("val", super().training_step(batch, batch_idx))

    def test_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx)

    def predict_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx)


# ---------------------------------------------------------------- more than one


def test_two_callbacks_are_refused():
    callback = CurriculumCallback()
    for second in (callback, CurriculumCallback()):
        with pytest.raises(RuntimeError, match="CurriculumCallback"):  # Lightning's own
            trainer(callback, second)
    fitter = trainer(callback)
    fitter.callbacks.append(CurriculumCallback())
    with pytest.raises(MisconfigurationException, match=r"has 2 callbacks of the kind CurriculumCall.*: give one"):
        fitter.fit(Linear(), loader())


class Inner(pl.Callback):
    """Trains another model in the middle of a training."""

    def __init__(self, callback, data):
        self.callback = callback
        self.data = data

    def on_train_batch_end(self, trainer_of_outer, *_):
        if trainer_of_outer.global_step == 5:
            trainer(self.callback, max_steps=5).fit(Linear(), self.data)


def test_a_loader_of_two_trainers_at_once_is_refused():
    shared = loader()
    with pytest.raises(RuntimeError, match=r"one running iterator at a time.* or make a second loader"):
        trainer(CurriculumCallback(), Inner(CurriculumCallback(), shared)).fit(Linear(), shared)


def test_a_callback_of_two_trainers_at_once_is_refused():
    shared = CurriculumCallback()
    with pytest.raises(RuntimeError, match=r"several trainers share .*: give each a callback of its own"):
        trainer(shared, Inner(shared, loader())).fit(Linear(), loader())


def test_trainers_one_after_the_other_may_share_a_loader():
    shared, arms = loader(), []
    for _ in range(2):
        torch.manual_seed(0)
        callback = CurriculumCallback()
        trainer(callback, max_epochs=1).fit(Linear(), shared)
        arms.append(callback.history.column("arm").tolist())
    assert arms[0] == arms[1]


# ---------------------------------------------------------------- evaluation

FOR_EVALUATION = "given for validation, test or prediction as well.*: give a DataLoader per task"


def test_the_loader_that_is_trained_on_is_refused_as_validation_data():
    shared = loader()
    with pytest.raises(RuntimeError, match=FOR_EVALUATION):
        trainer(CurriculumCallback(), max_epochs=1).fit(Evaluated(), shared, shared)


@pytest.mark.parametrize("kind", ["validate", "test", "predict"])
def test_the_loader_that_was_trained_on_is_refused_for_evaluation(kind):
    callback, shared, model = CurriculumCallback(), loader(), Evaluated()
    fitter = trainer(callback, max_epochs=1)
    fitter.fit(model, shared)
    before = callback.teacher.state_dict()
    with pytest.raises(RuntimeError, match=FOR_EVALUATION):
        getattr(fitter, kind)(model, shared)
    assert callback.teacher.state_dict() == before


@pytest.mark.parametrize("kind", ["validate", "test", "predict"])
def test_evaluation_leaves_the_curriculum_alone(kind):
    callback, model = CurriculumCallback(), Evaluated()
    fitter = trainer(callback, max_epochs=1)
    getattr(fitter, kind)(model, held_out())
    fitter.fit(model, loader())
    before = callback.teacher.state_dict()
    getattr(fitter, kind)(model, held_out())
    assert callback.teacher.state_dict() == before
    assert callback.history.steps == 20


def test_the_evaluation_of_a_checkpoint_is_no_resume(tmp_path):
    best = ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=10)
    fitter = trainer(CurriculumCallback(), best, max_epochs=3, enable_checkpointing=True)
    fitter.fit(Evaluated(), loader())
    path = next(tmp_path.glob("*step=10.ckpt"))

    looked, evaluator = CurriculumCallback(), Evaluated()
    anew = trainer(looked, max_epochs=1)
    anew.validate(evaluator, held_out(), ckpt_path=path)
    assert looked.history.steps == 10, "what the checkpoint recorded can be looked at"
    anew.fit(evaluator, loader())
    assert looked.history.steps == looked.teacher.updates == 20

    callback, model, data = CurriculumCallback(), Evaluated(), loader()
    on = trainer(callback, max_epochs=1)
    on.fit(model, data)
    on.validate(model, held_out(), ckpt_path=path)
    on.fit_loop.max_epochs = 2
    on.fit(model, data)
    assert callback.history.steps == callback.teacher.updates == 40


# ---------------------------------------------------------------- lengths


@pytest.mark.parametrize("nothing", [{"max_epochs": 0}, {"max_steps": 0}, {"limit_train_batches": 0.0}])
def test_where_there_is_no_step_to_train_the_history_says_so(nothing):
    callback = CurriculumCallback()
    trainer(callback, **nothing).fit(Linear(), loader())
    with pytest.raises(RuntimeError, match=r"no history before training starts: .* with a step to train"):
        callback.history  # noqa: B018


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"fast_dev_run": 3}, 3),
        ({"limit_train_batches": 0.3, "max_epochs": 2}, 12),
        ({"limit_train_batches": 1000, "max_epochs": 2}, 40),
        ({"overfit_batches": 0.5, "max_epochs": 2}, 20),
        ({"max_steps": 7, "max_epochs": -1}, 7),
        ({"reload_dataloaders_every_n_epochs": 1, "max_epochs": 3}, 60),
        ({"detect_anomaly": True, "max_steps": 10}, 10),
        ({"inference_mode": False, "max_steps": 10}, 10),
        ({"profiler": "simple", "max_steps": 10}, 10),
        ({"precision": "64-true", "max_steps": 10}, 10),
        ({"precision": "bf16-true", "max_steps": 10}, 10),
        ({"precision": "bf16-mixed", "max_steps": 10}, 10),
        ({"gradient_clip_val": 0.5, "gradient_clip_algorithm": "value", "max_steps": 10}, 10),
        ({"deterministic": True, "max_steps": 10}, 10),
    ],
    ids=lambda value: "-".join(f"{key}={entry}" for key, entry in value.items()) if isinstance(value, dict) else "",
)
def test_every_step_of_a_trainer_has_its_draw_and_its_reward(options, steps):
    callback = CurriculumCallback()
    fitter = trainer(callback, **options)
    fitter.fit(Linear(), loader())
    assert fitter.global_step == callback.history.steps == callback.teacher.updates == steps
    assert callback.teacher.open_draws() == []
    assert np.isfinite(callback.history.column("progress")).all()


def test_a_barebones_trainer_is_fine():
    callback = CurriculumCallback()
    pl.Trainer(barebones=True, callbacks=[callback], accelerator="cpu", max_steps=10).fit(Linear(), loader())
    assert callback.teacher.updates == 10


# ---------------------------------------------------------------- other data beside it


class TakesApart(Linear):
    """Takes the curriculum's part of a batch."""

    def training_step(self, batch, batch_idx):
        return super().training_step(batch["curriculum"], batch_idx)


def beside(mode):
    return CombinedLoader({"curriculum": loader(), "other": DataLoader(Constant(1.0), batch_size=1)}, mode)


def test_beside_a_loader_that_is_longer_it_starts_over():
    callback = CurriculumCallback()
    trainer(callback, max_epochs=2).fit(TakesApart(), beside("max_size_cycle"))
    assert callback.history.steps == callback.teacher.updates == 64


def test_a_loader_that_goes_on_without_it_is_refused():
    with pytest.raises(RuntimeError, match=r'CombinedLoader of mode "max_size" after the end.*use "max_size_cycle"'):
        trainer(CurriculumCallback(), max_epochs=1).fit(TakesApart(), beside("max_size"))


# ---------------------------------------------------------------- callbacks that train on the side


class Midway(LearningRateFinder):
    """Looks for a learning rate in the middle of a training."""

    def on_fit_start(self, *_):
        pass

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            self.lr_find(trainer, pl_module)


def test_a_search_for_the_learning_rate_before_the_training_leaves_no_trace(tmp_path):
    def run(*others):
        torch.manual_seed(0)
        callback, model = CurriculumCallback(), Evaluated()
        trainer(*others, callback, max_epochs=3, default_root_dir=tmp_path).fit(model, loader())
        return callback.history.column("arm").tolist(), callback.teacher.state_dict(), model.layer.weight.tolist()

    assert run(LearningRateFinder(num_training_steps=15, update_attr=False)) == run()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_search_for_the_learning_rate_in_the_middle_spends_draws_and_nothing_else(workers, tmp_path):
    callback, model, data = CurriculumCallback(), Evaluated(), loader(num_workers=workers)
    search = Midway(num_training_steps=15, update_attr=False)
    fitter = trainer(search, callback, max_epochs=3, default_root_dir=tmp_path)
    fitter.fit(model, data)
    assert callback.history.steps == callback.teacher.updates == 60
    assert callback.teacher.draws > 60
    assert len(callback.teacher.open_draws()) == len(data.state_dict()["content"]["undelivered"])
    fitter.fit_loop.max_epochs = 4
    fitter.fit(model, data)
    assert callback.history.steps == callback.teacher.updates == 80, "it goes on, not back to the search"


def test_a_search_for_the_batch_size_stays_out_of_the_curriculum(tmp_path):
    class Module(pl.LightningDataModule):
        batch_size = 2

        def train_dataloader(self):
            return CurriculumLoader(tasks_of_constants("abc"), batch_size=self.batch_size, steps_per_epoch=20)

    callback, data = CurriculumCallback(), Module()
    finder = BatchSizeFinder(max_trials=2, steps_per_trial=2)
    trainer(finder, callback, max_epochs=2, default_root_dir=tmp_path).fit(Linear(), datamodule=data)
    assert data.batch_size == 4
    assert callback.history.steps == callback.teacher.draws == 40


def test_running_statistics_are_renewed_on_all_tasks():
    class Watching(Noisy):
        renewed_on: tuple[float, ...] = ()

        def training_step(self, batch, batch_idx):
            if self.trainer.fit_loop._skip_backward:
                self.renewed_on = (*self.renewed_on, float(batch[0][0, 0]))
            return super().training_step(batch, batch_idx)

    callback, model = CurriculumCallback(), Watching(2)
    averaging = StochasticWeightAveraging(1e-2)
    trainer(averaging, callback, max_epochs=4).fit(model, loader())
    assert len(model.renewed_on) == 20
    assert set(model.renewed_on) == {0.0, 1.0, 2.0}
    assert callback.history.steps < 100
    assert len(callback.teacher.open_draws()) <= 1


# ---------------------------------------------------------------- functions of the user's


class Gives(Signal):
    """Gives what it is told to."""

    def __init__(self, value):
        self.value = value

    def after_step(self, step):
        return self.value


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"cost": lambda batch: None}, TypeError, r"cost\(batch\) must be a number, got None"),
        ({"cost": lambda batch: torch.ones(2)}, TypeError, r"cost\(batch\) must be a number, got tensor\(\[1., 1.\]\)"),
        ({"cost": lambda batch: 0}, ValueError, "the cost of a step must be finite and > 0, got 0.0 for task '[abc]'"),
        ({"signal": Gives("much")}, TypeError, r"after_step\(\) of the signal must be a number, got 'much'"),
    ],
)
def test_a_cost_or_a_signal_that_gives_no_number_is_told(options, kind, message):
    with pytest.raises(kind, match=message):
        trainer(CurriculumCallback(**options), max_epochs=1).fit(Linear(), loader())
