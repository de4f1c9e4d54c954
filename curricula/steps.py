"""The steps of a training: which batches belong to one, what its draw came to, and who is told."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl

from curricula.agreement import Ranks
from curricula.curriculum import Curriculum
from curricula.data.options import Cost
from curricula.meter import Meter
from curricula.signals.base import Signal
from curricula.signals.step import Step
from curricula.teacher import Draw
from curricula.tracking.loggers import Loggers
from curricula.tracking.names import shortened
from curricula.tracking.progress_bar import ProgressBarEntry


class Steps:
    """Follows a training step by step: claims the draw of every batch, and rewards it when its step was made.

    Args:
        trainer: in training.
        module: in training.
        curriculum: of the training, which has started.
        signal: what counts as progress.
        cost: from a batch to its cost, or ``None``.
        owner: the callback whose hooks call this.
        figures: whether loggers are sent pictures.
    """

    def __init__(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        curriculum: Curriculum,
        signal: Signal,
        cost: Cost | None,
        *,
        owner: pl.Callback,
        figures: bool,
    ) -> None:
        self._trainer = trainer
        self._module = module
        self._curriculum = curriculum
        self._draws: tuple[Draw, ...] = ()
        self.step: Step | None = None
        """The step of the batch in hand; ``None`` before the first batch."""
        self._ranks = Ranks(trainer.world_size, module.device, separate=curriculum.independent)
        self._loggers = Loggers(trainer, curriculum.history, figures=figures)
        self._loggers.start(curriculum.teacher, signal)
        self.meter = Meter(
            trainer,
            module,
            signal,
            cost,
            owner=owner,
            clock=self._loggers.signal_time,
            manual=None if module.automatic_optimization else curriculum.manual_steps(trainer),
        )
        self._progress_bar = ProgressBarEntry(trainer, self._progress_bar_items)

    @property
    def task(self) -> str | None:
        """Name of the task of the batch in hand, be it trained on or evaluated for a signal."""
        step = self.step
        if step is not None and step.task_in_hand != step.task:  # a fresh batch is evaluated
            return step.task_in_hand
        arrived = self._curriculum.arrived
        if arrived is not None:  # and not yet at start_batch, but in hooks that transfer it
            return arrived.task
        return None if step is None else step.task

    def start_batch(self, batch: Any, batch_idx: int) -> None:
        """Learn which draw the batch belongs to, and keep what the signal needs to measure it later."""
        curriculum = self._curriculum
        draws = curriculum.loader.claim()
        draw = draws[curriculum.place]
        if self.step is None or self.step.draw.id != draw.id:
            self.abandon()
            self._draws = draws
            self.step = Step(
                draw,
                self._module,
                self.meter.probe,
                curriculum.target_name,
                curriculum.tasks_left,
                curriculum.sample,
                curriculum.teacher.seed,
                accumulation=self._trainer.accumulate_grad_batches,
                world_size=self._ranks.number,
                clips=self.meter.clips,
            )
            self.meter.start(self.step)
        self.meter.start_batch(batch, batch_idx)

    def end_batch(self, outputs: Any) -> None:
        """Measure the progress of a step that is over and reward its draw.

        Args:
            outputs: of the training step.
        """
        step, ledger, place = self.step, self._curriculum.ledger, self._curriculum.place
        if step is None or not self.meter.end_batch(outputs):
            return
        own = self.meter.measure(always=self._ranks.number > 1)
        outcomes = self._ranks.agree(own, ledger.teacher, ledger.history.steps)
        if ledger.teacher.updates == 0:
            self.meter.check_loss()
        if not all(outcome.stepped for outcome in outcomes):
            self.abandon()
            return
        rewards = ledger.reward(self._draws, outcomes, nothing_trained=self.meter.nothing_trained)
        mine = outcomes[place]
        rate = math.nan if mine.progress is None else mine.progress / mine.cost
        self._loggers.after_step(ledger.teacher, rate, rewards[place])
        step.close()

    def abandon(self) -> None:
        """Close the draw of a step that is not made, without a reward."""
        if self.step is not None and not self.step.closed:
            self._curriculum.ledger.discard(self._draws)
            self.step.close()

    def finish(self) -> None:
        """Send what shows the whole run."""
        self._loggers.finish()

    def let_go(self) -> None:
        """Take back what was put into trainer and module for the time of the training."""
        self.meter.let_go()
        self._progress_bar.remove()

    def _progress_bar_items(self) -> dict[str, str]:
        if self.step is None:
            return {}
        effective = self._loggers.effective_tasks(self._curriculum.teacher)
        return {"task": shortened(self.step.task, 24), "effective_tasks": f"{effective:.1f}"}
