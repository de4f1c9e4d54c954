"""Gradient prediction gain is the squared norm of the gradient of the loss."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import FixedPolicy
from curricula.signals import GradientPredictionGain, PredictionGain
from curricula.signals.tensors import squared_norm
from tests.models import Linear, noisy_tasks, trainer

SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=100)
STEPS = 12


def fit(model, signal=None, *, tasks=None, batch_size=8, **options):
    callback = CurriculumCallback(FixedPolicy.uniform(), signal or GradientPredictionGain())
    loader = CurriculumLoader(tasks or noisy_tasks(), batch_size=batch_size, steps_per_epoch=STEPS)
    trainer(callback, **{"max_epochs": 1, **options}).fit(model, loader)
    return callback.history.column("progress")


class ByHand(Linear):
    """Computes the gradient of the mean squared error in closed form."""

    def __init__(self, lr=0.05, micro_batches=1):
        super().__init__(4, lr)
        self.micro_batches = micro_batches
        self.gradients = []
        self.norms = []

    def on_train_batch_start(self, batch, batch_idx):
        inputs, targets = batch
        with torch.no_grad():
            errors = self.layer(inputs) - targets
            self.gradients.append(2 * torch.cat([errors * inputs, errors], dim=1).mean(dim=0).double())
        if len(self.gradients) == self.micro_batches:
            self.norms.append(float(torch.stack(self.gradients).mean(dim=0).square().sum()))
            self.gradients.clear()


def test_it_is_the_squared_norm_of_the_gradient():
    model = ByHand()
    assert fit(model) == pytest.approx(model.norms, rel=1e-5)
    assert len(model.norms) == STEPS


def test_under_accumulation_it_is_of_the_averaged_gradient():
    model = ByHand(micro_batches=3)
    assert fit(model, accumulate_grad_batches=3) == pytest.approx(model.norms, rel=1e-5)
    assert len(model.norms) == STEPS // 3


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_it_is_taken_before_clipping(algorithm):
    model = ByHand()
    progress = fit(model, gradient_clip_val=1e-3, gradient_clip_algorithm=algorithm)
    assert progress == pytest.approx(model.norms, rel=1e-5)
    assert progress.min() > 1e-4, "far above what clipping leaves"


def test_it_is_the_limit_of_prediction_gain_per_learning_rate():
    class Double(pl.LightningModule):
        def __init__(self, lr):
            super().__init__()
            torch.manual_seed(0)
            self.network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()
            self.lr = lr

        def training_step(self, batch, batch_idx):
            inputs, targets = batch
            return (self.network(inputs.double()) - targets).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=self.lr)

    def ratios(lr):
        return fit(Double(lr), PredictionGain()) / (lr * fit(Double(lr)))

    errors = [abs(ratios(lr) - 1).max() for lr in (1e-3, 1e-4, 1e-5)]
    assert errors[2] < 1e-3
    assert errors[0] > errors[1] > errors[2], "the rest is the curvature, which goes with the learning rate"


def test_frozen_parameters_do_not_count():
    class Frozen(ByHand):
        def __init__(self):
            super().__init__()
            self.layer.bias.requires_grad_(False)

        def on_train_batch_start(self, batch, batch_idx):
            super().on_train_batch_start(batch, batch_idx)
            with torch.no_grad():
                error = (self.layer(batch[0]) - batch[1]).mean()
            self.norms[-1] -= float(2 * error) ** 2

    model = Frozen()
    assert fit(model) == pytest.approx(model.norms, rel=1e-4)


def test_sparse_gradients_count_like_dense_ones():
    class Embedding(pl.LightningModule):
        def __init__(self, sparse):
            super().__init__()
            torch.manual_seed(0)
            self.embedding = nn.Embedding(10, 3, sparse=sparse)

        def training_step(self, batch, batch_idx):
            return self.embedding(batch).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    tasks = {"twice": torch.tensor([1, 1, 1, 7]), "once": torch.arange(10)}
    sparse, dense = (fit(Embedding(kind), tasks=tasks, batch_size=4) for kind in (True, False))
    assert sparse == pytest.approx(dense)
    assert dense.min() > 0


# ---------------------------------------------------------------- the norm


@SETTINGS
@given(st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=6), min_size=1, max_size=4))
def test_the_squared_norm_is_the_sum_of_squares(values):
    norm = squared_norm([torch.tensor(numbers, dtype=torch.float64) for numbers in values])
    assert float(norm) == pytest.approx(
        sum(number**2 for numbers in values for number in numbers), rel=1e-9, abs=1e-300
    )
    assert norm.shape == ()


def test_nothing_has_the_norm_zero():
    assert float(squared_norm([])) == 0.0
    assert float(squared_norm([torch.zeros(0)])) == 0.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single_precision(dtype):
    large = torch.full((4, 4), 200.0, dtype=dtype)  # its squares are beyond float16
    assert float(squared_norm([large])) == pytest.approx(16 * 200.0**2)
    many = torch.full((4096,), 0.0625, dtype=dtype)
    assert float(squared_norm([many, many])) == pytest.approx(2 * 4096 * 0.0625**2, rel=1e-5)


def test_tensors_of_several_kinds_are_taken_together():
    sparse = torch.sparse_coo_tensor(
        [[0, 0, 2]], [1.0, 2.0, 4.0], (5,), check_invariants=True
    )  # not coalesced: 3 and 4
    parts = [
        torch.tensor([2.0]),
        torch.tensor(3.0, dtype=torch.float64),
        torch.tensor([1.0], dtype=torch.bfloat16),
        sparse,
    ]
    assert float(squared_norm(parts)) == 4.0 + 9.0 + 1.0 + 25.0


def test_what_is_not_finite_stays_so():
    assert torch.isnan(squared_norm([torch.tensor([1.0, float("nan")])]))
    assert torch.isinf(squared_norm([torch.tensor([float("inf")])]))
