"""Gradient variational complexity gain: the first-order estimate of variational complexity gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from curricula.checks import check_flags
from curricula.signals.base import Signal
from curricula.signals.variational_complexity_gain import check_variational
from curricula.variational.module import Variational, variational_modules

if TYPE_CHECKING:
    from torch import Tensor, nn

    from curricula.signals.step import Step


class GradientVariationalComplexityGain(Signal):
    r"""GVCG, the direction in which the data push the complexity of a network with Gaussian weights.

    .. math:: \nu = -\nabla_\phi KL(P_\phi \,\Vert\, Q_\psi)^\top\nabla_\phi \mathbb{E}_{P_\phi} L(x, \theta)

    A plain gradient step of size :math:`\lambda` on the expected loss changes the divergence by :math:`\lambda\nu` to
    first order. The paper prints it without the minus, which would reward what makes the weights simpler.

    Of the training loss, :math:`KL / S + \mathbb{E} L`, only the second term tells anything of the data. Its gradient
    is that of the whole less :math:`\nabla KL / S`, which is known in closed form; the first would add
    :math:`-\lVert \nabla KL \rVert^2 / S`, whatever the batch. :math:`\phi` are the means and ``rho`` of
    :class:`~curricula.variational.Variational`; the expected loss does not depend on the prior.

    The gradient is unscaled and taken before clipping. Under manual optimisation the gains of all optimiser steps of
    the batch are added up.

    Args:
        printed_sign: use the sign as printed in the paper, for comparisons.
        kl_in_loss: the training loss is that of :meth:`~curricula.variational.Variational.loss`, with the divergence.
            ``False``: it is the expected loss alone. The gradient of the prior tells which, and the wrong one is an
            error.

    Source: Graves et al. 2017, section 4.2.

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(signal=GradientVariationalComplexityGain())
    """

    needs_gradients = True
    supports_shards = False

    def __init__(self, *, printed_sign: bool = False, kl_in_loss: bool = True) -> None:
        check_flags(printed_sign=printed_sign, kl_in_loss=kl_in_loss)
        self.sign = 1.0 if printed_sign else -1.0
        self.kl_in_loss = kl_in_loss

    def check(self, module: nn.Module, target: str | None) -> None:
        """Refuse a module without variational weights."""
        super().check(module, target)
        check_variational(self, module)

    def before_step(self, step: Step) -> None:
        """Add the inner product of the gradients of divergence and expected loss.

        Raises:
            RuntimeError: if ``kl_in_loss`` does not fit the training loss.
        """
        gradients = {
            id(parameter): gradient
            for parameter, gradient in zip(step.trained_parameters(), step.gradients(), strict=True)
        }
        for part in variational_modules(step.module):
            products = self._products(part, gradients)
            if products:
                step.notes["product"] = step.notes.get("product", 0.0) + torch.stack(products).sum()

    def after_step(self, step: Step) -> float:
        """Return the inner product with its sign."""
        return self.sign * float(step.notes.get("product", 0.0))

    def _products(self, part: Variational, gradients: dict[int, Tensor]) -> list[Tensor]:
        share = 1 / part.samples if self.kl_in_loss else 0.0
        means = dict(part.module.named_parameters())
        products = []
        for name, rho, of_kl in zip(part.names, part.rho, part.kl_gradients(), strict=True):
            for parameter, complexity in ((means[name], of_kl.mean), (rho, of_kl.rho)):
                gradient = gradients.get(id(parameter))
                if gradient is not None:
                    expected = gradient.to(complexity.dtype) - share * complexity
                    products.append((complexity * expected).sum())
        if products and part.prior_mean.requires_grad:
            self._check_loss(part.prior_mean.grad)
        return products

    def _check_loss(self, gradient: Tensor | None) -> None:
        if self.kl_in_loss and gradient is None:
            raise RuntimeError(
                "the loss of training_step has no divergence in it, as the prior has no gradient: return "
                "self.network.loss(loss), or tell the signal, GradientVariationalComplexityGain(kl_in_loss=False)"
            )
        # Gradients that are zeroed rather than forgotten leave zeros, which say nothing.
        if not self.kl_in_loss and gradient is not None and bool(gradient.any()):
            raise RuntimeError(
                "the loss of training_step has the divergence in it, as the prior has a gradient: use "
                "GradientVariationalComplexityGain() without kl_in_loss=False, or leave the divergence out of the loss"
            )
