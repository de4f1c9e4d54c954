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
        self._first_told: set[bool] = set()
        self._lost_told = self._nothing_trained = False

    def add(self, task: str, progress: float, loss: float, step: int, *, nothing_trained: bool = False) -> None:
        """Count a step that was skipped, and say what there is to say.

        Args:
            task: of the step.
            progress: that was measured.
            loss: of the step.
            step: its number.
            nothing_trained: ``training_step`` returned ``None``, so that there was nothing to measure.
        """
        self._in_a_row += 1
        self._nothing_trained = nothing_trained
        count = self.of_task[task] = self.of_task.get(task, 0) + 1
        if nothing_trained not in self._first_told:
            self._first_told.add(nothing_trained)
            self._tell_first(task, progress, step)
        if self._in_a_row >= IN_A_ROW and len(self.of_task) > 1:
            self._tell_lost(loss, step)
        elif count >= IN_A_ROW and task not in self._told and not self._lost_told:
            self._told.add(task)
            self._tell_task(task, count, loss, step)

    def end(self, task: str) -> None:
        """Note that a step of the task was learned from."""
        self._in_a_row = 0
        self.of_task.pop(task, None)

    def _tell_first(self, task: str, progress: float, step: int) -> None:
        if self._nothing_trained:
            _log.warning(
                "training_step returned None for a batch of task %r at step %d: nothing was trained on it, and it "
                "teaches the curriculum nothing; such steps are counted in `teacher.skipped`, and this is said once",
                task,
                step,
            )
        else:
            _log.warning(
                "progress on task %r was not finite (%s) at step %d: such steps teach the curriculum nothing; "
                "they are counted in `teacher.skipped`, and this is said once",
                task,
                progress,
                step,
            )

    def _tell_task(self, task: str, count: int, loss: float, step: int) -> None:
        if self._nothing_trained:
            _log.warning(
                "training_step returned None %d times in a row for task %r, up to step %d: the curriculum learns "
                "nothing of it and goes on drawing it. Look at its data, or take it out with "
                "callback.teacher.remove_task(%r)",
                count,
                task,
                step,
                task,
            )
        else:
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

    def _tell_lost(self, loss: float, step: int) -> None:
        if self._lost_told:
            return
        self._lost_told = True
        if self._nothing_trained:
            _log.warning(
                "training_step returned None %d times in a row, for the tasks %s, up to step %d: nothing is trained "
                "any more. It must return a loss for the batches that are to be trained on",
                self._in_a_row,
                listed(list(self.of_task)),
                step,
            )
        else:
            _log.warning(
                "%d steps in a row, of the tasks %s, gave no finite progress (last loss %s at step %d): the parameters "
                "of the model are most likely not finite any more. Go on from an earlier checkpoint with a lower "
                "learning rate or with gradients clipped; EarlyStopping(..., check_finite=True) ends such a run",
                self._in_a_row,
                listed(list(self.of_task)),
                loss,
                step,
            )
