"""First-order prediction gain: what the gradient promised for the step that was made."""

from __future__ import annotations

import pytest
import torch

from curricula.signals import FirstOrderPredictionGain, GradientPredictionGain, PredictionGain
from tests.signals.gains import STEPS, Exact, progress

OPTIMIZERS = [
    (torch.optim.SGD, {}),
    (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.1}),
    (torch.optim.Adam, {}),
    (torch.optim.AdamW, {"weight_decay": 0.1}),
]


@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS)
@pytest.mark.parametrize("training", [{}, {"accumulate_grad_batches": 3}], ids=str)
def test_it_is_minus_the_inner_product_of_gradient_and_step(optimizer, options, training):
    model = Exact(0.02, optimizer, **options)
    seen = progress(model, FirstOrderPredictionGain(), **training)
    steps = zip(model.gradients, model.before, model.after, strict=True)
    by_hand = [-float(torch.dot(gradient, new - old)) for gradient, old, new in steps]
    assert seen.tolist() == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS)
def test_it_is_prediction_gain_as_steps_get_small(optimizer, options):
    lr = 1e-7
    ratio = progress(Exact(lr, optimizer, **options), FirstOrderPredictionGain()) / progress(
        Exact(lr, optimizer, **options), PredictionGain()
    )
    assert ratio.tolist() == pytest.approx([1.0] * STEPS, rel=1e-3)


def test_under_plain_sgd_it_is_the_step_size_times_gradient_prediction_gain():
    lr = 0.01
    first_order, norm = progress(Exact(lr), FirstOrderPredictionGain()), progress(Exact(lr), GradientPredictionGain())
    assert first_order.tolist() == pytest.approx((lr * norm).tolist(), rel=1e-9)


class ClipsItself(Exact):
    """Overrides the hook in which Lightning clips."""

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
        self.clip_gradients(optimizer, gradient_clip_val=0.5, gradient_clip_algorithm="norm")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Exact, {"gradient_clip_val": 0.5}),
        (Exact, {"gradient_clip_val": 0.05, "gradient_clip_algorithm": "value"}),
        (ClipsItself, {}),
    ],
)
def test_with_clipping_it_is_the_gradient_of_the_loss_and_the_step_that_was_made(kind, options):
    model = kind(0.01)
    seen = progress(model, FirstOrderPredictionGain(), **options)
    steps = zip(model.gradients, model.before, model.after, strict=True)
    by_hand = [-float(torch.dot(gradient, new - old)) for gradient, old, new in steps]
    assert seen.tolist() == pytest.approx(by_hand, rel=1e-12)
    assert min(float(gradient.norm()) for gradient in model.gradients) > 0.5, "there is something to clip"


@pytest.mark.parametrize("kind", [Exact, ClipsItself])
def test_with_clipping_it_is_prediction_gain_as_steps_get_small(kind):
    lr, options = 1e-7, {"gradient_clip_val": 0.5}
    ratio = progress(kind(lr), FirstOrderPredictionGain(), **options) / progress(kind(lr), PredictionGain(), **options)
    assert ratio.tolist() == pytest.approx([1.0] * STEPS, rel=1e-3)


class ByHand(Exact):
    """Two optimiser steps per batch, gradients taken away after each."""

    def __init__(self, lr):
        super().__init__(lr)
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        for _ in range(2):
            self.manual_backward(super().training_step(batch, batch_idx))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        pass


def test_the_steps_of_a_manual_batch_are_added_up():
    lr = 0.01
    model = ByHand(lr)
    seen = progress(model, FirstOrderPredictionGain())
    pairs = torch.stack(model.gradients).square().sum(dim=1).reshape(-1, 2)
    assert seen.tolist() == pytest.approx((lr * pairs.sum(dim=1)).tolist(), rel=1e-9)
