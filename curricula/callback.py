"""CurriculumCallback: carries draws, learning progress and rewards between the trainer, the loader and the teacher."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import Dataset

from curricula.account import Account
from curricula.bandits.base import Bandit
from curricula.callback_state import CurriculumState
from curricula.checks import check_flags
from curricula.curriculum import Curriculum
from curricula.data.options import Cost, check_whole
from curricula.data.tasks import Task
from curricula.guard import Guard
from curricula.mixture import Mixture
from curricula.rewards import RewardScaler
from curricula.setups import check_setup
from curricula.signals.base import Signal
from curricula.signals.first_order_prediction_gain import FirstOrderPredictionGain
from curricula.steps import Steps
from curricula.teacher import check_instance

_log = logging.getLogger(__name__)


class CurriculumCallback(CurriculumState):
    """Chooses the task of every optimiser step by a bandit that learns from learning progress.

    Put it into the trainer's callbacks and train on a :class:`~curricula.CurriculumLoader`. The model stays as it is;
    what it logs, its random numbers, buffers and checkpoints are as they would be without the callback. Works in
    trainers of ``pytorch_lightning`` and of ``lightning.pytorch``.

    Args:
        bandit: chooses the tasks; default :class:`~curricula.bandits.Exp3S`, with rates that fit the run.
        signal: what counts as progress; default :class:`~curricula.signals.FirstOrderPredictionGain`.
        scaler: progress rate to reward in ``[-1, 1]``; default :class:`~curricula.rewards.QuantileScaler`.
        cost: from the batch of a step to its cost, a finite number ``> 0``, such as its tokens; progress is divided by
            it (by the mean over the micro-batches under accumulation), and :attr:`history` sums it up. Where a batch
            has several draws it may return one number per sample, shape ``(batch,)``. ``None``: progress is divided by
            1, right for losses that are means over the batch and the sequence, and samples are summed up.
        unit: what ``cost`` counts, in the plural, for charts and tables: ``"tokens"``.
        per_cost: divide progress by ``cost``. ``False``: only sum it up; it may then be 0.
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
        guard: gives tasks whose held-out metrics become worse at least their prior share, see
            :class:`~curricula.Guard`.
        mixture: what the user wants of the shares of the tasks: a prior to start from, floors, caps, most passes, and
            how far the bandit may leave the prior. ``None``: the bandit's policy as it is.

    Raises:
        TypeError: if an argument is of another kind; a class in place of an instance is told apart.
        MisconfigurationException: when training starts, if the trainer has no ``CurriculumLoader``, ``target`` names
            no task, the signal needs something that the module or the callback does not have, or it cannot tell the
            several draws of a step apart.

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
        unit: str | None = None,
        per_cost: bool = True,
        target: str | Task | None = None,
        seed: int = 0,
        log_figures: bool = True,
        strict: bool = True,
        independent_ranks: bool = False,
        batches_per_draw: int | None = None,
        horizon: int | None = None,
        guard: Guard | None = None,
        mixture: Mixture | None = None,
    ) -> None:
        self.signal = check_instance("signal", FirstOrderPredictionGain() if signal is None else signal, Signal)
        self._account = Account(cost, unit, per_cost)
        if target is not None and not isinstance(target, (str, Iterable, Dataset)):
            raise TypeError(f"target must be the name of a task, or held-out data, got {target!r}")
        check_flags(log_figures=log_figures, strict=strict, independent_ranks=independent_ranks)
        check_whole("batches_per_draw", batches_per_draw, 1)
        check_whole("horizon", horizon, 1)
        if bandit is not None:
            check_instance("bandit", bandit, Bandit)
        if guard is not None:
            check_instance("guard", guard, Guard)
        if mixture is not None:
            check_instance("mixture", mixture, Mixture)
        self._curriculum = Curriculum(
            self.signal,
            bandit=bandit,
            scaler=scaler,
            seed=seed,
            target=target,
            strict=strict,
            independent=independent_ranks,
            batches_per_draw=batches_per_draw,
            horizon=horizon,
            guard=guard,
            mixture=mixture,
            unit=self._account.counted_in,
        )
        self._log_figures = log_figures
        self._evaluates = False
        self._steps: Steps | None = None  # from the start of a training on

    # ---------------------------------------------------------------- start

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse a second callback, and a signal whose needs are not met."""
        self.teardown(trainer, pl_module, stage)  # which an error in the training before has left out
        self._evaluates = stage != "fit"
        if self._evaluates:
            return
        curriculum = self._curriculum
        curriculum.prepare()
        check_setup(
            trainer,
            pl_module,
            self.signal,
            kind=type(self).__name__,
            target=curriculum.target_name,
            batches_per_draw=curriculum.batches_per_draw,
            independent=curriculum.independent,
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the loader, make the teacher (or go on with the one of a checkpoint), and connect them."""
        curriculum = self._curriculum
        curriculum.start(trainer, goes_on=self._goes_on)
        self._steps = Steps(
            trainer,
            pl_module,
            curriculum,
            self.signal,
            self._account,
            owner=self,
            figures=self._log_figures,
        )

    def _goes_on(self) -> bool:
        return self._steps is not None and self._steps.meter.goes_on

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Follow the trainer to a new loader, where it reloads them."""
        self._curriculum.follow(trainer)

    # ---------------------------------------------------------------- one step

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Learn which draw the batch belongs to, and keep what the signal needs to measure it later."""
        self._running.start_batch(batch, batch_idx)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Keep the loss at the old parameters, and see which gradients are the draw's alone."""
        if self._steps is not None:
            self._steps.meter.before_backward(loss)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let a signal that compares micro-batches measure with the gradients so far."""
        if self._steps is not None:
            self._steps.meter.after_backward()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Let the signal measure with the gradients and the old parameters."""
        if self._steps is not None:
            self._steps.meter.before_step(optimizer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure the progress of a finished step and reward its draw."""
        if self._steps is not None:
            self._steps.end_batch(outputs)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let signal and guard learn from what a validation in the course of the training has logged."""
        self._curriculum.validated(trainer)

    # ---------------------------------------------------------------- end and state

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Send what shows the whole run."""
        self._running.finish()
        self._curriculum.end(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Send what shows a run that was interrupted."""
        if self._curriculum.in_training:
            told = self._curriculum.loader.explain(exception)
            if told is not None:
                _log.error("%s", told)
            if self._steps is not None:
                self._steps.finish()
                self._steps.meter.let_go()  # no teardown follows an error

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take our entry out of the progress bar."""
        if self._curriculum.in_training:
            if self._steps is not None:
                self._steps.let_go()
            self._curriculum.let_go()
        self._evaluates = False
