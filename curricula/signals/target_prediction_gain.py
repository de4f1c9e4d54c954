"""Target prediction gain: prediction gain on a fresh batch of the target task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curricula.signals.fresh_batch_gain import FreshBatchGain

if TYPE_CHECKING:
    from curricula.signals.step import Step


class TargetPredictionGain(FreshBatchGain):
    r"""TPG, what a step on any task did for the target task.

    .. math:: \nu = L(x', \theta) - L(x', \theta'), \qquad x' \sim D_{\text{target}}

    It asks for the objective itself, but while the target is out of reach its answers are noise. The target is a task,
    ``CurriculumCallback(target="name")``, or held-out data that are not trained on,
    ``CurriculumCallback(target=dataset_or_loader)``.

    Source: Graves et al. 2017, section 4.1.

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(signal=TargetPredictionGain(), target="hard")
    """

    needs_target = True

    def _task(self, step: Step) -> str | None:
        return step.target
