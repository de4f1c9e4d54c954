"""Validation progress: how much better a task does on held-out data than at the validation before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curricula.checks import check_flags
from curricula.held_out import HeldOut, Metrics, Mode
from curricula.signals.base import Signal

if TYPE_CHECKING:
    from curricula.signals.step import Step


class ValidationProgress(Signal):
    r"""The fall (or rise) of each task's held-out metric between the last two validations.

    .. math:: \nu_i = m_i^{(v-1)} - m_i^{(v)}

    Every draw of task :math:`i` until the next validation has this progress; ``None`` before the second validation of
    the task. It takes no pass over data of its own: the metrics are those that your ``validation_step`` logs. With
    ``absolute=True`` it is the size of the change: a task that gets worse, since it is being forgotten, is practised
    again, as in teacher-student curriculum learning.

    Works with any number of draws in a batch, and any kind of optimisation. On several ranks it learns from the mean of
    what the ranks logged; log with ``sync_dist=True`` as ever where you read the metric too.

    Args:
        metrics: names as in ``trainer.callback_metrics``: a pattern with ``{task}``, such as ``"val_loss/{task}"``; or
            for every task a name, or the weights ``> 0`` of several names, whose weighted mean counts. With several
            validation loaders Lightning's names end in ``/dataloader_idx_0`` and so on.
        mode: ``"min"`` for metrics such as losses, ``"max"`` for metrics such as accuracies.
        absolute: whether worse is as good as better.

    Raises:
        TypeError: if a name is no text, or a weight no number.
        ValueError: if the pattern has no ``{task}``, a weight is not above 0, or the mode is another. When training
            starts: if a task has no metric, or there is no such task.

    Source: Matiisen et al. 2017, "Teacher-Student Curriculum Learning", arXiv:1707.00183.

    Example:
        >>> signal = ValidationProgress("val_loss/{task}")
        >>> signal.after_validation({"val_loss/easy": 2.0}, ["easy"])
        >>> signal.after_validation({"val_loss/easy": 1.5}, ["easy"])
        >>> signal.progress
        {'easy': 0.5}
    """

    def __init__(self, metrics: Metrics, *, mode: Mode = "min", absolute: bool = False) -> None:
        self._held_out = HeldOut(type(self).__name__, metrics, mode)
        check_flags(absolute=absolute)
        self._absolute = absolute
        self._scores: dict[str, float] = {}
        self.progress: dict[str, float] = {}
        """Task to its progress between the last two validations, where it is known."""

    @property
    def skipped(self) -> dict[str, int]:
        """Task to the number of validations whose metric was not finite, in this training."""
        return self._held_out.skipped

    def check_tasks(self, tasks: Sequence[str]) -> None:
        """Refuse tasks without a metric, and metrics without a task."""
        self._held_out.check_tasks(tasks)

    def after_validation(self, metrics: Mapping[str, float], tasks: Sequence[str]) -> None:
        """Compare the tasks' metrics with those of the validation before."""
        for task, score in self._held_out.read(metrics, tasks).items():
            if math.isnan(score):
                self.progress.pop(task, None)
                continue
            if task in self._scores:
                change = score - self._scores[task]
                self.progress[task] = abs(change) if self._absolute else change
            self._scores[task] = score

    def after_step(self, step: Step) -> float | None:
        """Return the progress of the task at the last validation."""
        return self.progress.get(step.task)

    def after_step_per_draw(self, step: Step) -> list[float | None]:
        """Return the progress of each draw's task at the last validation."""
        return [self.progress.get(draw.task) for draw in step.draws]

    def reset(self) -> None:
        """Forget all validations."""
        self._scores.clear()
        self.progress.clear()
        self.skipped.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return how the tasks did last, and the progress since the time before."""
        return {"scores": dict(self._scores), "progress": dict(self.progress)} if self._scores else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember what :meth:`state_dict` returned."""
        self._scores, self.progress = dict(state["scores"]), dict(state["progress"])
