"""Mean prediction gain: prediction gain on a fresh batch of a random task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curricula.signals.fresh_batch_gain import FreshBatchGain

if TYPE_CHECKING:
    from curricula.signals.step import Step


class MeanPredictionGain(FreshBatchGain):
    r"""MPG, what a step did for all tasks, by asking one of them.

    .. math:: \nu = L(x', \theta) - L(x', \theta'), \qquad x' \sim D_j, \quad j \sim \text{Uniform}\{1, \dots, N\}

    The multi-task counterpart of target prediction gain; the choice of the task adds to its variance.

    Source: Graves et al. 2017, section 4.1.

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(signal=MeanPredictionGain())
    """

    def _task(self, step: Step) -> str | None:
        return step.random_task()
