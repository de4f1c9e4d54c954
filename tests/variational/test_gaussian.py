"""The divergence of Gaussians from a shared prior, its derivatives, and samples by reparameterisation."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from curricula.variational.gaussian import (
    best_prior,
    divergence,
    divergence_gradients,
    inverse_softplus,
    sample,
)


def gaussians(shape=(3, 5), dtype=torch.float64):
    numbers = torch.Generator().manual_seed(3)
    mean, rho = (torch.randn(shape, generator=numbers, dtype=torch.float64).to(dtype) for _ in range(2))
    return mean, rho - 1, torch.tensor(0.3, dtype=dtype), torch.tensor(-0.4, dtype=dtype)


def softplus(value):
    return math.log1p(math.exp(value))


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 2, 2)], ids=str)
def test_the_divergence_is_the_sum_written_out_by_hand(shape):
    mean, rho, prior_mean, prior_rho = gaussians(shape)
    m, s = float(prior_mean), softplus(float(prior_rho))
    by_hand = 0.0
    for mu, r in zip(mean.flatten().tolist(), rho.flatten().tolist(), strict=True):
        sigma = softplus(r)
        by_hand += ((mu - m) ** 2 + sigma**2 - s**2) / (2 * s**2) + math.log(s / sigma)
    value = divergence(mean, rho, prior_mean, prior_rho)
    assert value.shape == ()
    assert float(value) == pytest.approx(by_hand, rel=1e-12)


def test_the_divergence_is_that_of_torch():
    mean, rho, prior_mean, prior_rho = gaussians()
    posterior = Independent(Normal(mean, torch.nn.functional.softplus(rho)), 2)
    prior = Independent(Normal(prior_mean.expand(3, 5), torch.nn.functional.softplus(prior_rho).expand(3, 5)), 2)
    assert float(divergence(mean, rho, prior_mean, prior_rho)) == pytest.approx(float(kl_divergence(posterior, prior)))


def test_the_divergence_is_zero_from_itself_and_above_it_otherwise():
    mean, rho, prior_mean, prior_rho = gaussians()
    assert float(divergence(prior_mean.expand(4), prior_rho.expand(4), prior_mean, prior_rho)) == 0.0
    assert float(divergence(mean, rho, prior_mean, prior_rho)) > 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_divergence_is_summed_in_double_precision(dtype):
    arguments = gaussians((50, 50), dtype)
    value = divergence(*arguments)
    assert value.dtype == torch.float64
    assert float(value) == float(divergence(*(argument.double() for argument in arguments)))


def test_tiny_deviations_stay_finite():
    arguments = (torch.zeros(2), torch.full((2,), -300.0), torch.tensor(0.0), torch.tensor(0.0))
    assert math.isfinite(float(divergence(*arguments)))
    assert all(gradient.isfinite().all() for gradient in divergence_gradients(*arguments))


def test_the_gradients_are_the_closed_forms():
    arguments = [argument.requires_grad_() for argument in gaussians()]
    expected = torch.autograd.grad(divergence(*arguments), arguments)
    for ours, autograd in zip(divergence_gradients(*arguments), expected, strict=True):
        assert not ours.requires_grad
        torch.testing.assert_close(ours, autograd, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(divergence, arguments)


@pytest.mark.parametrize("value", [1e-8, 1e-3, 0.02, 1.0, 5.0, 40.0])
def test_inverse_softplus_inverts(value):
    assert softplus(inverse_softplus(value)) == pytest.approx(value, rel=1e-9)


def test_no_prior_is_nearer_than_the_best():
    mean, _, _, _ = gaussians((4, 4))
    sigma = 0.3
    rho = torch.full_like(mean, inverse_softplus(sigma))
    prior_mean, deviation = best_prior([mean[:1], mean[1:]], sigma)
    at = torch.tensor(prior_mean).double(), torch.tensor(inverse_softplus(deviation)).double()
    gradients = divergence_gradients(mean, rho, *at)
    assert float(gradients.prior_mean) == pytest.approx(0.0, abs=1e-5)
    assert float(gradients.prior_rho) == pytest.approx(0.0, abs=1e-5)


def test_samples_have_the_mean_and_the_deviation_of_the_weight(any_seed):
    """Two checks at 5 standard errors: a right sampler would fail with chance 1.2e-6, and the seed is fixed."""
    torch.manual_seed(any_seed)
    size, sigma = 200_000, 0.7
    mean = torch.full((size,), 1.5, dtype=torch.float64)
    noise = (sample(mean, torch.full_like(mean, inverse_softplus(sigma))) - mean) / sigma
    assert abs(float(noise.mean())) < 5 / math.sqrt(size)
    assert abs(float(noise.square().mean()) - 1) < 5 * math.sqrt(2 / size)


def test_gradients_of_a_sample_follow_its_path():
    torch.manual_seed(0)
    mean, rho = (argument.requires_grad_() for argument in gaussians()[:2])
    drawn = sample(mean, rho)
    by_mean, by_rho = torch.autograd.grad(drawn.sum(), (mean, rho))
    noise = (drawn - mean) / torch.nn.functional.softplus(rho)
    assert torch.equal(by_mean, torch.ones_like(mean))
    torch.testing.assert_close(by_rho, noise * torch.sigmoid(rho))
