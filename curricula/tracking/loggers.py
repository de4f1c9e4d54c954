"""The curriculum in the trainer's loggers: a few scalars, and pictures of the policy where a logger takes pictures."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from curricula.tracking.history import CurriculumHistory, effective_number

if TYPE_CHECKING:
    from curricula.signals.step import Step
    from curricula.teacher import Teacher

_log = logging.getLogger(__name__)

PREFIX = "curriculum/"

_PICTURES = 8
"""Pictures of the policy per run, spread evenly over the horizon."""


class Loggers:
    """Writes to all loggers of a trainer, on rank zero, at the trainer's own pace and step.

    A logger that fails costs one warning and is then left alone; the training goes on.

    Args:
        trainer: whose ``loggers`` and ``log_every_n_steps`` are used.
        history: what the pictures show.
        figures: whether to send pictures.
    """

    def __init__(self, trainer: Any, history: CurriculumHistory, *, figures: bool) -> None:
        self._trainer = trainer
        self._history = history
        self._loggers = list(trainer.loggers) if trainer.is_global_zero else []
        self._every = trainer.log_every_n_steps
        self._figures = figures and any(_takes_pictures(logger) for logger in self._loggers)
        self._pictured = -1
        self._effective: tuple[int, float] = (-1, math.nan)

    def effective_tasks(self, teacher: Teacher) -> float:
        """Return the effective number of tasks of the present policy."""
        if self._effective[0] != teacher.updates:
            self._effective = (teacher.updates, effective_number(teacher.bandit.probabilities()))
        return self._effective[1]

    def after_step(self, teacher: Teacher, step: Step, progress: float, reward: float | None) -> None:
        """Write the scalars and the picture that are due after an optimiser step."""
        if not self._loggers:
            return
        steps = self._history.steps
        if self._every and steps % self._every == 0:
            self._write_scalars(teacher, step, progress, reward)
        if self._figures and teacher.bandit.horizon and steps % math.ceil(teacher.bandit.horizon / _PICTURES) == 0:
            self._write_picture()

    def finish(self) -> None:
        """Send the picture of the whole run, once."""
        if self._loggers and self._figures and 0 < self._history.steps != self._pictured:
            self._write_picture()

    def _write_scalars(self, teacher: Teacher, step: Step, progress: float, reward: float | None) -> None:
        metrics = {
            "effective_tasks": self.effective_tasks(teacher),
            "probability": step.draw.probability,
            "skipped": float(sum(teacher.skipped)),
        }
        if math.isfinite(progress):
            metrics["progress"] = progress
        if reward is not None:
            metrics["reward"] = reward
        if self._history.target is not None:
            arm = teacher.tasks.index(self._history.target)
            metrics["target_probability"] = float(teacher.bandit.probabilities()[arm])
        named = {PREFIX + name: value for name, value in metrics.items()}
        for logger in list(self._loggers):
            self._guard(logger, lambda to: to.log_metrics(named, step=self._trainer_step()))

    def _write_picture(self) -> None:
        self._pictured = self._history.steps
        try:
            from curricula.tracking.figures import policy_figure
        except ImportError as error:
            self._figures = False
            _log.warning("no pictures of the curriculum: %s; pip install 'lightning-curricula[plots]'", error)
            return
        figure = policy_figure(self._history)
        for logger in list(self._loggers):
            self._guard(logger, lambda to: _write_figure(to, figure, self._trainer_step()))

    def _trainer_step(self) -> int:
        # The step that Lightning's own metrics are logged with.
        loop = self._trainer.fit_loop.epoch_loop
        return int(getattr(loop, "_batches_that_stepped", self._trainer.global_step))

    def _guard(self, logger: Any, write: Callable[[Any], None]) -> None:
        try:
            write(logger)
        except Exception as error:  # noqa: BLE001 - whatever a logger's backend raises must not end the training
            self._loggers.remove(logger)
            _log.warning(
                "%s failed (%s: %s): the curriculum is no longer written to it; the training goes on",
                type(logger).__name__,
                type(error).__name__,
                error,
            )


def _takes_pictures(logger: Any) -> bool:
    return bool(_kinds(logger) & {"WandbLogger", "TensorBoardLogger"})


def _kinds(logger: Any) -> set[str]:
    # By name, so that loggers of both Lightning packages are known and none is imported.
    return {base.__name__ for base in type(logger).__mro__}


def _write_figure(logger: Any, figure: Any, step: int) -> None:
    if "WandbLogger" in _kinds(logger):
        import numpy as np
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from PIL import Image

        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        logger.log_image(key=PREFIX + "policy", images=[picture], step=step)
    elif "TensorBoardLogger" in _kinds(logger):
        logger.experiment.add_figure(PREFIX + "policy", figure, global_step=step, close=False)
