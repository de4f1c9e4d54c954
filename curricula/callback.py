"""CurriculumCallback: carries draws, learning progress and rewards between the trainer, the loader and the teacher."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from functools import partial
from typing import Any, TypeVar

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import Dataset

from curricula.agreement import Ranks
from curricula.bandits.base import Bandit
from curricula.checkpoint import go_on, look_back, parts_of
from curricula.checks import check_flags
from curricula.data.loader import CurriculumLoader
from curricula.data.options import Cost, check_whole
from curricula.data.samples import HELD_OUT_TARGET
from curricula.data.tasks import Task
from curricula.handover import Handover
from curricula.ledger import Ledger
from curricula.manual_steps import ManualSteps
from curricula.meter import Meter
from curricula.rewards import RewardScaler
from curricula.setups import check_setup
from curricula.signals.base import Signal
from curricula.signals.first_order_prediction_gain import FirstOrderPredictionGain
from curricula.signals.probe import untouched
from curricula.signals.step import Step
from curricula.skipped_steps import SkippedSteps
from curricula.teacher import Draw, Teacher, check_instance
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.loggers import Loggers
from curricula.tracking.names import shortened
from curricula.tracking.progress_bar import ProgressBarEntry
from curricula.trainers import (
    batches_per_draw,
    data_ranks,
    expected_draws,
    find_loader,
    keep_reloading,
    overfit_limit,
    prepared,
    up_to_date_loader,
)

_log = logging.getLogger(__name__)

T = TypeVar("T")


class CurriculumCallback(pl.Callback):
    """Chooses the task of every optimiser step by a bandit that learns from learning progress.

    Put it into the trainer's callbacks and train on a :class:`~curricula.CurriculumLoader`. The model stays as it is;
    what it logs, its random numbers, buffers and checkpoints are as they would be without the callback. Works in
    trainers of ``pytorch_lightning`` and of ``lightning.pytorch``.

    Args:
        bandit: chooses the tasks; default :class:`~curricula.bandits.Exp3S`, with rates that fit the run.
        signal: what counts as progress; default :class:`~curricula.signals.FirstOrderPredictionGain`.
        scaler: progress rate to reward in ``[-1, 1]``; default :class:`~curricula.rewards.QuantileScaler`.
        cost: from the batch of a step to its cost, a finite number ``> 0``; progress is divided by it (by the mean over
            the micro-batches under accumulation). ``None``: 1, right for losses that are means over the batch and the
            sequence. For a loss that is a sum over the sequence, return its length.
        target: name of the task that matters most, for signals that need it and for the plots; or held-out data (a
            dataset or a loader) that are not trained on, for signals that need a target.
        seed: of the draws, in ``[0, 2**64)``.
        log_figures: send charts and pictures of the curriculum to loggers that take them.
        strict: refuse a checkpoint of other tasks, or of the same in another order. If not, tasks are matched by name,
            with one warning that lists them: those that stay keep the ratios of their weights and their place in the
            data, and new ones get the mean weight.
        independent_ranks: with several processes, let each draw tasks of its own from the one policy, rather than share
            the task of every step. One step then mixes several tasks, and waits for the slowest. Needs a signal of a
            rank's own loss, such as :class:`~curricula.signals.PredictionGain`.
        batches_per_draw: under manual optimisation, the number of batches after which ``training_step`` has made its
            optimiser steps: all of them are of one task, and are rewarded together. ``None``: as many as it takes to
            the next optimiser step, which can be known with ``num_workers=0`` alone. Under automatic optimisation it is
            the trainer's ``accumulate_grad_batches``.
        horizon: expected number of steps that are rewarded, for the bandit's rates. ``None``: the number of optimiser
            steps that the trainer expects; give it where that is another, as with several optimisers.

    Raises:
        TypeError: if an argument is of another kind; a class in place of an instance is told apart.
        MisconfigurationException: when training starts, if the trainer has no ``CurriculumLoader``, ``target`` names
            no task, or the signal needs something that the module or the callback does not have.

    Source: Graves et al. 2017, Algorithm 1.

    Example:
        >>> from curricula import CurriculumCallback
        >>> from curricula.bandits import Exp3S
        >>> from curricula.signals import GradientPredictionGain
        >>> callback = CurriculumCallback(bandit=Exp3S(epsilon=0.1), signal=GradientPredictionGain())
    """

    def __init__(
        self,
        bandit: Bandit | None = None,
        signal: Signal | None = None,
        scaler: RewardScaler | None = None,
        *,
        cost: Cost | None = None,
        target: str | Task | None = None,
        seed: int = 0,
        log_figures: bool = True,
        strict: bool = True,
        independent_ranks: bool = False,
        batches_per_draw: int | None = None,
        horizon: int | None = None,
    ) -> None:
        self.signal = check_instance("signal", FirstOrderPredictionGain() if signal is None else signal, Signal)
        if cost is not None and not callable(cost):
            raise TypeError(f"cost must be a function from a batch to a number, got {cost!r}")
        if target is not None and not isinstance(target, (str, Iterable, Dataset)):
            raise TypeError(f"target must be the name of a task, or held-out data, got {target!r}")
        check_flags(log_figures=log_figures, strict=strict, independent_ranks=independent_ranks)
        check_whole("batches_per_draw", batches_per_draw, 1)
        check_whole("horizon", horizon, 1)
        if bandit is not None:
            check_instance("bandit", bandit, Bandit)
        Teacher(["any"], scaler=scaler, seed=seed)  # which checks these now rather than when training starts
        self._options: dict[str, Any] = {"bandit": bandit, "scaler": scaler, "seed": seed}
        self._cost = cost
        self._target: Any = target
        self._target_name = target if target is None or isinstance(target, str) else HELD_OUT_TARGET
        self._log_figures = log_figures
        self._strict = strict
        self._independent = independent_ranks
        self._batches_per_draw = batches_per_draw
        self._horizon = horizon
        self._ledger: Ledger | None = None
        self._loader: CurriculumLoader | None = None
        self._last_loader: CurriculumLoader | None = None  # stays when training is over, for checkpoints saved then
        self._loaded: dict[str, Any] | None = None
        self._seen: dict[str, Any] | None = None
        self._evaluates = False
        self._draws: tuple[Draw, ...] = ()
        self._step: Step | None = None
        self._meter: Any = None  # from the start of a training on
        self._skipped = SkippedSteps()
        self._handover = Handover()

    @property
    def state_key(self) -> str:
        """The key of the curriculum in a checkpoint's ``callbacks``."""
        return "CurriculumCallback"

    @property
    def teacher(self) -> Teacher:
        """The teacher in charge; there is one from the start of training on."""
        if self._loader is None:
            self._look_back()
        return _started("teacher", self._ledger).teacher

    @property
    def history(self) -> CurriculumHistory:
        """The record of the run; there is one from the start of training on."""
        if self._loader is None:
            self._look_back()
        return _started("history", self._ledger).history

    @property
    def current_draw(self) -> Draw | None:
        """The draw of the batch in hand, until the next batch arrives; ``None`` before the first."""
        return None if self._step is None else self._step.draw

    @property
    def current_task(self) -> str | None:
        """Name of the task of the batch in hand: see :func:`curricula.current_task`."""
        step = self._step
        if step is not None and step.task_in_hand != step.task:  # a fresh batch is evaluated
            return step.task_in_hand
        arrived = None if self._loader is None else self._loader.arrived
        if arrived is not None:  # and not yet at on_train_batch_start, but in hooks that transfer it
            return arrived[self._place].task
        return None if step is None else step.task

    # ---------------------------------------------------------------- start

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse a second callback, and a signal whose needs are not met."""
        self.teardown(trainer, pl_module, stage)  # which an error in the training before has left out
        self._evaluates = stage != "fit"
        if self._evaluates:
            return
        self._handover.receive()  # what nobody has looked at is of a training before
        check_setup(
            trainer,
            pl_module,
            self.signal,
            kind=type(self).__name__,
            target=self._target_name,
            batches_per_draw=self._batches_per_draw,
            independent=self._independent,
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the loader, make the teacher (or go on with the one of a checkpoint), and connect them."""
        loader = up_to_date_loader(trainer)
        try:
            self._start_teacher(trainer, loader)
            self._attach(trainer, loader)
        except ValueError as error:
            raise MisconfigurationException(str(error)) from error
        # A resume at the end of an epoch may be due to reload the data, and calls no on_train_epoch_start afterwards.
        loader = up_to_date_loader(trainer)
        self.on_train_epoch_start(trainer, pl_module)
        self._ranks = Ranks(trainer.world_size, pl_module.device, separate=self._independent)
        self._step = None
        self._loggers = Loggers(trainer, self.history, figures=self._log_figures)
        self._loggers.start(self.teacher, self.signal)
        self._meter = Meter(
            trainer,
            pl_module,
            self.signal,
            self._cost,
            owner=self,
            clock=self._loggers.signal_time,
            manual=None if pl_module.automatic_optimization else self._manual_steps(trainer, loader),
        )
        self._progress_bar = ProgressBarEntry(trainer, self._progress_bar_items)

    def _manual_steps(self, trainer: pl.Trainer, loader: CurriculumLoader) -> ManualSteps:
        return ManualSteps(trainer.optimizers, self._batches_per_draw, planned_ahead=loader.plans_ahead)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Follow the trainer to a new loader, where it reloads them."""
        loader = find_loader(trainer)
        if self._loader is None or loader is self._loader:
            return
        try:
            self._follow(self._loader, loader)
            loader.made_in_epoch = trainer.current_epoch
            self._attach(trainer, loader)
        except ValueError as error:
            raise MisconfigurationException(str(error)) from error

    def _follow(self, before: CurriculumLoader, loader: CurriculumLoader) -> None:
        self._check_target(loader)
        _started("ledger", self._ledger).set_tasks(loader.names, "the loader before", strict=self._strict)
        loader.take_over(before)

    def _check_target(self, loader: CurriculumLoader) -> None:
        if isinstance(self._target, str) and self._target not in loader.names:
            raise MisconfigurationException(
                f"target {self._target!r} names no task: the tasks are {list(loader.names)}"
            )

    def _attach(self, trainer: pl.Trainer, loader: CurriculumLoader) -> None:
        rank, world_size = data_ranks(trainer)
        loader.attach(
            self.teacher,
            rank=rank,
            world_size=world_size,
            micro_batches=lambda: self._batches_per_draw or batches_per_draw(trainer),
            goes_on=lambda: self._meter is not None and self._meter.goes_on,
            epoch_length=lambda: trainer.num_training_batches,
            evaluates=lambda: trainer.evaluating or trainer.predicting,
            limit=overfit_limit(trainer),
            strict=self._strict,
            independent=self._independent,
        )
        self._loader = self._last_loader = loader
        self._place = rank if self._independent else 0
        if self._target_name == HELD_OUT_TARGET:
            loader.samples.add_target(self._target)
        self._sample = partial(_sample, trainer, loader) if self.signal.needs_samples else None

    def _start_teacher(self, trainer: pl.Trainer, loader: CurriculumLoader) -> None:
        self._check_target(loader)
        if trainer.global_step > 0 and self._ledger is not None and self._loaded is None:
            self._ledger.set_tasks(loader.names, "the training before", strict=self._strict)
            return
        loader.made_in_epoch = trainer.current_epoch
        steps = self._horizon
        if steps is None:
            steps = expected_draws(trainer, self._batches_per_draw or 1)
        draws = trainer.world_size if self._independent else 1
        teacher = Teacher(loader.names, horizon=steps, draws_per_step=draws, **self._options)
        target = self._target if isinstance(self._target, str) else None
        history = CurriculumHistory(loader.names, grid=loader.grid, target=target)
        self.signal.reset()
        if self._loaded is not None:
            source = trainer.ckpt_path
            history = go_on(self._loaded, teacher, history, loader, self.signal, strict=self._strict, source=source)
            self._loaded = None
            keep_reloading(trainer, loader.made_in_epoch)
        elif trainer.ckpt_path is not None and trainer.global_step > 0:
            _log.warning(
                "the checkpoint %s has no curriculum state: the model goes on from it, the curriculum starts anew",
                trainer.ckpt_path,
            )
        self._ledger = Ledger(teacher, history, self._skipped)
        if trainer.is_global_zero:
            _log.info("curriculum: %s, %s", teacher.bandit.describe(), type(self.signal).__name__)

    def _look_back(self) -> None:
        # Nothing is trained here now: a training in other processes is over, or a run was over when it was resumed.
        arrived = self._handover.receive()
        state = arrived or self._loaded or self._seen
        if state is not None and (arrived or self._ledger is None):
            self._ledger = Ledger(*look_back(state, self._options), self._skipped)

    # ---------------------------------------------------------------- one step

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Learn which draw the batch belongs to, and keep what the signal needs to measure it later."""
        draws = _started("loader", self._loader).claim()
        draw = draws[self._place]
        if self._step is None or self._step.draw.id != draw.id:
            self._abandon_step()
            self._draws = draws
            self._step = Step(
                draw,
                pl_module,
                self._meter.probe,
                self._target_name,
                self._tasks_left(),
                self._sample,
                self.teacher.seed,
                accumulation=trainer.accumulate_grad_batches,
                world_size=self._ranks.number,
                clips=self._meter.clips,
            )
            self._meter.start(self._step)
        self._meter.start_batch(batch, batch_idx)

    def _tasks_left(self) -> tuple[str, ...]:
        removed = self.teacher.removed
        return tuple(name for name in self.teacher.tasks if name not in removed) if removed else self.teacher.tasks

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Keep the loss at the old parameters, and see which gradients are the draw's alone."""
        if self._step is not None:
            self._meter.before_backward(loss)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let a signal that compares micro-batches measure with the gradients so far."""
        if self._step is not None:
            self._meter.after_backward()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Let the signal measure with the gradients and the old parameters."""
        if self._step is not None:
            self._meter.before_step(optimizer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure the progress of a finished step and reward its draw."""
        step = self._step
        if step is None or not self._meter.end_batch(outputs):
            return
        own = self._meter.measure(always=self._ranks.number > 1)
        outcomes = self._ranks.agree(own, self.teacher, self.history.steps)
        if self.teacher.updates == 0:
            self._meter.check_loss()
        if not all(outcome.stepped for outcome in outcomes):
            self._abandon_step()
            return
        ledger = _started("ledger", self._ledger)
        rewards = ledger.reward(self._draws, outcomes, nothing_trained=self._meter.nothing_trained)
        mine = outcomes[self._place]
        rate = math.nan if mine.progress is None else mine.progress / mine.cost
        self._loggers.after_step(ledger.teacher, rate, rewards[self._place])
        step.close()

    def _abandon_step(self) -> None:
        if self._step is not None and not self._step.closed:
            _started("ledger", self._ledger).discard(self._draws)
            self._step.close()

    # ---------------------------------------------------------------- end and state

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Send what shows the whole run."""
        self._loggers.finish()
        self._handover.send(trainer, self.state_dict)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Send what shows a run that was interrupted."""
        if self._loader is not None:
            told = self._loader.explain(exception)
            if told is not None:
                _log.error("%s", told)
            self._loggers.finish()
            if self._meter is not None:
                self._meter.let_go()  # no teardown follows an error

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take our entry out of the progress bar."""
        if self._loader is not None:
            if self._meter is not None:
                self._meter.let_go()
            self._progress_bar.remove()
            self._loader = None
        self._evaluates = False

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides the next draws, and the history."""
        if self._loaded is not None or self._ledger is None:
            return dict(self._loaded or {})
        return parts_of(self._ledger.teacher, self._ledger.history, self._last_loader, self.signal)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state of a checkpoint until the loader and its tasks are known.

        Of one that is evaluated, only to be looked at: a training that follows does not go on from it. After a trial in
        the middle of a training, such as a search for the learning rate, the curriculum goes on: draws were spent.
        """
        if self._loader is not None:
            self._abandon_step()
            self._loader.discard_lost(step_is_over=True)
        elif self._evaluates:
            self._seen = state_dict or None
        else:
            self._loaded = state_dict or None

    def _progress_bar_items(self) -> dict[str, str]:
        draw = self.current_draw
        if draw is None:
            return {}
        effective = self._loggers.effective_tasks(self.teacher)
        return {"task": shortened(draw.task, 24), "effective_tasks": f"{effective:.1f}"}


def _sample(trainer: pl.Trainer, loader: CurriculumLoader, task: str) -> Any:
    module = trainer.lightning_module
    with untouched(module):
        return prepared(trainer, module, loader.samples.next(task))


def _started(name: str, value: T | None) -> T:
    if value is None:
        raise RuntimeError(
            f"the callback has no {name} before training starts: call trainer.fit() first, with a step to train. One "
            "that several trainers share has none any more when one of them is done: give each a callback of its own. "
            "Of a training in spawned processes that failed, the last checkpoint has it: "
            "curricula.tracking.read_history(path)"
        )
    return value
