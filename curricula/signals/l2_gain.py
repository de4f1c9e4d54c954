"""L2 gain: how much the squared norm of the parameters rose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curricula.signals.base import Signal
from curricula.signals.tensors import squared_norm

if TYPE_CHECKING:
    from curricula.signals.step import Step


class L2Gain(Signal):
    r"""L2G, a measure of complexity for maximum-likelihood training.

    .. math:: \nu = \lVert \theta' \rVert_2^2 - \lVert \theta \rVert_2^2

    Under minimum description length a model may grow only by what its data pay for, so that growth marks a regularity
    worth learning. No batch is needed, and the loss is not looked at. The sums are in float64: their difference is
    many orders of magnitude smaller than they are.

    Source: Graves et al. 2017, section 4.2.

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(signal=L2Gain())
    """

    needs_parameters = True

    def before_step(self, step: Step) -> None:
        """Measure the old parameters, before the first optimiser step of the batch."""
        if "before" not in step.notes:
            step.notes["before"] = squared_norm(step.parameters(), exactly=True)

    def after_step(self, step: Step) -> float:
        """Return the rise of the squared norm."""
        return float(squared_norm(step.parameters(), exactly=True) - step.notes["before"])
