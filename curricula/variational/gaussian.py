"""Gaussians with independent components: divergence from one shared prior, its gradients, and samples."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import softplus


class Gradients(NamedTuple):
    """Derivatives of a divergence by the parameters of posterior and prior."""

    mean: Tensor
    rho: Tensor
    prior_mean: Tensor
    prior_rho: Tensor


def inverse_softplus(value: float) -> float:
    r"""Return :math:`\rho` with :math:`\ln(1 + e^\rho) =` ``value``.

    Args:
        value: above 0.

    Example:
        >>> round(float(softplus(torch.tensor(inverse_softplus(0.02)))), 6)
        0.02
    """
    return value + math.log(-math.expm1(-value))


def sample(mean: Tensor, rho: Tensor) -> Tensor:
    r"""Draw by reparameterisation, :math:`\theta = \mu + s \epsilon`, with :math:`s = \ln(1 + e^\rho)`.

    Args:
        mean: any shape.
        rho: of the same shape.

    Returns:
        Of that shape; the noise comes from torch's global stream of the device.

    Source: Blundell et al. 2015, section 3.2.
    """
    return mean + softplus(rho) * torch.randn_like(mean)


def divergence(mean: Tensor, rho: Tensor, prior_mean: Tensor, prior_rho: Tensor) -> Tensor:
    r"""Return the divergence of independent Gaussians from one prior that they share, in float64.

    .. math:: KL = \sum_i \frac{(\mu_i - \mu_\psi)^2 + s_i^2 - s_\psi^2}{2 s_\psi^2} + \ln \frac{s_\psi}{s_i},
       \qquad s = \ln(1 + e^\rho)

    Args:
        mean: any shape.
        rho: of the same shape.
        prior_mean: shape ``()``.
        prior_rho: shape ``()``.

    Returns:
        Shape ``()``, in nats, 0 or more; in float64, as the difference of two such sums is wanted.

    Source: Graves 2011; the divergence is that of :mod:`torch.distributions`.

    Example:
        >>> one = torch.tensor(inverse_softplus(1.0))  # a standard deviation of 1
        >>> round(float(divergence(torch.tensor([1.0, -3.0]), one.expand(2), torch.tensor(0.0), one)), 6)
        5.0
    """
    mean, rho, prior_mean, prior_rho = _wide(mean, rho, prior_mean, prior_rho)
    # Unchecked: a check of the arguments would wait for the device.
    posterior = Normal(mean, softplus(rho), validate_args=False)
    prior = Normal(prior_mean, softplus(prior_rho), validate_args=False)
    return kl_divergence(posterior, prior).sum()


def divergence_gradients(mean: Tensor, rho: Tensor, prior_mean: Tensor, prior_rho: Tensor) -> Gradients:
    r"""Return the derivatives of :func:`divergence`, in closed form and float64.

    .. math::
       \frac{\partial KL}{\partial \mu_i} = \frac{\mu_i - \mu_\psi}{s_\psi^2}, \qquad
       \frac{\partial KL}{\partial s_i} = \frac{s_i}{s_\psi^2} - \frac{1}{s_i},

       \frac{\partial KL}{\partial \mu_\psi} = -\sum_i \frac{\mu_i - \mu_\psi}{s_\psi^2}, \qquad
       \frac{\partial KL}{\partial s_\psi} = \sum_i \frac{1}{s_\psi} - \frac{(\mu_i - \mu_\psi)^2 + s_i^2}{s_\psi^3},
       \qquad \frac{\partial s}{\partial \rho} = \frac{1}{1 + e^{-\rho}}

    Args:
        mean: any shape.
        rho: of the same shape.
        prior_mean: shape ``()``.
        prior_rho: shape ``()``.

    Returns:
        Of the shapes of the arguments.
    """
    mean, rho, prior_mean, prior_rho = _wide(*(value.detach() for value in (mean, rho, prior_mean, prior_rho)))
    deviation, prior_deviation = softplus(rho), softplus(prior_rho)
    distance = mean - prior_mean
    by_mean = distance / prior_deviation**2
    by_deviation = deviation / prior_deviation**2 - 1 / deviation
    by_prior = (1 / prior_deviation - (distance**2 + deviation**2) / prior_deviation**3).sum()
    return Gradients(by_mean, by_deviation * rho.sigmoid(), -by_mean.sum(), by_prior * prior_rho.sigmoid())


def best_prior(means: list[Tensor], deviation: float) -> tuple[float, float]:
    r"""Return mean and standard deviation of the prior from which the divergence is least.

    .. math:: \mu_\psi = \frac{1}{n} \sum_i \mu_i, \qquad
       s_\psi^2 = \frac{1}{n} \sum_i \big[ s_i^2 + (\mu_i - \mu_\psi)^2 \big]

    Args:
        means: of the posterior, any shapes.
        deviation: of the posterior, the same for all.

    Source: Graves 2011, with a Gaussian prior.
    """
    together = torch.cat([mean.detach().flatten().cpu().double() for mean in means])
    return float(together.mean()), math.sqrt(deviation**2 + float(together.var(correction=0)))


def _wide(*tensors: Tensor) -> list[Tensor]:
    return [tensor.float() if tensor.device.type == "mps" else tensor.double() for tensor in tensors]
