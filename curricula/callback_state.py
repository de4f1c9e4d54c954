"""What a curriculum callback shows of its training, and what a checkpoint keeps of it."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from curricula.curriculum import Curriculum
from curricula.signals.base import Signal
from curricula.signals.reported import Reported
from curricula.steps import Steps
from curricula.task_shares import check_known
from curricula.teacher import Draw, Teacher
from curricula.tracking.history import CurriculumHistory


class CurriculumState(pl.Callback):
    """The side of a :class:`~curricula.CurriculumCallback` that is looked at and saved. The subclass trains."""

    _curriculum: Curriculum
    _steps: Steps | None  # from the start of a training on
    _evaluates: bool
    signal: Signal

    @property
    def state_key(self) -> str:
        """The key of the curriculum in a checkpoint's ``callbacks``."""
        return "CurriculumCallback"

    @property
    def teacher(self) -> Teacher:
        """The teacher in charge; there is one from the start of training on."""
        return self._curriculum.teacher

    @property
    def history(self) -> CurriculumHistory:
        """The record of the run; there is one from the start of training on."""
        return self._curriculum.history

    @property
    def current_draw(self) -> Draw | None:
        """The draw of the batch in hand, until the next batch arrives; ``None`` before the first.

        Raises:
            RuntimeError: if the batch has several draws (``draws_per_batch``): look at :attr:`current_draws`.
        """
        draws = self.current_draws
        if len(draws) > 1:
            raise RuntimeError(f"the batch in hand has {len(draws)} draws, one per slot: look at current_draws")
        return draws[0] if draws else None

    @property
    def current_draws(self) -> tuple[Draw, ...]:
        """This rank's draws of the batch in hand, one for each slot, until the next batch arrives.

        Empty before the first batch. Slot ``k`` has the samples ``k * s`` to ``(k + 1) * s - 1`` of the batch, where
        ``s`` is ``batch_size // draws_per_batch``.
        """
        return () if self._steps is None else self._steps.draws

    @property
    def current_task(self) -> str | tuple[str, ...] | None:
        """Name of the task of the batch in hand, or of each of its slots: see :func:`curricula.current_task`."""
        return None if self._steps is None else self._steps.task

    def report(self, value: Any, task: str | None = None) -> None:
        """Report a value to the signal :class:`~curricula.signals.Reported` (or one of its kind).

        Args:
            value: a number, or one per sample or slot of the batch in hand; ``None`` says nothing. Several values in a
                step count with their mean.
            task: of which the value is, where it is not of the batch in hand: it counts for the task's open draw, or
                for its next one.

        Raises:
            RuntimeError: if the signal takes no values, or no batch is in hand whose draws are still open.
            TypeError: if the value is no number.
            ValueError: if there is no such task, or the value does not tell the draws of the batch apart.
        """
        signal = self.signal
        if not isinstance(signal, Reported):
            raise RuntimeError(
                f"{type(signal).__name__} measures progress by itself and takes no reported value: give "
                "CurriculumCallback(signal=Reported(...))"
            )
        if task is not None:
            check_known("report()", [task], self.teacher.tasks)
            signal.report_for(task, value)
            return
        step = self._running.step
        if step is None or step.closed:
            raise RuntimeError(
                "no draw is open: its step is over, or none has begun. Report in training_step, or say of which task "
                "the value is, report(value, task=...), and it counts for the task's next draw"
            )
        signal.report(step, value)

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides the next draws, and the history."""
        return self._curriculum.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state of a checkpoint until the loader and its tasks are known.

        Of one that is evaluated, only to be looked at: a training that follows does not go on from it. After a trial in
        the middle of a training, such as a search for the learning rate, the curriculum goes on: draws were spent.
        """
        if self._curriculum.in_training:
            self._running.abandon()
            self._curriculum.loader.discard_lost(step_is_over=True)
        else:
            self._curriculum.load_state_dict(state_dict, to_look_at=self._evaluates)

    @property
    def _running(self) -> Steps:
        if self._steps is None:
            raise RuntimeError("no training has started: on_train_start() comes first")
        return self._steps
