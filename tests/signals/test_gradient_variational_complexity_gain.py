"""Gradient variational complexity gain: how the data push the divergence, to first order."""

from __future__ import annotations

import pytest
import torch

from curricula.signals.gradient_variational_complexity_gain import GradientVariationalComplexityGain
from curricula.signals.variational_complexity_gain import VariationalComplexityGain
from tests.variational.models import STEPS, Exact, TwoSteps, progress


def by_hand(model, micro_batches=1):
    """Minus the inner product of the gradients of divergence and expected loss, both from autograd."""
    of_loss = torch.stack(model.of_loss).reshape(-1, micro_batches, model.of_loss[0].numel()).mean(dim=1)
    return (-(torch.stack(model.of_kl)[:, :-2] * of_loss).sum(dim=1)).tolist()


@pytest.mark.parametrize("kl_in_loss", [True, False])
@pytest.mark.parametrize("options", [{}, {"gradient_clip_val": 1e-3}, {"accumulate_grad_batches": 3}], ids=str)
def test_it_is_minus_the_inner_product_with_the_gradient_of_the_expected_loss_alone(kl_in_loss, options):
    model = Exact(kl_in_loss=kl_in_loss)
    seen = progress(model, GradientVariationalComplexityGain(kl_in_loss=kl_in_loss), **options)
    assert seen.tolist() == pytest.approx(by_hand(model, options.get("accumulate_grad_batches", 1)), rel=1e-9)


def test_optimiser_steps_by_hand_on_one_batch_are_added_up():
    model = TwoSteps()
    seen = progress(model, GradientVariationalComplexityGain())
    each = torch.tensor(by_hand(model), dtype=torch.float64)
    assert seen.tolist() == pytest.approx(each.reshape(STEPS, 2).sum(dim=1).tolist(), rel=1e-9)


def test_the_divergence_in_the_loss_would_have_biased_it():
    model = Exact()
    seen = progress(model, GradientVariationalComplexityGain())
    bias = torch.stack(model.of_kl)[:, :-2].square().sum(dim=1) / 50
    assert (bias / seen.abs()).min() > 0.01, "far above what the comparison by hand allows"


def test_the_printed_sign_is_the_other_one():
    printed = progress(Exact(), GradientVariationalComplexityGain(printed_sign=True))
    assert torch.equal(printed, -progress(Exact(), GradientVariationalComplexityGain()))


# Without the divergence in the loss, or with the little of it that a large training set leaves.
@pytest.mark.parametrize("options", [{"kl_in_loss": False}, {"samples": 1e9}], ids=str)
def test_it_is_the_limit_of_the_complexity_gain_per_learning_rate(options):
    def ratios(lr):
        gradient = GradientVariationalComplexityGain(kl_in_loss=options.get("kl_in_loss", True))
        return progress(Exact(lr, **options), VariationalComplexityGain()) / (
            lr * progress(Exact(lr, **options), gradient)
        )

    errors = [float((ratios(lr) - 1).abs().max()) for lr in (1e-3, 1e-5, 1e-7)]
    assert errors[0] > errors[1]
    assert errors[2] < 1e-3


def test_of_the_complexity_gain_it_lacks_what_the_divergence_itself_does():
    lr = 1e-7
    model = Exact(lr)
    complexity = progress(model, VariationalComplexityGain()) / lr
    own = torch.stack(model.of_kl).square().sum(dim=1) / 50
    gradient = progress(Exact(lr), GradientVariationalComplexityGain())
    assert complexity.tolist() == pytest.approx((gradient - own).tolist(), rel=1e-3)


def test_weights_that_are_not_trained_do_not_count():
    class Frozen(Exact):
        def __init__(self):
            super().__init__()
            self.network.rho.requires_grad_(False)

        def gaussians(self):
            return list(self.network.module.parameters())

    model = Frozen()
    assert progress(model, GradientVariationalComplexityGain()).tolist() == pytest.approx(by_hand(model), rel=1e-9)


@pytest.mark.parametrize(
    ("kl_in_loss", "message"), [(True, "has no divergence in it"), (False, "has the divergence in it")]
)
def test_a_loss_that_is_not_as_told_is_an_error(kl_in_loss, message):
    with pytest.raises(RuntimeError, match=message):
        progress(Exact(kl_in_loss=not kl_in_loss), GradientVariationalComplexityGain(kl_in_loss=kl_in_loss))


def test_zeroed_gradients_of_the_prior_are_no_divergence_in_the_loss():
    class Zeroing(Exact):
        def on_before_optimizer_step(self, optimizer):
            super().on_before_optimizer_step(optimizer)
            self.seen = self.network.prior_mean.grad

        def optimizer_zero_grad(self, epoch, batch_idx, optimizer):
            for parameter in self.parameters():
                parameter.grad = torch.zeros_like(parameter)

    model = Zeroing(kl_in_loss=False)
    seen = progress(model, GradientVariationalComplexityGain(kl_in_loss=False))
    assert model.seen is not None
    assert seen.tolist() == pytest.approx(by_hand(model), rel=1e-9)
    assert len(seen) == STEPS
