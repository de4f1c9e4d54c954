"""Prediction gain is the fall of the loss, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import FixedPolicy
from curricula.signals import PredictionGain
from tests.models import Linear, Noisy, noisy_tasks, trainer

STEPS = 12


def fit(model, *, batch_size=8, callback=None, **options):
    callback = callback or CurriculumCallback(FixedPolicy.uniform(), PredictionGain())
    loader = CurriculumLoader(noisy_tasks(), batch_size=batch_size, steps_per_epoch=STEPS)
    trainer(callback, **{"max_epochs": 1, **options}).fit(model, loader)
    return callback.history


class ByHand(Linear):
    """Computes its gains itself: the loss of the step's batches with the parameters that the step made."""

    def __init__(self, lr=0.05, micro_batches=1):
        super().__init__(4, lr)
        self.micro_batches = micro_batches
        self.batches = []
        self.old = []
        self.gains = []

    def loss(self, batch):
        inputs, targets = batch
        return (self.layer(inputs) - targets).square().mean()

    def training_step(self, batch, batch_idx):
        return self.loss(batch)

    def on_train_batch_start(self, batch, batch_idx):
        with torch.no_grad():
            self.old.append(float(self.loss(batch)))
        self.batches.append(batch)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if len(self.batches) < self.micro_batches:
            return
        with torch.no_grad():
            new = [float(self.loss(batch)) for batch in self.batches]
        self.gains.append((sum(self.old) / len(self.old), sum(new) / len(new)))
        self.old.clear()
        self.batches.clear()


def test_it_is_the_difference_of_the_losses_before_and_after_the_step():
    model = ByHand()
    history = fit(model)
    assert history.column("progress").tolist() == [old - new for old, new in model.gains]
    assert history.column("loss").tolist() == [old for old, _ in model.gains]
    assert len(model.gains) == STEPS


def test_one_step_of_gradient_descent_by_hand():
    class OneWeight(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

        def training_step(self, batch, batch_idx):
            return (self.weight * batch.mean() - 4.0) ** 2

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.125)

    callback = CurriculumCallback(signal=PredictionGain())
    loader = CurriculumLoader({"only": torch.ones(4, dtype=torch.float64)}, batch_size=4, steps_per_epoch=2)
    trainer(callback, max_epochs=1).fit(OneWeight(), loader)
    # w = 1, 1.75, 2.3125: each step takes a quarter of the way to 4
    assert callback.history.column("loss").tolist() == [9.0, 5.0625]
    assert callback.history.column("progress").tolist() == [9.0 - 5.0625, 5.0625 - 1.6875**2]


def test_under_accumulation_it_is_the_mean_over_the_batches_of_the_step():
    model = ByHand(micro_batches=3)
    history = fit(model, accumulate_grad_batches=3)
    assert len(model.gains) == STEPS // 3
    old, new = np.transpose(model.gains)
    assert history.column("progress") == pytest.approx(old - new, abs=1e-6)  # Lightning keeps a third of each loss
    assert history.column("loss") == pytest.approx(old)


def test_under_accumulation_by_two_it_is_exact():
    model = ByHand(micro_batches=2)
    assert fit(model, accumulate_grad_batches=2).column("progress").tolist() == [old - new for old, new in model.gains]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_that_changes_nothing_teaches_nothing_whatever_the_dropout(accumulate):
    class Still(Noisy):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.0)

    history = fit(Still(), accumulate_grad_batches=accumulate)
    assert history.column("progress").tolist() == [0.0] * (STEPS // accumulate)
    assert history.column("loss").min() > 0


def test_it_is_negative_where_the_step_did_harm():
    model = ByHand(lr=10.0)
    assert fit(model, max_steps=3).column("progress").max() < 0


def test_a_loss_of_the_modules_own_is_measured_before_and_after():
    class Own(ByHand):
        def training_step(self, batch, batch_idx):
            return 3.0 * self.loss(batch)

        def curriculum_loss(self, batch, batch_idx):
            return self.loss(batch)

    model = Own(lr=0.01)
    history = fit(model)
    assert history.column("progress").tolist() == [old - new for old, new in model.gains]
    assert history.column("loss").tolist() == [old for old, _ in model.gains]


def test_a_training_step_may_take_its_batch_apart():
    class Popping(ByHand):
        def training_step(self, batch, batch_idx):
            return self.loss((batch.pop(0), batch.pop(0)))

        on_train_batch_start = on_train_batch_end = lambda *_: None

    model, reference = Popping(), ByHand()
    reference.load_state_dict(model.state_dict())
    assert fit(model).column("progress").tolist() == fit(reference).column("progress").tolist()
