"""Which losses the draws of a step had, and what they taught: the numbers that a meter asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curricula.agreement import Outcome
from curricula.checks import as_number
from curricula.signals.base import Signal
from curricula.signals.micro_batch import MicroBatch
from curricula.signals.probe import as_losses
from curricula.signals.step import Step

if TYPE_CHECKING:
    from curricula.teacher import Draw

_OF_THE_LAST_TIME = (
    "the optimiser evaluates a batch with samples of several draws several times in a step, and only the losses of the "
    "last time are known: define `curriculum_loss(self, batch, batch_idx)` in the module, which returns one loss per "
    "sample, a tensor of shape (batch,)"
)


def take_losses(micro: MicroBatch, outputs: Any, batch_size: int | None, *, repeated: bool) -> None:
    """Keep the losses of the samples, if the training step has returned some and the batch has several draws.

    Args:
        micro: the batch.
        outputs: of the training step.
        batch_size: samples of the batch; ``None`` if unknown.
        repeated: whether the optimiser has evaluated the batch several times, at other parameters.

    Raises:
        RuntimeError: if they are not one per sample.
    """
    if len(micro.draws) == 1 or not (isinstance(outputs, Mapping) and "losses" in outputs):
        return
    if repeated:
        micro.no_losses = _OF_THE_LAST_TIME
    else:
        micro.losses = as_losses(outputs, "training_step", batch_size)


def losses_of(step: Step) -> tuple[list[float], list[float]]:
    """Return the loss of each draw, NaN where only that of its batch is known, and the one that must be finite."""
    batches = step.micro_batches
    if len(step.draws) == 1:
        return [step.loss], [step.loss]
    losses = batches.of_draws(MicroBatch.draw_losses)
    return losses, losses if batches.tells_samples_apart else batches.of_draws(MicroBatch.batch_losses)


def progress_of(step: Step, signal: Signal) -> list[float | None]:
    """Return the progress of each draw of a step that was made.

    Raises:
        TypeError: if the signal returns something else than numbers and ``None``.
        ValueError: if it returns another number of them than there are draws.
    """
    number = len(step.draws)
    found = [signal.after_step(step)] if number == 1 else list(signal.after_step_per_draw(step))
    if len(found) != number:
        raise ValueError(
            f"{type(signal).__name__}.after_step_per_draw() must return one progress for each of the step's {number} "
            f"draws, got {len(found)}"
        )
    what = f"after_step{'' if number == 1 else '_per_draw'}() of the signal"
    return [None if progress is None else as_number(what, progress) for progress in found]


def compared(signal: Signal, draws: Sequence[Draw], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes of a step with what the signal makes of each value, given the values before.

    Args:
        signal: what counts as progress.
        draws: of all ranks.
        outcomes: of the draws, agreed on by all ranks.

    Raises:
        TypeError: if the signal returns something else than numbers and ``None``.
    """
    found = []
    for draw, outcome in zip(draws, outcomes, strict=True):
        progress = outcome.progress
        if progress is not None and math.isfinite(progress):
            progress = signal.compare(draw.task, progress)
            progress = None if progress is None else as_number("compare() of the signal", progress)
        found.append(outcome._replace(progress=progress))
    return found
