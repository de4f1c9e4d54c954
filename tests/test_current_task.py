"""A module can ask which task the batch in hand is of."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader

from curricula import CurriculumCallback, CurriculumLoader, current_task
from curricula.signals import (
    FirstOrderPredictionGain,
    MeanPredictionGain,
    PredictionGain,
    SelfPredictionGain,
    TargetPredictionGain,
)
from tests.models import Linear, tasks_of_constants, trainer

NAMES = ("a", "b", "c", "held out")
ASKED = Counter()  # not in the module, where a probe leaves no trace


class Asking(Linear):
    """Compares the task that it is told with the one that the batch shows."""

    def __init__(self):
        super().__init__()
        ASKED.clear()

    def check(self, where, batch):
        expected = NAMES[int(batch[0][0, 0])]
        told = current_task(self.trainer)
        assert told == ("(held-out target)" if expected == "held out" else expected), where
        ASKED[where] += 1

    def on_before_batch_transfer(self, batch, dataloader_idx):
        if self.trainer.training:
            self.check("transfer", batch)
        return batch

    def on_train_batch_start(self, batch, batch_idx):
        self.check("start", batch)

    def training_step(self, batch, batch_idx):
        self.check("step" if torch.is_grad_enabled() else "probe", batch)
        return super().training_step(batch, batch_idx)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.check("start", batch)

    def validation_step(self, batch, batch_idx):
        assert current_task(self.trainer) is None
        ASKED["validation"] += 1

    def val_dataloader(self):
        return DataLoader(tasks_of_constants(["a"])["a"], batch_size=8)


@pytest.mark.parametrize(
    ("signal", "probes"),
    [(FirstOrderPredictionGain, 0), (PredictionGain, 1), (SelfPredictionGain, 2), (MeanPredictionGain, 2)],
)
@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}, {"val_check_interval": 4}], ids=str)
@pytest.mark.parametrize("workers", [0, 1])
def test_the_task_is_that_of_the_batch_everywhere(signal, probes, options, workers):
    model = Asking()
    loader = CurriculumLoader(tasks_of_constants(NAMES[:3]), batch_size=8, steps_per_epoch=8, num_workers=workers)
    trainer(CurriculumCallback(signal=signal()), max_epochs=2, **options).fit(model, loader)
    assert ASKED["step"] == 16
    assert ASKED["start"] == 32
    assert bool(ASKED["probe"]) == bool(probes)
    assert ASKED["transfer"] >= 16
    assert ASKED["validation"] > 0


def test_a_held_out_target_is_told_as_that():
    model = Asking()
    target = tasks_of_constants(NAMES)["held out"]
    callback = CurriculumCallback(signal=TargetPredictionGain(), target=target)
    loader = CurriculumLoader(tasks_of_constants(NAMES[:3]), batch_size=8, steps_per_epoch=8)
    trainer(callback, max_epochs=1, limit_val_batches=0).fit(model, loader)
    assert ASKED["probe"] == 16


def test_without_a_callback_or_a_batch_there_is_none():
    fitter = trainer(max_epochs=1)
    assert current_task(fitter) is None
    fitter = trainer(CurriculumCallback(), max_epochs=1)
    assert current_task(fitter) is None


class Fetching(Linear):
    """Fetches its batches itself."""

    def training_step(self, dataloader_iter):
        batch, batch_idx, _ = next(dataloader_iter)
        return super().training_step(batch, batch_idx)


def test_a_training_step_that_fetches_its_batches_is_refused_before_anything_is_trained():
    loader = CurriculumLoader(tasks_of_constants(NAMES), batch_size=8, steps_per_epoch=8)
    with pytest.raises(MisconfigurationException, match=r"Fetching.training_step\(self, dataloader_iter\) fetches"):
        trainer(CurriculumCallback(), max_epochs=1).fit(Fetching(), loader)


def test_trainers_of_the_other_package_are_asked_alike():
    import lightning.pytorch as other

    class Module(other.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)
            self.seen = set()

        def training_step(self, batch, batch_idx):
            self.seen.add(current_task(self.trainer))
            return self.layer(batch[0]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    module = Module()
    loader = CurriculumLoader(tasks_of_constants(NAMES), batch_size=8, steps_per_epoch=30)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    other.Trainer(max_epochs=1, callbacks=[CurriculumCallback()], **quiet).fit(module, loader)
    assert module.seen == set(NAMES)
