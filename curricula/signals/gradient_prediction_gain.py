"""Gradient prediction gain: the squared norm of the gradient, a free stand-in for prediction gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curricula.signals.base import Signal
from curricula.signals.tensors import squared_norm

if TYPE_CHECKING:
    from curricula.signals.step import Step


class GradientPredictionGain(Signal):
    r"""GPG, the first-order estimate of prediction gain under a plain gradient step.

    .. math:: \nu = \lVert \nabla_\theta L(x, \theta) \rVert_2^2

    The gradient is that of the loss: unscaled, before clipping, accumulated over the step's micro-batches and averaged
    over ranks. No second forward pass. It ignores curvature and, like PG, seeks noise: a noisy task has large
    gradients for ever.

    Under manual optimisation the gains of all optimiser steps of the batch are added up.

    Source: Graves et al. 2017, section 4.1.

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(signal=GradientPredictionGain())
    """

    needs_gradients = True

    def before_step(self, step: Step) -> None:
        """Add the squared norm of the gradients of this optimiser step."""
        gain = squared_norm(step.gradients())
        step.notes["gain"] = step.notes["gain"] + gain if "gain" in step.notes else gain

    def after_step(self, step: Step) -> float:
        """Return the squared norm."""
        return float(step.notes["gain"])
