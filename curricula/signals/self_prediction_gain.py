"""Self prediction gain: prediction gain on a fresh batch of the same task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curricula.signals.fresh_batch_gain import FreshBatchGain

if TYPE_CHECKING:
    from curricula.signals.step import Step


class SelfPredictionGain(FreshBatchGain):
    r"""SPG, prediction gain without its bias towards noise.

    .. math:: \nu = L(x', \theta) - L(x', \theta'), \qquad x' \sim D_k

    where :math:`D_k` is the task that was trained on. It has more variance than prediction gain, and costs a batch and
    two forward passes per step.

    Source: Graves et al. 2017, section 4.1.

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(signal=SelfPredictionGain())
    """

    def _task(self, step: Step) -> str | None:
        return None
