"""The meter: measures what every optimiser step taught, from the hooks of the trainer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.optim import Optimizer

from curricula.account import Account
from curricula.agreement import Outcome
from curricula.manual_steps import ManualSteps, watch_by_hand
from curricula.measures import losses_of, progress_of, take_losses
from curricula.signals.base import Signal
from curricula.signals.kept_gradients import gradients_stay, overrides
from curricula.signals.micro_batch import MicroBatch
from curricula.signals.probe import Probe, as_loss
from curricula.signals.step import Step
from curricula.trainers import clips_gradients, unscales_itself

if TYPE_CHECKING:
    from curricula.teacher import Draw


class Meter:
    """Follows the batches and optimiser steps of a training, and says what the draws of a step came to.

    Args:
        trainer: of either Lightning package.
        module: in training.
        signal: what counts as progress.
        account: what a batch costs.
        batch_size: samples of a batch; ``None`` if unknown.
        owner: the callback whose hooks call this.
        clock: runs while the signal measures.
        manual: under manual optimisation, whose gradients are whose; ``None`` under automatic optimisation.
    """

    def __init__(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        signal: Signal,
        account: Account,
        batch_size: int | None,
        *,
        owner: pl.Callback,
        clock: AbstractContextManager[Any],
        manual: ManualSteps | None,
    ) -> None:
        self._trainer = trainer
        self._module = module
        self._signal = signal
        self._account = account
        self._batch_size = batch_size
        self._owner = owner
        self._clock = clock
        self._manual = manual
        self.probe = Probe(module, trainer.precision_plugin.train_step_context, trainer)
        self.clips = clips_gradients(trainer, module)
        self.nothing_trained = False
        """Whether ``training_step`` returned nothing for a batch of the step in hand."""
        self._amp = getattr(trainer.precision_plugin, "scaler", None)
        self._scale = 1.0
        self._only_optimizer = trainer.optimizers[0] if len(trainer.optimizers) == 1 else None
        self._stay: dict[tuple[int, int], bool] = {}
        self._step: Step | None = None
        self._stepped = False  # since the batch began
        self._any_step = False  # since the draw began
        self._stepping_at: int | None = None
        self._announced: Optimizer | None = None  # by the trainer, of a step that is not yet over
        self._repeated = False
        self._first_loss: Tensor | None = None
        self._no_loss: str | None = None
        # A module that clears its gradients itself may step on those of another draw under automatic optimisation too.
        clears = manual is None and overrides(module, "optimizer_zero_grad")
        self._watch = ManualSteps(trainer.optimizers, None, planned_ahead=False, automatic=True) if clears else None
        self._taken_over = ExitStack()
        if manual is not None:
            self._taken_over = watch_by_hand(trainer, clips=self._keep_unclipped, steps=self.after_step)

    def let_go(self) -> None:
        """Take back what was put into trainer and module for the time of the training."""
        self.probe.let_go()
        self._signal.let_go()
        self._taken_over.close()

    @property
    def goes_on(self) -> bool:
        """Whether the next batch must be of the same draw, since gradients of it are left."""
        return self._manual is not None and self._manual.goes_on

    def start(self, step: Step) -> None:
        """Begin with a step."""
        self._step = step
        self._stepped = self._any_step = self._repeated = self.nothing_trained = False
        if self._only_optimizer is not None:
            step.set_optimizer(self._only_optimizer)

    def start_batch(self, batch: Any, batch_idx: int, draws: tuple[Draw, ...], samples: int | None) -> None:
        """Keep what is needed to measure the batch later.

        Args:
            batch: as the training step is given it.
            batch_idx: of the batch in its epoch.
            draws: this rank's, one per slot.
            samples: of the batch on this rank; ``None`` where the batch alone can tell.
        """
        step, signal = self._in_hand(), self._signal
        if self._manual is not None:
            self._stepped = False
            self._manual.start_batch(new_draw=step.num_micro_batches == 0)
        if self._watch is not None:
            self._watch.start_batch(new_draw=step.num_micro_batches == 0)
        micro = MicroBatch(batch, batch_idx, draws)
        self._account.enter(micro, self._batch_size, samples)
        step.add(micro)
        if step.several:
            step.loss_scale = (1.0 if self._amp is None else self._amp.get_scale()) / step.accumulation
        signal.before_batch(step)
        if signal.needs_probe:
            with self._clock:
                self.probe.keep_start(micro)
        if signal.needs_loss and self.probe.is_custom:
            with self._clock:
                if len(draws) > 1:
                    micro.losses = self.probe.losses(batch, batch_idx, micro.start, self._batch_size)
                    micro.loss = micro.losses.mean()
                else:
                    micro.loss = self.probe.loss(batch, batch_idx, micro.start)

    def before_backward(self, loss: Tensor) -> None:
        """Keep the loss at the old parameters, where the optimiser may compute others at other parameters."""
        if self._step is None:
            return
        if self._watch is not None:
            self._watch.before_backward()
        if self._manual is not None:
            self._step.forget_unclipped()
            self._manual.before_backward()
        elif not self._stepped:
            self._first_loss = loss.detach()

    def after_backward(self) -> None:
        """Let a signal that compares micro-batches measure with the gradients so far."""
        if self._step is None or not self._signal.needs_micro_batches:
            return
        if self._amp is not None:
            self._step.set_gradient_scale(self._amp.get_scale())
        self._signal.after_backward(self._step)

    def before_step(self, optimizer: Optimizer) -> None:
        """Let the signal measure with the gradients and the old parameters."""
        step, self._announced = self._step, optimizer
        if step is None:
            return
        if self._stepped and (self._manual is None or self._trainer.global_step == self._stepping_at):
            self._repeated = True  # the optimiser runs its closure again (LBFGS, SAM), at other parameters
            return
        self._stepped, self._any_step, self._repeated = True, True, False
        if self._watch is not None:
            self._watch.before_step(optimizer, step.described())
        if self._manual is not None:
            self._manual.before_step(optimizer, step.described())
            self._stepping_at = self._trainer.global_step
        step.set_optimizer(optimizer, gradients_stay=self._gradients_stay(optimizer))
        if self._amp is not None:
            self._scale = self._amp.get_scale()
            step.set_gradient_scale(self._scale if unscales_itself(optimizer) else 1.0)
        with self._clock:
            self._signal.before_step(step)
        if self._manual is not None:
            step.forget_unclipped()

    def _keep_unclipped(self, optimizer: Optimizer) -> None:
        if self._step is not None and self._signal.needs_gradients:
            self._step.keep_unclipped(optimizer)

    def after_step(self, optimizer: Optimizer) -> None:
        """See to it that no optimiser step is made behind the trainer's back.

        Raises:
            MisconfigurationException: how to make it.
        """
        if self._announced is not optimizer:
            raise MisconfigurationException(
                f"{type(self._module).__name__} steps {type(optimizer).__name__} past the trainer, so that nobody can "
                "tell which steps are made: step what self.optimizers() returns, without use_pl_optimizer=False and "
                "without .optimizer"
            )
        self._announced = None

    def _gradients_stay(self, optimizer: Optimizer) -> bool:
        if self.clips:
            return False
        key = id(optimizer), len(optimizer.param_groups)
        if key not in self._stay:
            self._stay[key] = gradients_stay(self._trainer, self._module, optimizer, self._owner)
        return self._stay[key]

    def end_batch(self, outputs: Any) -> bool:
        """Take the loss of a batch that is over, and return whether its draw is.

        Args:
            outputs: of the training step.
        """
        step = self._in_hand()
        step.outputs = outputs
        self._signal.after_batch(step)
        step.outputs = None
        if not (self.probe.is_custom and self._signal.needs_loss):
            self._take_loss(step, outputs)
        if self._manual is None:
            return self._stepped  # else gradients are still being accumulated
        return self._manual.end_batch(step.described(), last_of_epoch=self._trainer.is_last_batch)

    def _take_loss(self, step: Step, outputs: Any) -> None:
        batches, repeated = step.micro_batches, self._repeated and self._stepped and self._manual is None
        take_losses(batches.last, outputs, self._batch_size, repeated=repeated)
        if repeated:
            outputs = self._first_loss
        try:
            loss = as_loss(outputs, "training_step")
        except RuntimeError as error:
            returned = not (outputs is None or outputs == {})  # Lightning hands over {} for None
            self._no_loss = str(error) if returned and self._signal.needs_loss else None
            if self._manual is None and (returned or not batches.leave_out_last()):
                batches.set_loss(math.nan)
                self.nothing_trained = not returned
        else:
            if self.nothing_trained:  # of the micro-batch before, which is the only other one
                batches.leave_out_first()
                self.nothing_trained = False
            # Lightning hands over the loss divided for the accumulation of gradients.
            parts = self._trainer.accumulate_grad_batches
            batches.set_loss(loss if parts == 1 else loss * parts)

    def measure(self, *, always: bool) -> list[Outcome]:
        """Return what each of this rank's draws of the step in hand came to, once it is over.

        Args:
            always: let the signal measure also where its progress will not count, since other ranks may wait for it.
        """
        step = self._in_hand()
        # Where gradients overflowed (automatic mixed precision), the optimiser step was skipped.
        stepped = self._any_step and (self._amp is None or self._amp.get_scale() >= self._scale)
        losses, decisive = losses_of(step)
        matters = self._signal.needs_loss or step.micro_batches.has_loss
        known = [stepped and (not matters or math.isfinite(loss)) for loss in decisive]
        progress: Sequence[float | None] = [math.nan] * len(known)
        if any(known) or (always and self._any_step):
            with self._clock:
                progress = progress_of(step, self._signal)
        self._stepped = False
        batches = step.micro_batches
        costs = batches.of_draws(lambda micro: micro.costs, unknown=1.0)
        spent = batches.sums(lambda micro: micro.spent)
        samples = spent if self._account.cost is None else batches.sums(lambda micro: micro.samples)
        return [
            Outcome(each if is_known else math.nan, cost, loss, stepped, *account)
            for each, is_known, cost, loss, *account in zip(progress, known, costs, losses, spent, samples, strict=True)
        ]

    def check_loss(self) -> None:
        """Refuse a training step that returns something, but no loss, to a signal that needs one.

        Raises:
            MisconfigurationException: what was returned, and what to do.
        """
        if self._no_loss is not None:
            raise MisconfigurationException(self._no_loss)

    def _in_hand(self) -> Step:
        if self._step is None:
            raise RuntimeError("no draw is in hand: call start() first")
        return self._step
