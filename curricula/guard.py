"""The guard: which tasks have become worse than they were, and must not get less than their prior share."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from curricula.bandits.base import check_range
from curricula.checks import check_flags
from curricula.held_out import HeldOut, Metrics, Mode
from curricula.task_names import listed

_log = logging.getLogger(__name__)


class Guard:
    r"""Guards tasks that are being forgotten.

    A task whose held-out metric :math:`m` is worse than its best so far, :math:`m^*`, by more than a tolerance gets at
    least its prior share of the draws from then on, until a validation finds it within the tolerance again:

    .. math:: m - m^* > t \quad\text{or, with}\ \texttt{relative},\quad m - m^* > t\, |m^*|

    (for metrics of which small values are good). Everything else is left to the bandit.

    Args:
        metrics: names as in ``trainer.callback_metrics``: a pattern with ``{task}``, such as ``"val_loss/{task}"``; or
            for every task a name, or the weights ``> 0`` of several names, whose weighted mean counts.
        mode: ``"min"`` for metrics such as losses, ``"max"`` for metrics such as accuracies.
        tolerance: how much worse a task may become, ``>= 0``.
        relative: whether the tolerance is a part of the best value (0.1: a tenth of it), or in the unit of the metric.

    Raises:
        TypeError: if a name is no text, or a number is none.
        ValueError: if the pattern has no ``{task}``, or an option is out of range. When training starts: if a task has
            no metric, or there is no such task.

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(guard=Guard("val_loss/{task}", tolerance=0.05))
    """

    def __init__(self, metrics: Metrics, *, mode: Mode = "min", tolerance: float = 0.1, relative: bool = True) -> None:
        self._held_out = HeldOut(type(self).__name__, metrics, mode)
        self._tolerance = check_range("tolerance", tolerance, 0.0, math.inf)
        check_flags(relative=relative)
        self._relative = relative
        self._best: dict[str, float] = {}
        self.guarded: tuple[str, ...] = ()
        """Names of the tasks that are guarded now, in the order of the arms."""

    @property
    def skipped(self) -> dict[str, int]:
        """Task to the number of validations whose metric was not finite, in this training."""
        return self._held_out.skipped

    def check_tasks(self, tasks: Sequence[str]) -> None:
        """Raise ``ValueError`` for tasks without a metric, and metrics without a task."""
        self._held_out.check_tasks(tasks)

    def after_validation(self, metrics: Mapping[str, float], tasks: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the tasks that are to be guarded from now on, and log once what has changed.

        Args:
            metrics: what was logged, by name.
            tasks: names of all tasks. A task whose metric was not logged, or is not finite, stays as it is.
        """
        scores = self._held_out.read(metrics, tasks)
        known = {task: score for task, score in scores.items() if not math.isnan(score)}
        for task, score in known.items():
            self._best[task] = max(score, self._best.get(task, score))
        before = self.guarded
        self.guarded = tuple(task for task in tasks if (self._worse(task, known) if task in known else task in before))
        self._tell(before, known)
        return self.guarded

    def _worse(self, task: str, scores: Mapping[str, float]) -> bool:
        best = self._best[task]
        return best - scores[task] > self._tolerance * (abs(best) if self._relative else 1.0)

    def _tell(self, before: Sequence[str], scores: Mapping[str, float]) -> None:
        for task in self.guarded:
            if task not in before:
                _log.warning(
                    "task %r has become worse on held-out data than it was, by %.4g where its best was %.4g: it gets "
                    "at least its prior share until it has recovered",
                    task,
                    self._best[task] - scores[task],
                    abs(self._best[task]),
                )
        recovered = [task for task in before if task not in self.guarded]
        if recovered:
            _log.info("tasks that have recovered on held-out data, and are guarded no more: %s", listed(recovered))

    def reset(self) -> None:
        """Forget all validations."""
        self._best.clear()
        self.skipped.clear()
        self.guarded = ()

    def state_dict(self) -> dict[str, Any]:
        """Return the best of every task and which ones are guarded, as plain containers."""
        return {"best": dict(self._best), "guarded": list(self.guarded)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what :meth:`state_dict` returned."""
        self._best, self.guarded = dict(state["best"]), tuple(state["guarded"])
