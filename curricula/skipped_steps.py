"""Steps whose progress was not finite: said once, and louder where a task, or every task, gives nothing else."""

from __future__ import annotations

import logging

from curricula.task_names import listed

_log = logging.getLogger(__name__)

IN_A_ROW = 20
"""Steps in a row without finite progress, of one task or of all, after which it is said."""


class SkippedSteps:
    """Counts the steps in a row that taught the curriculum nothing because their progress was not finite.

    A task that gives nothing else goes on being drawn with the probability that it has, since the bandit learns neither
    good nor bad of it. Whether the task is broken, or the model, is for the user to say.
    """

    def __init__(self) -> None:
        self.of_task: dict[str, int] = {}
        """Task to its latest steps that were all skipped, at least 1; empty while all is well."""
        self._in_a_row = 0
        self._told: set[str] = set()
        self._first_told = self._lost_told = False

    def add(self, task: str, progress: float, loss: float, step: int) -> None:
        """Count a step that was skipped, and say what there is to say."""
        self._in_a_row += 1
        count = self.of_task[task] = self.of_task.get(task, 0) + 1
        if not self._first_told:
            self._first_told = True
            _log.warning(
                "progress on task %r was not finite (%s) at step %d: such steps teach the curriculum nothing; "
                "they are counted in `teacher.skipped`, and this is said once",
                task,
                progress,
                step,
            )
        if self._in_a_row >= IN_A_ROW and len(self.of_task) > 1:
            self._tell_lost(loss, step)
        elif count >= IN_A_ROW and task not in self._told and not self._lost_told:
            self._told.add(task)
            _log.warning(
                "task %r gave %d times in a row a progress that is not finite (last loss %s at step %d): the "
                "curriculum learns nothing of it and goes on drawing it. Look at its data, lower the learning rate, or "
                "take it out with callback.teacher.remove_task(%r)",
                task,
                count,
                loss,
                step,
                task,
            )

    def end(self, task: str) -> None:
        """Note that a step of the task was learned from."""
        self._in_a_row = 0
        self.of_task.pop(task, None)

    def _tell_lost(self, loss: float, step: int) -> None:
        if self._lost_told:
            return
        self._lost_told = True
        _log.warning(
            "%d steps in a row, of the tasks %s, gave no finite progress (last loss %s at step %d): the parameters of "
            "the model are most likely not finite any more. Go on from an earlier checkpoint with a lower learning "
            "rate or with gradients clipped; EarlyStopping(..., check_finite=True) ends such a run",
            self._in_a_row,
            listed(list(self.of_task)),
            loss,
            step,
        )
