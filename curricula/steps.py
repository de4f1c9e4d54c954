"""The steps of a training: which batches belong to one, what its draws came to, and who is told."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl

from curricula.account import Account
from curricula.agreement import Ranks
from curricula.curriculum import Curriculum
from curricula.manual_steps import ManualSteps
from curricula.measures import compared
from curricula.meter import Meter
from curricula.signals.base import Signal
from curricula.signals.step import InHand, Step, in_hand
from curricula.teacher import Draw
from curricula.tracking.loggers import Loggers
from curricula.tracking.names import shortened
from curricula.tracking.progress_bar import ProgressBarEntry
from curricula.trainers import batches_per_draw, data_ranks


class Steps:
    """Follows a training step by step: claims the draws of every batch, and rewards them when their step was made.

    Args:
        trainer: in training.
        module: in training.
        curriculum: of the training, which has started.
        signal: what counts as progress.
        account: what a batch costs.
        owner: the callback whose hooks call this.
        figures: whether loggers are sent pictures.
    """

    def __init__(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        curriculum: Curriculum,
        signal: Signal,
        account: Account,
        *,
        owner: pl.Callback,
        figures: bool,
    ) -> None:
        self._trainer = trainer
        self._module = module
        self._curriculum = curriculum
        self._draws: list[tuple[Draw, ...]] = []  # of all ranks, for each batch of the step that has draws of its own
        self.draws: tuple[Draw, ...] = ()
        """This rank's draws of the batch in hand; empty before the first."""
        self.step: Step | None = None
        """The step of the batch in hand; ``None`` before the first batch."""
        self._signal = curriculum.measured
        self._compares = type(self._signal).compare is not Signal.compare
        copies = trainer.world_size // data_ranks(trainer)[1]
        self._ranks = Ranks(trainer.world_size, module.device, separate=curriculum.independent, copies=copies)
        self._loggers = Loggers(trainer, curriculum.history, figures=figures)
        self._loggers.start(curriculum.teacher, signal)
        self.meter = Meter(
            trainer,
            module,
            curriculum.measured,
            account,
            curriculum.loader.batch_size,
            owner=owner,
            clock=self._loggers.signal_time,
            manual=None if module.automatic_optimization else self._manual_steps(),
        )
        self._progress_bar = ProgressBarEntry(trainer, self._progress_bar_items)

    def _manual_steps(self) -> ManualSteps:
        curriculum = self._curriculum
        ahead = curriculum.loader.plans_ahead
        return ManualSteps(self._trainer.optimizers, curriculum.batches_per_draw, planned_ahead=ahead)

    @property
    def task(self) -> InHand | None:
        """Name of the task of the batch in hand, or of the task of each slot, be it trained on or evaluated."""
        step, arrived = self.step, self._curriculum.arrived
        evaluated = step is not None and step.task_in_hand != in_hand(self.draws)  # a fresh batch for a signal
        if arrived is not None and not evaluated:  # and not yet at start_batch, but in hooks that transfer it
            return in_hand(arrived)
        if step is None:
            return None
        found = step.task_in_hand
        return (found,) * len(self.draws) if len(self.draws) > 1 and isinstance(found, str) else found

    def start_batch(self, batch: Any, batch_idx: int) -> None:
        """Learn which draws the batch belongs to, and keep what the signal needs to measure it later."""
        curriculum = self._curriculum
        draws = curriculum.claim()
        if self.step is None or not self._continues(self.step, draws, batch_idx):
            self.abandon()
            self._draws = []
            self.step = Step(
                self._module,
                self.meter.probe,
                curriculum.target_name,
                curriculum.tasks_left,
                curriculum.sample,
                curriculum.teacher.seed,
                accumulation=self._trainer.accumulate_grad_batches,
                world_size=self._ranks.number,
                clips=self.meter.clips,
                batch_size=curriculum.loader.batch_size,
                several=curriculum.has_several_draws,
            )
            self.meter.start(self.step)
        if draws not in self._draws:
            self._draws.append(draws)
        self.draws = curriculum.loader.own_draws(draws)
        self.meter.start_batch(batch, batch_idx, self.draws, curriculum.loader.claimed_samples)

    def _continues(self, step: Step, draws: tuple[Draw, ...], batch_idx: int) -> bool:
        """Tell whether a batch is a further one of the step in hand."""
        if not self._curriculum.loader.redraws:
            return self._draws[-1][0].id == draws[0].id
        by_hand = not self._module.automatic_optimization
        return not step.closed and (by_hand or batch_idx % batches_per_draw(self._trainer) != 0)

    def _all_draws(self) -> list[Draw]:
        """Return the draws of the step, one rank after the other where these have draws of their own."""
        slots = self._curriculum.loader.draws_per_batch
        starts = range(0, len(self._draws[0]), slots)
        return [draw for start in starts for draws in self._draws for draw in draws[start : start + slots]]

    def end_batch(self, outputs: Any) -> None:
        """Measure the progress of a step that is over and reward its draws.

        Args:
            outputs: of the training step.
        """
        if self._curriculum.loader.is_over:
            self._trainer.should_stop = True
        step, ledger = self.step, self._curriculum.ledger
        if step is None or not self.meter.end_batch(outputs):
            return
        own = self.meter.measure(always=self._ranks.number > 1)
        outcomes = self._ranks.agree(own, ledger.teacher, ledger.history.steps)
        if ledger.teacher.updates == 0:
            self.meter.check_loss()
        if not all(outcome.stepped for outcome in outcomes):
            ledger.spend(self._all_draws(), outcomes)
            self.abandon()
            return
        draws = self._all_draws()
        if self._compares:
            outcomes = compared(self._signal, draws, outcomes)
        rewards = ledger.reward(draws, outcomes, nothing_trained=self.meter.nothing_trained)
        first = self._curriculum.place * len(own)
        mine = slice(first, first + len(own))
        rates = [math.nan if each.progress is None else each.progress / each.cost for each in outcomes[mine]]
        self._loggers.after_step(ledger.teacher, rates, rewards[mine])
        step.close()

    def abandon(self) -> None:
        """Close the draws of a step that is not made, without a reward."""
        if self.step is not None and not self.step.closed:
            self._curriculum.ledger.discard(self._all_draws())
            self.step.close()

    def finish(self) -> None:
        """Send what shows the whole run."""
        self._loggers.finish()

    def let_go(self) -> None:
        """Take back what was put into trainer and module for the time of the training."""
        self.meter.let_go()
        self._progress_bar.remove()

    def _progress_bar_items(self) -> dict[str, str]:
        if not self.draws:
            return {}
        effective = self._loggers.effective_tasks(self._curriculum.teacher)
        tasks = list(dict.fromkeys(draw.task for draw in self.draws))
        shown = {"task": shortened(tasks[0], 24)} if len(tasks) == 1 else {"tasks": shortened(", ".join(tasks), 24)}
        return {**shown, "effective_tasks": f"{effective:.1f}"}
