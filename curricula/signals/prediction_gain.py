"""Prediction gain: how much the loss on the training batch fell by training on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curricula.signals.base import Signal

if TYPE_CHECKING:
    from curricula.signals.step import Step


class PredictionGain(Signal):
    r"""PG, the most consistent signal of Graves et al. for maximum-likelihood training.

    .. math:: \nu = L(x, \theta) - L(x, \theta')

    The same batch before and after the optimiser step; :math:`L(x, \theta)` is the training loss itself and costs
    nothing, :math:`L(x, \theta')` is one more forward pass without gradients, with the same random numbers (dropout
    masks) as the first. It favours tasks with high variance, since fitting a batch includes fitting its noise.

    Under gradient accumulation it is the mean over the micro-batches of the step, which are kept until then. Where a
    batch has samples of several draws, each draw's is the fall of the mean loss of its own samples: the module must
    give one loss per sample.

    Source: Graves et al. 2017, section 4.1; Bellemare et al. 2016.

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(signal=PredictionGain())
    """

    needs_loss = True
    needs_probe = True

    def after_step(self, step: Step) -> float:
        """Return the fall of the loss, in the units of the loss."""
        return step.loss - step.probe_loss()

    def after_step_per_draw(self, step: Step) -> list[float]:
        """Return the fall of each draw's loss, in the units of the loss."""
        losses = step.losses  # looked at first: without them there is no need to run the step again
        return [before - after for before, after in zip(losses, step.probe_losses(), strict=True)]
