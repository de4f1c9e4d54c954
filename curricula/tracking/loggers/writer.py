"""Loggers: the curriculum in all loggers of a trainer, on rank zero, at the trainer's own pace and step."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from curricula.tracking.history import CurriculumHistory, effective_number
from curricula.tracking.loggers.mlflow import MLFlowSink
from curricula.tracking.loggers.pictures import Pictures
from curricula.tracking.loggers.scalars import Scalars, Stopwatch
from curricula.tracking.loggers.schedule import entry_due, moment_due
from curricula.tracking.loggers.settings import settings
from curricula.tracking.loggers.sink import Sink
from curricula.tracking.loggers.tensorboard import TensorBoardSink
from curricula.tracking.loggers.weights_and_biases import WandbSink

if TYPE_CHECKING:
    from curricula.signals.base import Signal
    from curricula.teacher import Teacher

_log = logging.getLogger(__name__)

# By name, so that loggers of both Lightning packages are known and none is imported.
_SINKS: dict[str, type[Sink]] = {
    "WandbLogger": WandbSink,
    "TensorBoardLogger": TensorBoardSink,
    "MLFlowLogger": MLFlowSink,
}


class Loggers:
    """Writes to all loggers of a trainer.

    A logger that fails costs one warning and is then left alone; the training goes on.

    Args:
        trainer: whose ``loggers`` and ``log_every_n_steps`` are used.
        history: what the pictures show.
        figures: whether to send pictures.
    """

    def __init__(self, trainer: Any, history: CurriculumHistory, *, figures: bool) -> None:
        self.signal_time = Stopwatch()
        """To be run while the signal measures."""
        self._trainer = trainer
        self._history = history
        self._every = trainer.log_every_n_steps
        self._sinks = [_sink(logger, figures) for logger in trainer.loggers] if trainer.is_global_zero else []
        self._scalars = Scalars(history.target, self.signal_time)
        self._pictures = Pictures(history)
        self._finished = history.steps
        self._step = 0
        self._effective: tuple[int, float] = (-1, math.nan)

    def start(self, teacher: Teacher, signal: Signal) -> None:
        """Record bandit, signal and scaler, and their constants, where a logger takes a configuration."""
        self._write(lambda sink: sink.start(settings(teacher, signal)))

    def effective_tasks(self, teacher: Teacher) -> float:
        """Return the effective number of tasks of the present policy."""
        if self._effective[0] != teacher.updates:
            self._effective = (teacher.updates, effective_number(teacher.probabilities()))
        return self._effective[1]

    def after_step(self, teacher: Teacher, rates: list[float], rewards: list[float | None]) -> None:
        """Write what is due after an optimiser step.

        Args:
            teacher: that was rewarded.
            rates: of this rank's draws of the step, progress divided by cost.
            rewards: of these draws, each in ``[-1, 1]``, ``None`` if it was skipped.
        """
        if not self._sinks:
            return
        for rate, reward in zip(rates, rewards, strict=True):
            self._scalars.add(rate, reward)
        self._step = _trainer_step(self._trainer)
        steps = self._history.steps
        if self._every and steps % self._every == 0 and entry_due(steps // self._every):
            entry = self._scalars.take(teacher, self._history.total_cost)
            self._write(lambda sink: sink.scalars(entry, self._step))
        if moment_due(steps, teacher.bandit.horizon):
            self._write_pictures(last=False)

    def finish(self) -> None:
        """Send what shows the whole run, once."""
        steps = self._history.steps
        if steps == self._finished:
            return
        self._finished = steps
        self._write_pictures(last=True)

    def _write_pictures(self, *, last: bool) -> None:
        self._write(lambda sink: sink.pictures(self._pictures, self._step, last=last))
        self._pictures.clear()

    def _write(self, write: Callable[[Sink], None]) -> None:
        for sink in list(self._sinks):
            self._attempt(sink, write)

    def _attempt(self, sink: Sink, write: Callable[[Sink], None]) -> None:
        try:
            write(sink)
        except Exception as error:  # noqa: BLE001 - whatever a logger's backend raises must not end the training
            self._sinks.remove(sink)
            cause = _first_cause(error)
            _log.warning(
                "%s failed (%s: %s): the curriculum is no longer written to it; the training goes on",
                sink.name,
                type(cause).__name__,
                " ".join(str(cause).split()),
            )


def _first_cause(error: BaseException) -> BaseException:
    # Loggers take any error for one of the values: a full disk is a "value that is not supported" to TensorBoard's.
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _trainer_step(trainer: Any) -> int:
    """Return the step that Lightning's own metrics are logged with."""
    return int(getattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped", trainer.global_step))


def _sink(logger: Any, figures: bool) -> Sink:
    kinds = (_SINKS[base.__name__] for base in type(logger).__mro__ if base.__name__ in _SINKS)
    return next(kinds, Sink)(logger, figures=figures)
