"""The batches of a step, and the slots of its draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor

from curricula.batches import copied
from curricula.signals.probe import ONE_LOSS_PER_SAMPLE

if TYPE_CHECKING:
    from curricula.signals.moment import Moment
    from curricula.teacher import Draw


class MicroBatch:
    """One batch of a step, with what is needed to run it again.

    Attributes:
        batch: as the training step is given it; a copy, from :meth:`begin` on.
        batch_idx: of the batch in its epoch.
        draws: this rank's draws, one per slot of the batch.
        start: what the training step started from; ``None`` where nothing is run again.
        loss: of the training step.
        losses: of the samples at the old parameters, shape ``(batch,)``; ``None`` where they are not known.
        costs: what the progress of each draw is divided by.
        spent: what each draw has cost, in the unit of the account.
        samples: number of samples of each draw; NaN where unknown.
        no_losses: why :attr:`losses` is ``None``, and what to do.
    """

    __slots__ = ("batch", "batch_idx", "costs", "draws", "loss", "losses", "no_losses", "samples", "spent", "start")

    def __init__(self, batch: Any, batch_idx: int, draws: tuple[Draw, ...]) -> None:
        self.batch = batch
        self.batch_idx = batch_idx
        self.draws = draws
        self.start: Moment | None = None
        self.loss: Tensor | float | None = None
        self.losses: Tensor | None = None
        self.costs = [1.0] * len(draws)
        self.spent = self.samples = [math.nan] * len(draws)
        self.no_losses = f"a batch with samples of several draws needs one loss per sample: {ONE_LOSS_PER_SAMPLE}"

    def begin(self, start: Moment) -> None:
        """Keep what the training step starts from, and the batch before it is taken apart."""
        self.start = start
        self.batch = copied(self.batch)

    def draw_losses(self) -> list[float]:
        """Return the training loss of each draw, the mean over its slot; NaN where it is not known."""
        if len(self.draws) == 1:
            return [math.nan if self.loss is None else float(self.loss)]
        if self.losses is None:
            return [math.nan] * len(self.draws)
        return slot_means(self.losses, len(self.draws))

    def batch_losses(self) -> list[float]:
        """Return the training loss of the whole batch for each draw; NaN where it is not known."""
        return [math.nan if self.loss is None else float(self.loss)] * len(self.draws)


def slot_means(values: Tensor, slots: int) -> list[float]:
    """Return the mean over each of the equal slots of a batch.

    Args:
        values: shape ``(batch,)``.
        slots: number of them, which divides the batch.

    Raises:
        RuntimeError: if it does not.

    Example:
        >>> import torch
        >>> slot_means(torch.tensor([1.0, 3.0, 5.0, 5.0]), 2)
        [2.0, 5.0]
    """
    if len(values) % slots:
        raise RuntimeError(
            f"there are {len(values)} numbers for the samples of a batch with {slots} draws, which do not divide "
            "evenly: give one per sample, in the order of the batch"
        )
    means: list[float] = values.detach().cpu().double().reshape(slots, -1).mean(dim=1).tolist()
    return means


class MicroBatches:
    """The batches of one step so far, and what their draws come to.

    Attributes:
        draws: this rank's draws of the step, in the order of the slots; also those of batches that were left out.
    """

    __slots__ = ("_batches", "_loss", "draws")

    def __init__(self) -> None:
        self.draws: tuple[Draw, ...] = ()
        self._batches: list[MicroBatch] = []
        self._loss: float | None = None

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[MicroBatch]:
        return iter(self._batches)

    @property
    def last(self) -> MicroBatch:
        """The last one."""
        return self._batches[-1]

    def add(self, batch: MicroBatch) -> None:
        """Add a batch, of the draws that the step has or of new ones."""
        self._batches.append(batch)
        if batch.draws != self.draws:
            known = {draw.id for draw in self.draws}
            self.draws += tuple(draw for draw in batch.draws if draw.id not in known)
        self._loss = None

    def leave_out_first(self) -> None:
        """Leave out the first batch, on which nothing was trained, now that there is another one."""
        del self._batches[0]
        self._loss = None

    def leave_out_last(self) -> bool:
        """Leave out the last batch, on which nothing was trained; ``False`` if it is the only one."""
        if len(self._batches) == 1:
            return False
        self._batches.pop()
        self._loss = None
        return True

    def set_loss(self, loss: Tensor | float) -> None:
        """Set the training loss of the last one."""
        self.last.loss = loss
        self._loss = None

    @property
    def has_loss(self) -> bool:
        """Whether the loss of every one is known."""
        return all(batch.loss is not None for batch in self._batches)

    @property
    def loss(self) -> float:
        """The mean of the training losses, NaN if one is not known."""
        if self._loss is None:
            self._loss = mean([math.nan if batch.loss is None else float(batch.loss) for batch in self._batches])
        return self._loss

    @property
    def tells_samples_apart(self) -> bool:
        """Whether the loss of every draw is known, where batches have several."""
        return all(len(batch.draws) == 1 or batch.losses is not None for batch in self._batches)

    def of_draws(self, values: Callable[[MicroBatch], list[float]], unknown: float = math.nan) -> list[float]:
        """Return a number for each draw: the mean over its batches.

        Args:
            values: from a batch to the numbers of its draws.
            unknown: the number of a draw whose batches were all left out.
        """
        found: dict[int, list[float]] = {draw.id: [] for draw in self.draws}
        for batch in self._batches:
            for draw, value in zip(batch.draws, values(batch), strict=True):
                found[draw.id].append(value)
        return [mean(several) if several else unknown for several in found.values()]

    def sums(self, values: Callable[[MicroBatch], list[float]]) -> list[float]:
        """Return a number for each draw: the sum over its batches.

        Args:
            values: from a batch to the numbers of its draws.
        """
        found = dict.fromkeys((draw.id for draw in self.draws), 0.0)
        for batch in self._batches:
            for draw, value in zip(batch.draws, values(batch), strict=True):
                found[draw.id] += value
        return list(found.values())

    def clear(self) -> None:
        """Let go of the batches; the loss stays."""
        self._loss = self.loss
        self._batches.clear()


def mean(values: list[float]) -> float:
    """Return the mean of one number or more."""
    return values[0] if len(values) == 1 else sum(values) / len(values)
