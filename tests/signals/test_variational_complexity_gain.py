"""Variational complexity gain: the rise of the divergence of the weights from their prior."""

from __future__ import annotations

import pytest
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from curricula.signals.gradient_variational_complexity_gain import GradientVariationalComplexityGain
from curricula.signals.variational_complexity_gain import VariationalComplexityGain
from tests.models import Linear
from tests.variational.models import STEPS, Exact, TwoSteps, VariationalNoisy, progress

both = pytest.mark.parametrize("kind", [VariationalComplexityGain, GradientVariationalComplexityGain])


@pytest.mark.parametrize("options", [{}, {"prior_per_tensor": True}, {"kl_in_loss": False}], ids=str)
def test_it_is_the_rise_of_the_divergence(options):
    model = Exact(0.05, optimizer=torch.optim.Adam, **options)
    seen = progress(model, VariationalComplexityGain())
    by_hand = [new - old for old, new in zip(model.before, model.after, strict=True)]
    assert len(by_hand) == STEPS
    assert seen.tolist() == pytest.approx(by_hand, rel=1e-9)
    assert seen.abs().min() > 0


def test_accumulated_batches_are_one_step():
    model = Exact()
    seen = progress(model, VariationalComplexityGain(), accumulate_grad_batches=3)
    by_hand = [new - old for old, new in zip(model.before, model.after, strict=True)]
    assert len(seen) == STEPS // 3
    assert seen.tolist() == pytest.approx(by_hand, rel=1e-9)


def test_optimiser_steps_by_hand_on_one_batch_are_taken_together():
    model = TwoSteps()
    seen = progress(model, VariationalComplexityGain())
    by_hand = [new - old for old, new in zip(model.before[::2], model.after, strict=True)]
    assert len(by_hand) == STEPS
    assert seen.tolist() == pytest.approx(by_hand, rel=1e-9)


def test_several_variational_parts_add_up():
    class Parts(Exact):
        def __init__(self):
            super().__init__()
            self.other = Exact().network

        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) + self.other.kl()

        def on_before_optimizer_step(self, optimizer):
            super().on_before_optimizer_step(optimizer)
            self.before[-1] += self.other.kl().item()

        def on_train_batch_end(self, outputs, batch, batch_idx):
            super().on_train_batch_end(outputs, batch, batch_idx)
            self.after[-1] += self.other.kl().item()

    model = Parts()
    seen = progress(model, VariationalComplexityGain())
    assert seen.tolist() == pytest.approx(
        [new - old for old, new in zip(model.before, model.after, strict=True)], rel=1e-9
    )
    assert not torch.allclose(seen, progress(Exact(), VariationalComplexityGain()))


def test_a_step_of_nothing_gains_nothing():
    assert progress(Exact(0.0), VariationalComplexityGain()).tolist() == [0.0] * STEPS


@both
def test_a_module_without_variational_weights_is_refused_before_training(kind):
    with pytest.raises(MisconfigurationException, match=rf"{kind.__name__}.*curricula\.variational\.Variational"):
        progress(Linear(4), kind())


@both
@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}, {"precision": "bf16-mixed"}], ids=str)
def test_measuring_leaves_the_training_as_it_is(kind, options):
    class Nothing(kind):
        def before_step(self, step):
            pass

        def after_step(self, step):
            return 0.0

    def trained(signal):
        torch.manual_seed(0)
        model = VariationalNoisy()
        gains = progress(model, signal, **options)
        return gains, model.state_dict(), torch.get_rng_state()

    gains, state, stream = trained(kind())
    _, expected, expected_stream = trained(Nothing())
    assert gains.isfinite().all()
    assert len(set(gains.tolist())) > 1
    assert torch.equal(stream, expected_stream)
    for name, value in expected.items():
        assert torch.equal(state[name], value), name
