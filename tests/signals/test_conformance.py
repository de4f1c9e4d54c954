"""What every signal must do. One exported from ``curricula.signals`` is tested here from the moment it exists."""

from __future__ import annotations

import pytest
import torch

from curricula.signals import Signal
from curricula.testing import SignalContract
from tests.models import Noisy
from tests.signals.kinds import measuring_classes
from tests.variational.models import VariationalNoisy


class FallOfTheLossElsewhere(Signal):
    """A signal of the user's own: how much the loss on a batch kept aside fell by the step."""

    needs_gradients = True

    def __init__(self):
        inputs = torch.linspace(-1.0, 1.0, 32).reshape(8, 4)
        self.held_out = inputs, inputs.sum(dim=1, keepdim=True)

    def before_step(self, step):
        step.notes["old"] = step.probe_loss(self.held_out)

    def after_step(self, step):
        return step.notes["old"] - step.probe_loss(self.held_out)


class Loss(Signal):
    """The smallest one."""

    needs_loss = True

    def after_step(self, step):
        return step.loss


def model_for(kind):
    """Return the class of a model that the signal can work with."""
    return VariationalNoisy if "Variational" in kind.__name__ else Noisy


class TestEverySignal(SignalContract):
    """The contract, over all of ours that measure by themselves and two of the user's own."""

    @pytest.fixture(autouse=True, params=[*measuring_classes(), FallOfTheLossElsewhere, Loss])
    def _of_the_kind(self, request):
        self.kind = request.param

    def make(self):
        return self.kind()

    def model(self):
        return model_for(self.kind)()


def test_the_known_signals_are_found():
    assert {"PredictionGain", "GradientPredictionGain"} <= {kind.__name__ for kind in measuring_classes()}
