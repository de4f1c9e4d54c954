"""Variational: any module, with a Gaussian over every weight in place of a number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import UninitializedParameter

from curricula.checks import check_flags
from curricula.variational.gaussian import Gradients, best_prior, divergence, divergence_gradients, inverse_softplus
from curricula.variational.gaussian import sample as draw

NORMALISATION: tuple[type[nn.Module], ...] = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    *((nn.RMSNorm,) if hasattr(nn, "RMSNorm") else ()),
)
"""Layers whose gains and shifts stay numbers: a prior shared with weights does not suit gains around 1."""


class Variational(nn.Module):
    r"""A module whose weights are independent Gaussians, with a prior that is learned with them.

    .. math::
       \theta_i \sim \mathcal N(\mu_i, s_i^2), \quad s_i = \ln(1 + e^{\rho_i}), \qquad
       \text{prior } \mathcal N(\mu_\psi, s_\psi^2) \text{ shared by all weights}

       L_{VI}(x) = \tfrac{1}{S} \, KL(P_\phi \,\Vert\, Q_\psi) + \mathbb{E}_{\theta \sim P_\phi} L(x, \theta)

    The module is taken as it is, not rewritten and not copied: its parameters become the means :math:`\mu`. In training
    every call draws one sample of the weights from torch's global random stream; within :meth:`one_sample` all calls
    share one. In evaluation (``eval()``) the means are used, and the forward pass is the module's own.

    Parameters that do not require gradients when this is made stay numbers, as do those of ``deterministic`` layers.
    A weight that layers share is one weight. The prior starts where the divergence from it is least.

    Args:
        module: any module but a LightningModule, whose ``training_step`` calls would bypass the samples.
        samples: :math:`S`, the number of samples in the training set; for generated data, the number that the training
            is expected to see. Above 0.
        sigma: standard deviation of every weight at the start, above 0.
        prior_per_tensor: learn a prior for every parameter tensor instead of one for all.
        deterministic: types of layers whose own parameters stay numbers.

    Attributes:
        module: the module; its parameters are the means.
        names: names of the parameters that are Gaussian, in the order of ``rho``.
        rho: one tensor per name, of the shape of the mean.
        prior_mean: shape ``(1,)``, or ``(len(names),)`` with ``prior_per_tensor``.
        prior_rho: of the same shape.
        samples: :math:`S`.

    Raises:
        TypeError: if ``module`` is no module, or a LightningModule.
        ValueError: if ``samples`` or ``sigma`` is not above 0, or the module is variational already, or has no
            parameter to make Gaussian, an uninitialised one, or one with sparse gradients.

    Source: Graves 2011; Blundell et al. 2015; Graves et al. 2017, section 4.2.

    Example:
        >>> network = Variational(nn.Linear(2, 1), samples=1000)
        >>> inputs = torch.ones(4, 2)
        >>> torch.equal(network(inputs), network(inputs))
        False
        >>> loss = network.loss(network(inputs).square().mean())  # with KL / 1000
        >>> network = network.eval()
        >>> torch.equal(network(inputs), network.module(inputs))
        True
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        samples: float,
        sigma: float = 0.02,
        prior_per_tensor: bool = False,
        deterministic: tuple[type[nn.Module], ...] = NORMALISATION,
    ) -> None:
        super().__init__()
        _check_above_zero("samples", samples)
        _check_above_zero("sigma", sigma)
        check_flags(prior_per_tensor=prior_per_tensor)
        if not isinstance(deterministic, tuple) or not all(isinstance(kind, type) for kind in deterministic):
            raise TypeError(f"deterministic must be a tuple of types of layers, got {deterministic!r}")
        self.names = _gaussian_names(module, deterministic)
        self.module = module
        self.samples = samples
        means = self._means()
        self.rho = nn.ParameterList([torch.full_like(mean, inverse_softplus(sigma)) for mean in means])
        priors = [best_prior(group, sigma) for group in ([[mean] for mean in means] if prior_per_tensor else [means])]
        priors = [(mean, inverse_softplus(deviation)) for mean, deviation in priors]
        dtype = torch.promote_types(means[0].dtype, torch.float32)
        prior_mean, prior_rho = torch.tensor(priors, dtype=dtype, device=means[0].device).unbind(dim=1)
        self.prior_mean = nn.Parameter(prior_mean.clone())
        self.prior_rho = nn.Parameter(prior_rho.clone())
        self._shared: dict[str, Tensor] | None = None
        self.train(module.training)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module with a sample of its weights in training, with their means in evaluation."""
        if self._shared is not None:
            return functional_call(self.module, self._shared, args, kwargs)
        if self.training:
            return functional_call(self.module, self.sample(), args, kwargs)
        return self.module(*args, **kwargs)

    def sample(self) -> dict[str, Tensor]:
        """Draw all weights once, through which gradients reach their means and ``rho``.

        Returns:
            Weights by name, of the shapes of the module's parameters.
        """
        return {name: draw(mean, rho) for name, mean, rho in zip(self.names, self._means(), self.rho, strict=True)}

    @contextmanager
    def one_sample(self) -> Iterator[None]:
        """Let all calls within share one sample of the weights, in training and in evaluation.

        For training steps that call the module more than once, and for predictions with the uncertainty of the weights.

        Example:
            >>> network = Variational(nn.Linear(2, 1), samples=1000)
            >>> with network.one_sample():
            ...     torch.equal(network(torch.ones(2)), network(torch.ones(2)))
            True
        """
        outer, self._shared = self._shared, self.sample()
        try:
            yield
        finally:
            self._shared = outer

    def kl(self) -> Tensor:
        """Return the divergence of the weights from their prior, shape ``()``, in nats and float64; differentiable."""
        parts = [divergence(*gaussians) for gaussians in self.gaussians()]
        return torch.stack(parts).sum()

    def kl_gradients(self) -> list[Gradients]:
        """Return the derivatives of :meth:`kl`, one entry per name; those of a shared prior are parts of a sum."""
        return [divergence_gradients(*gaussians) for gaussians in self.gaussians()]

    def gaussians(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Yield mean and ``rho`` of every tensor, and those of its prior, shape ``()``, in the order of ``names``."""
        size = len(self.names)
        priors = zip(self.prior_mean.expand(size), self.prior_rho.expand(size), strict=True)
        for mean, rho, (prior_mean, prior_rho) in zip(self._means(), self.rho, priors, strict=True):
            yield mean, rho, prior_mean, prior_rho

    def loss(self, expected_loss: Tensor) -> Tensor:
        """Return the training loss, ``expected_loss + kl() / samples``.

        Args:
            expected_loss: loss per training sample under the sampled weights, shape ``()``, in nats: the mean over the
                batch, the sum over a sequence. Where it is a mean over a sequence, or a loss that is no logarithm of a
                probability, the divergence weighs more, and a larger ``samples`` makes up for it.

        Returns:
            Shape ``()``, at least in float32.
        """
        penalty = self.kl() / self.samples
        return expected_loss + penalty.to(torch.promote_types(expected_loss.dtype, torch.float32))

    def extra_repr(self) -> str:
        """Return what ``print`` shows beside the module."""
        return f"samples={self.samples:g}, gaussian tensors={len(self.names)}, priors={len(self.prior_mean)}"

    def _means(self) -> list[Tensor]:
        parameters = dict(self.module.named_parameters())
        return [parameters[name] for name in self.names]


