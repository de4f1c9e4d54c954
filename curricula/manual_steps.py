"""Which draw a gradient is of, where a module makes its optimiser steps itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.optim import Optimizer

_log = logging.getLogger(__name__)


_BY_HAND = (
    "Where training_step accumulates over N batches, or steps its optimisers at different times, give "
    "CurriculumCallback(batches_per_draw=N) with the N after which all of them have stepped; where gradients are left "
    "over from an earlier step, call zero_grad()"
)
_AUTOMATIC = (
    "Where optimizer_step and optimizer_zero_grad accumulate over N batches, give Trainer(accumulate_grad_batches=N) "
    "instead, or optimise manually with CurriculumCallback(batches_per_draw=N)"
)
_IDLE = 100
"""Batches without an optimiser step after which it is said."""


class ManualSteps:
    """Watches over manual optimisation, so that no reward is for gradients of another draw's batches.

    A draw is over when the module has made an optimiser step on its last batch. Without ``batches_per_draw`` it has as
    many batches as it takes to the next optimiser step; with it, so many.

    Args:
        optimizers: of the trainer.
        batches_per_draw: option of the callback.
        planned_ahead: whether worker processes read ahead, so that the number of batches must be known beforehand.
        automatic: whether it is a module that optimises automatically and clears its gradients itself.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        batches_per_draw: int | None,
        *,
        planned_ahead: bool,
        automatic: bool = False,
    ) -> None:
        self._way_out = _AUTOMATIC if automatic else _BY_HAND
        self._optimizers = list(optimizers)
        self._batches_per_draw = batches_per_draw
        self._planned_ahead = planned_ahead
        self._clean: set[int] = set()
        self._batches = 0
        self._backward = False  # since the draw began, by way of `manual_backward`
        self._backward_now = False  # since the batch began
        self._stepped = False
        self._idle = 0
        self._before: list[tuple[int, int]] = []
        self.goes_on = False
        """Whether the next batch is to be of the same draw."""

    def start_batch(self, *, new_draw: bool) -> None:
        """Note that a batch begins, which may be the first of a draw."""
        self._before = self._marks()
        self._stepped = self._backward_now = False
        if new_draw:
            self._clean.clear()
            self._batches = 0
            self._backward = False
            self._find_clean()

    def before_backward(self) -> None:
        """Look which optimisers have no gradients from before: those that come are the draw's alone."""
        self._backward = self._backward_now = True
        self._find_clean()

    def _find_clean(self) -> None:
        for place, optimizer in enumerate(self._optimizers):
            if place not in self._clean and not has_gradients(optimizer):
                self._clean.add(place)

    def before_step(self, optimizer: Optimizer, tasks: str) -> None:
        """Refuse a step on gradients that were begun before the draw.

        Args:
            optimizer: that is about to step.
            tasks: of the draw, for the message.

        Raises:
            MisconfigurationException: how many batches a draw should have.
        """
        self._stepped = True
        place = next((place for place, other in enumerate(self._optimizers) if other is optimizer), None)
        if place is None or place in self._clean or not self._backward:  # without `manual_backward` nothing is known
            return
        raise MisconfigurationException(
            f"the optimiser {type(optimizer).__name__} (number {place} of the module) makes a step on gradients that "
            f"were begun before the batches of {tasks}, so that a reward would be for other tasks as well. "
            f"{self._way_out}"
        )

    def end_batch(self, tasks: str, *, last_of_epoch: bool) -> bool:
        """Note that a batch is over, and return whether its draw is.

        Raises:
            MisconfigurationException: if gradients are left that the next draw would step on.
        """
        self._batches += 1
        number = self._batches_per_draw
        self._idle = 0 if self._stepped else self._idle + 1
        if self._idle == _IDLE:
            _log.warning(
                "in %d batches training_step made no optimiser step that the trainer knows of, so that nothing was "
                "rewarded: step what self.optimizers() returns, and not an optimiser of the module's own",
                self._idle,
            )
        left = not self._stepped and self._added()
        if number is None:
            self.goes_on = not self._planned_ahead and (left or (self.goes_on and not self._stepped))
            if left and self._planned_ahead and not self._backward_now:  # else the step that uses them is refused
                raise MisconfigurationException(
                    f"training_step made no optimiser step on a batch of {tasks} and keeps its gradients for a "
                    "later one. Worker processes read ahead, so that the number of batches between two steps must be "
                    "known: give CurriculumCallback(batches_per_draw=<number>), or the loader num_workers=0"
                )
            return not self.goes_on
        over = self._batches >= number or last_of_epoch
        if over and left and not self._backward_now:  # else the step that uses them is refused
            raise MisconfigurationException(
                f"after {self._batches} batches of {tasks} (batches_per_draw={number}"
                f"{', at the end of an epoch' if self._batches < number else ''}) training_step keeps gradients, which "
                "the next draw would step on: give batches_per_draw as a multiple of the number of batches between "
                "two optimiser steps, and make a step at the end of an epoch (`self.trainer.is_last_batch`) or make "
                "its length such a multiple too"
            )
        return over

    def _added(self) -> bool:
        """Tell whether a backward pass has added to gradients in this batch, whoever called it."""
        marks = self._marks()
        if marks == self._before or not any(gradient for gradient, _ in marks):
            return False
        return self._backward_now or any(map(has_gradients, self._optimizers))  # of zeros: they were cleared

    def _marks(self) -> list[tuple[int, int]]:
        """Return what changes whenever something is added to a gradient."""
        found = [p.grad for optimizer in self._optimizers for p in _parameters(optimizer)]
        return [(0, 0) if gradient is None else (id(gradient), gradient._version) for gradient in found]


def watch_by_hand(
    trainer: pl.Trainer, clips: Callable[[Optimizer], None], steps: Callable[[Optimizer], None]
) -> ExitStack:
    """Learn of what a module does by hand with its optimisers.

    Args:
        trainer: in training.
        clips: told of an optimiser whose gradients are about to be clipped.
        steps: told of an optimiser that has made a step.

    Returns:
        Ends it when closed.
    """
    plugin, undo = trainer.precision_plugin, ExitStack()
    clip = plugin.clip_gradients

    def keep_and_clip(*arguments: Any, **options: Any) -> Any:
        for found in (*arguments, *options.values()):
            if isinstance(found, Optimizer):
                clips(found)
        return clip(*arguments, **options)

    vars(plugin)["clip_gradients"] = keep_and_clip
    undo.callback(vars(plugin).pop, "clip_gradients", None)
    for optimizer in trainer.optimizers:
        undo.callback(optimizer.register_step_post_hook(lambda stepped, *_: steps(stepped)).remove)
    return undo


def has_gradients(optimizer: Optimizer) -> bool:
    """Tell whether any parameter of the optimiser has a gradient other than 0."""
    gradients = [parameter.grad for parameter in _parameters(optimizer) if parameter.grad is not None]
    return any(bool((gradient.coalesce().values() if gradient.is_sparse else gradient).any()) for gradient in gradients)


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
