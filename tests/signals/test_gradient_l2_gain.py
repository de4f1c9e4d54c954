"""Gradient L2 gain: minus the inner product of parameters and gradient."""

from __future__ import annotations

import pytest
import torch

from curricula.signals import GradientL2Gain
from tests.signals.gains import STEPS, Exact, progress


def by_hand(model):
    return [-float(torch.dot(old, gradient)) for old, gradient in zip(model.before, model.gradients, strict=True)]


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 3}, {"gradient_clip_val": 1e-3}], ids=str)
def test_it_is_minus_the_inner_product_of_parameters_and_gradient(options):
    model = Exact()
    seen = progress(model, GradientL2Gain(), **options)
    assert seen.tolist() == pytest.approx(by_hand(model), rel=1e-12)


def test_the_printed_sign_is_the_other_one():
    assert torch.equal(progress(Exact(), GradientL2Gain(printed_sign=True)), -progress(Exact(), GradientL2Gain()))


def test_parameters_without_a_gradient_are_left_out():
    class Idle(Exact):
        def __init__(self):
            super().__init__()
            self.unused = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))

        def on_before_optimizer_step(self, optimizer):
            assert self.unused.grad is None

        def on_train_batch_end(self, outputs, batch, batch_idx):
            pass

    plain = Exact()
    assert progress(Idle(), GradientL2Gain()).tolist() == pytest.approx(progress(plain, GradientL2Gain()).tolist())
    assert len(plain.gradients) == STEPS