def variational_modules(module: nn.Module) -> list[Variational]:
    """Return the variational modules in ``module``, itself included.

    Example:
        >>> network = nn.Sequential(Variational(nn.Linear(2, 1), samples=1000), nn.Linear(1, 1))
        >>> len(variational_modules(network))
        1
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {module!r}")
    return [part for part in module.modules() if isinstance(part, Variational)]


def _check_above_zero(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")


def _gaussian_names(module: nn.Module, deterministic: tuple[type[nn.Module], ...]) -> tuple[str, ...]:
    if not isinstance(module, nn.Module):
        raise TypeError(f"Variational takes a module, such as nn.LSTM(8, 64), got {module!r}")
    kind = type(module).__name__
    if hasattr(module, "training_step"):
        raise TypeError(
            f"{kind} is a LightningModule, whose training_step would bypass the sampled weights: make the network in "
            "it variational, self.network = Variational(network, samples=...)"
        )
    if variational_modules(module):
        raise ValueError(f"{kind} is variational already, or a part of it is: take it as it is")
    _check_dense(module, deterministic)
    kept = {
        id(parameter)
        for part in module.modules()
        if isinstance(part, deterministic)
        for parameter in part.parameters(recurse=False)
    }
    chosen = {
        name: parameter
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and id(parameter) not in kept
    }
    if not chosen:
        raise ValueError(
            f"{kind} has no parameter to make Gaussian: none requires gradients outside deterministic layers"
        )
    numbers = [name for name, parameter in chosen.items() if parameter.is_complex()]
    if numbers:
        raise ValueError(
            f"parameters {numbers} of {kind} are complex, and only real weights can be Gaussian here: keep their real "
            "and imaginary parts as two parameters, or exclude their layers, deterministic=(*NORMALISATION, <type>)"
        )
    lazy = [name for name, parameter in chosen.items() if isinstance(parameter, UninitializedParameter)]
    if lazy:
        raise ValueError(f"parameters {lazy} of {kind} have no shape yet: run a batch through it first")
    return tuple(chosen)


def _check_dense(module: nn.Module, deterministic: tuple[type[nn.Module], ...]) -> None:
    for name, part in module.named_modules():
        sparse = isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.sparse and part.weight.requires_grad
        if sparse and not isinstance(part, deterministic):
            raise ValueError(
                f"{type(part).__name__} {name!r} has sparse=True, and the divergence has a gradient for every weight: "
                "make it with sparse=False, or let it keep numbers, deterministic=(*NORMALISATION, nn.Embedding)"
            )
