"""A run with several draws per step that was interrupted goes on as if it had not been."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from curricula import CurriculumCallback, CurriculumLoader, signals
from curricula.bandits import Exp3S, FixedPolicy
from curricula.rewards import QuantileScaler
from tests.models import Linear, noisy_tasks, trainer

STEPS = 26
FURTHER = 3


class PerSample(Linear):
    """Linear regression with an optimiser that has a state, and a loss for every sample."""

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        losses = (self.layer(inputs) - targets).square().flatten(1).mean(dim=1)
        return {"loss": losses.mean(), "losses": losses}

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Save(pl.Callback):
    """Saves a checkpoint after every batch, or after those that end a step."""

    def __init__(self, folder, within=False):
        self.folder = folder
        self.within = within
        self.batches = 0
        self.saved = {}

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.batches += 1
        done = trainer.global_step
        if self.within or done not in self.saved:
            self.saved[self.batches if self.within else done] = path = self.folder / f"{self.batches}.ckpt"
            trainer.save_checkpoint(path)


@dataclass
class Case:
    """One way to train."""

    signal: Any = signals.PredictionGain
    bandit: Any = lambda: Exp3S(eta=0.05, epsilon=0.2, beta=0.02)
    loader: dict[str, Any] = field(default_factory=dict)
    accumulate: int = 1
    every: int = 1

    def fit(self, *others, steps=STEPS, checkpoint=None):
        pl.seed_everything(0, verbose=False)
        own = CurriculumCallback(self.bandit(), self.signal(), QuantileScaler(window=40, warmup=3), seed=3)
        options = {"batch_size": 8, "draws_per_batch": 4, "steps_per_epoch": 10, "seed": 3, **self.loader}
        options["steps_per_epoch"] *= self.accumulate
        model = PerSample(4)
        fitter = trainer(own, *others, max_steps=steps, accumulate_grad_batches=self.accumulate)
        fitter.fit(model, CurriculumLoader(noisy_tasks(), **options), ckpt_path=checkpoint)
        return own, model

    @property
    def points(self):
        return range(1, STEPS - FURTHER, self.every)


CASES = {
    "four draws": Case(),
    "fresh batches": Case(signal=signals.SelfPredictionGain, loader={"draws_per_batch": 2}),
    "draws of every batch": Case(accumulate=2, loader={"redraw": "batch", "draws_per_batch": 8}),
    "fresh batches, draws of every batch": Case(
        signal=signals.SelfPredictionGain, accumulate=2, loader={"redraw": "batch"}
    ),
    "draws of every step": Case(accumulate=3, loader={"redraw": "step"}, every=2),
    "a fixed policy": Case(signal=signals.GradientPredictionGain, bandit=FixedPolicy.uniform, every=2),
    "first-order gains": Case(signal=signals.FirstOrderPredictionGain, every=4),
    "workers": Case(loader={"num_workers": 1}, every=12),
}


def state_of(path):
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_resumed_run_is_exact_from_every_step(case, tmp_path):
    saver = Save(tmp_path)
    case.fit(saver)
    assert set(range(1, STEPS + 1)) <= set(saver.saved)
    for step in case.points:
        own, model = case.fit(steps=step + FURTHER, checkpoint=saver.saved[step])
        later = state_of(saver.saved[step + FURTHER])
        expected = later["callbacks"]["CurriculumCallback"]
        found = own.state_dict()
        assert found["teacher"] == expected["teacher"], step
        assert found["history"]["sha256"] == expected["history"]["sha256"], step
        if "num_workers" not in case.loader:  # else it differs in what is on its way
            assert found["loader"]["content"]["visits"] == expected["loader"]["content"]["visits"], step
            assert found["loader"]["content"]["samples"] == expected["loader"]["content"]["samples"], step
        for name, value in model.state_dict().items():
            assert torch.equal(value, later["state_dict"][name]), (step, name)


def test_resuming_is_tested_at_a_hundred_points():
    assert sum(len(case.points) for case in CASES.values()) >= 100


@pytest.mark.parametrize("redraw", ["step", "batch"])
def test_from_the_middle_of_a_step_no_draw_is_lost_or_rewarded_twice(redraw, tmp_path):
    case, saver = Case(accumulate=3, loader={"redraw": redraw}), Save(tmp_path, within=True)
    whole, _ = case.fit(saver, steps=8)
    for batch, path in saver.saved.items():
        if batch < 12:
            open_draws = len(state_of(path)["callbacks"]["CurriculumCallback"]["teacher"]["content"]["open"])
            assert open_draws == 4 * (batch % 3 if redraw == "batch" else batch % 3 > 0)
            own, _ = case.fit(steps=8, checkpoint=path)
            assert own.teacher.open_draws() == [], batch
            assert own.teacher.draws == whole.teacher.draws
            assert own.history.steps == own.teacher.updates == 8
            lost = 4 * (batch % 3) if redraw == "batch" else 0
            assert own.history.draws.sum() == whole.history.draws.sum() - lost
