"""Unbiased gradient prediction gain: the inner product of the gradients of two halves of a step."""

from __future__ import annotations

import math

import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from torch.utils.data import TensorDataset

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import FixedPolicy
from curricula.signals import GradientPredictionGain, UnbiasedGradientPredictionGain
from tests.models import Linear, noisy_tasks, trainer
from tests.ranks import on_ranks
from tests.test_ranks import make_trainer

STEPS = 12


class ByHand(Linear):
    """Writes down the gradient of every micro-batch, in closed form."""

    def __init__(self, lr=0.05):
        super().__init__(4, lr)
        self.double()
        self.gradients = []

    def training_step(self, batch, batch_idx):
        inputs, targets = (part.double() for part in batch)
        with torch.no_grad():
            errors = self.layer(inputs) - targets
            self.gradients.append(2 * torch.cat([errors * inputs, errors], dim=1).mean(dim=0))
        return super().training_step((inputs, targets), batch_idx)

    def gain(self, first, last, split):
        """Inner product of the mean gradients of the micro-batches [first, split) and [split, last)."""
        parts = torch.stack(self.gradients[first:split]), torch.stack(self.gradients[split:last])
        return float(torch.dot(*(part.mean(dim=0) for part in parts)))


def fit(model, signal=None, steps=STEPS, tasks=None, callbacks=(), **options):
    callback = CurriculumCallback(FixedPolicy.uniform(), signal or UnbiasedGradientPredictionGain())
    loader = CurriculumLoader(tasks or noisy_tasks(), batch_size=4, steps_per_epoch=steps)
    trainer(callback, *callbacks, **{"max_epochs": 1, **options}).fit(model, loader)
    return callback


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_it_is_the_inner_product_of_the_mean_gradients_of_the_halves(parts):
    model = ByHand()
    seen = fit(model, accumulate_grad_batches=parts).history.column("progress")
    by_hand = [model.gain(start, start + parts, start + parts // 2) for start in range(0, STEPS, parts)]
    assert seen == pytest.approx(by_hand, rel=1e-10)


def test_it_is_taken_before_clipping():
    model = ByHand()
    seen = fit(model, accumulate_grad_batches=2, gradient_clip_val=1e-3).history.column("progress")
    by_hand = [model.gain(start, start + 2, start + 1) for start in range(0, STEPS, 2)]
    assert seen == pytest.approx(by_hand, rel=1e-10)


def test_a_step_cut_short_counts_what_it_has_and_teaches_nothing_without_a_second_half():
    model = ByHand()
    callback = fit(model, steps=9, accumulate_grad_batches=4)
    progress = callback.history.column("progress")
    by_hand = [model.gain(0, 4, 2), model.gain(4, 8, 6)]
    assert progress[:2] == pytest.approx(by_hand, rel=1e-10)
    assert math.isnan(progress[2])
    assert callback.teacher.updates == 2
    assert sum(callback.teacher.skipped) == 0
    model = ByHand()
    progress = fit(model, steps=7, accumulate_grad_batches=4).history.column("progress")
    assert progress[1] == pytest.approx(model.gain(4, 7, 6), rel=1e-10)


class Still(Linear):
    """Does not move, so that the expected gradient stays what it is."""

    def __init__(self):
        super().__init__(4, 0.0)
        torch.nn.init.zeros_(self.layer.weight)
        torch.nn.init.zeros_(self.layer.bias)


def test_pure_noise_has_no_gain_on_average_where_the_squared_norm_sees_one(any_seed):
    """At 6 standard errors, the chance that it fails although all is right is below 1e-8."""
    numbers = torch.Generator().manual_seed(any_seed)
    noise = {
        "noise": TensorDataset(torch.randn(4096, 4, generator=numbers), torch.randn(4096, 1, generator=numbers)),
    }
    options = {"tasks": noise, "steps": 1024, "accumulate_grad_batches": 2}
    unbiased = fit(Still(), **options).history.column("progress")
    squared = fit(Still(), GradientPredictionGain(), **options).history.column("progress")
    error = unbiased.std() / math.sqrt(len(unbiased))
    assert abs(unbiased.mean()) < 6 * error
    assert squared.mean() > 20 * error


def test_it_needs_a_second_batch_and_says_so_at_setup():
    with pytest.raises(MisconfigurationException, match=r"second batch.*accumulates 1.*accumulate_grad_batches=2"):
        fit(ByHand())


def test_accumulation_that_is_scheduled_is_enough():
    schedule = GradientAccumulationScheduler({0: 1, 1: 2})
    callback = fit(ByHand(), steps=4, callbacks=[schedule], max_epochs=2)
    progress = callback.history.column("progress")
    assert [math.isnan(value) for value in progress] == [True] * 4 + [False] * 2


def test_manual_optimisation_is_refused_at_setup():
    class Manual(ByHand):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

    with pytest.raises(MisconfigurationException, match="optimises manually"):
        fit(Manual())


def test_a_signal_of_ones_own_sees_every_backward_pass():
    class Norms(GradientPredictionGain):
        needs_micro_batches = True

        def __init__(self):
            self.seen = []

        def after_backward(self, step):
            self.seen.append((step.draw.id, step.num_micro_batches, step.accumulation, len(step.gradients())))

    signal = Norms()
    fit(ByHand(), signal, steps=6, accumulate_grad_batches=3)
    assert signal.seen == [(draw, part, 3, 2) for draw in (0, 1) for part in (1, 2, 3)]


def train_by_hand(folder):
    pl.seed_everything(0, verbose=False)
    callback, model = CurriculumCallback(signal=UnbiasedGradientPredictionGain()), ByHand()
    fitter = make_trainer(callback, max_epochs=1, accumulate_grad_batches=2)
    fitter.fit(model, CurriculumLoader(noisy_tasks(), batch_size=4, steps_per_epoch=8))
    return {
        "gradients": [gradient.tolist() for gradient in model.gradients],
        "progress": callback.history.column("progress").tolist(),
    }


def test_over_ranks_the_second_half_is_all_that_is_not_the_first(tmp_path):
    (ranks,) = on_ranks(train_by_hand, tmp_path, (2, []))
    gradients = torch.tensor([rank["gradients"] for rank in ranks], dtype=torch.float64)  # (rank, micro-batch, width)
    by_hand = []
    for start in range(0, 8, 2):
        total = gradients[:, start : start + 2].sum(dim=(0, 1))
        firsts = gradients[:, start]
        by_hand.append(float(torch.stack([first @ (total - first) / 3 for first in firsts]).mean()))
    assert ranks[0]["progress"] == pytest.approx(by_hand, rel=1e-10)
    assert ranks[0]["progress"] == ranks[1]["progress"]
