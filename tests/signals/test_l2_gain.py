"""L2 gain: the rise of the squared norm, however small beside the norm itself."""

from __future__ import annotations

import pytest
import torch

from curricula.signals import GradientL2Gain, L2Gain
from tests.signals.gains import STEPS, Exact, progress


def test_it_is_the_rise_of_the_squared_norm():
    model = Exact(0.05, torch.optim.Adam)
    seen = progress(model, L2Gain())
    by_hand = [
        float(new.square().sum() - old.square().sum()) for old, new in zip(model.before, model.after, strict=True)
    ]
    assert len(by_hand) == STEPS
    assert seen.tolist() == pytest.approx(by_hand, rel=1e-9)


def test_accumulated_batches_are_one_step():
    assert len(progress(Exact(), L2Gain(), accumulate_grad_batches=3)) == STEPS // 3


def test_it_is_twice_the_step_size_times_the_gradient_form_as_steps_get_small():
    lr = 1e-6
    ratio = progress(Exact(lr), L2Gain()) / (2 * lr * progress(Exact(lr), GradientL2Gain()))
    assert ratio.tolist() == pytest.approx([1.0] * STEPS, rel=1e-3)
