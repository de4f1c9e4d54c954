"""Gradient L2 gain: the first-order estimate of L2 gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curricula.checks import check_flags
from curricula.signals.base import Signal
from curricula.signals.tensors import inner_product

if TYPE_CHECKING:
    from curricula.signals.step import Step


class GradientL2Gain(Signal):
    r"""GL2G, the direction in which the batch pushes the norm of the parameters.

    .. math:: \nu = -\theta^\top \nabla_\theta L(x, \theta)

    A plain gradient step of size :math:`\lambda` changes the squared norm by :math:`2\lambda\nu` to first order. The
    paper prints it without the minus, which would reward what shrinks the parameters.

    Under manual optimisation the gains of all optimiser steps of the batch are added up.

    Args:
        printed_sign: use the sign as printed in the paper, for comparisons.

    Source: Graves et al. 2017, section 4.2.

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(signal=GradientL2Gain())
    """

    needs_gradients = True

    def __init__(self, *, printed_sign: bool = False) -> None:
        check_flags(printed_sign=printed_sign)
        self.sign = 1.0 if printed_sign else -1.0

    def before_step(self, step: Step) -> None:
        """Add the inner product of parameters and gradients."""
        step.notes["product"] = step.notes.get("product", 0.0) + inner_product(
            step.trained_parameters(), step.gradients()
        )

    def after_step(self, step: Step) -> float:
        """Return the inner product with its sign."""
        return self.sign * float(step.notes["product"])
