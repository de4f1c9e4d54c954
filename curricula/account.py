"""The account of a training: what its batches cost, in which unit, and whether progress is divided by that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from curricula.batches import samples_in
from curricula.checks import as_number, check_flags
from curricula.data.options import Cost
from curricula.signals.micro_batch import MicroBatch, slot_means


@dataclass(frozen=True)
class Account:
    """What is counted.

    Args:
        cost: from a batch to one number, or with several slots to one per sample; ``None``: samples are counted, and
            progress is divided by 1.
        unit: of the cost, in the plural.
        per_cost: divide progress by the cost.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if there is a unit and no cost.
    """

    cost: Cost | None = None
    unit: str | None = None
    per_cost: bool = True

    def __post_init__(self) -> None:
        if self.cost is not None and not callable(self.cost):
            raise TypeError(f"cost must be a function from a batch to a number, got {self.cost!r}")
        if self.unit is not None and not (isinstance(self.unit, str) and self.unit.strip()):
            raise TypeError(f'unit must be a word such as "tokens", got {self.unit!r}')
        if self.unit is not None and self.cost is None:
            raise ValueError(
                f"unit={self.unit!r} names what cost counts, and without cost samples are counted: give "
                "cost=<function from a batch to its number of them>, or leave unit out"
            )
        check_flags(per_cost=self.per_cost)

    @property
    def counted_in(self) -> str:
        """The unit of the account."""
        return self.unit or ("samples" if self.cost is None else "cost")

    def enter(self, micro: MicroBatch, batch_size: int | None, samples: int | None) -> None:
        """Write what a batch costs into it.

        Args:
            micro: the batch, of equal slots.
            batch_size: samples of the batch, for a cost per sample; ``None`` if unknown.
            samples: number of samples of the batch; ``None``: as many as the first dimension of its tensors, where that
                is one number.

        Raises:
            TypeError: if the cost is no number.
            ValueError: if it is out of range, or of another number of samples.
        """
        slots = len(micro.draws)
        if samples is None:
            samples = samples_in(micro.batch)
        micro.samples = [math.nan if samples is None else samples / slots] * slots
        if self.cost is None:
            micro.spent = micro.samples
            return
        costs, micro.spent = _costs_of(self.cost, micro.batch, slots, batch_size)
        for draw, spent in zip(micro.draws, micro.spent, strict=True):
            if not (spent >= 0 and math.isfinite(spent)):
                least = "> 0" if self.per_cost else ">= 0"
                raise ValueError(f"the cost of a step must be finite and {least}, got {spent} for task {draw.task!r}")
        if self.per_cost:
            micro.costs = costs


def _costs_of(cost: Cost, batch: Any, slots: int, batch_size: int | None) -> tuple[list[float], list[float]]:
    """Return for each slot what its progress is divided by, and what it has cost."""
    found: Any = cost(batch)
    if slots == 1 or not isinstance(found, Tensor) or found.ndim != 1:
        number = as_number("cost(batch)", found)
        return [number] * slots, [number / slots] * slots
    if batch_size is not None and len(found) != batch_size:
        raise ValueError(
            f"cost(batch) must be one number, or one per sample, shape ({batch_size},), got shape ({len(found)},)"
        )
    means = slot_means(found, slots)
    sums: list[float] = found.detach().cpu().double().reshape(slots, -1).sum(dim=1).tolist()
    return means, sums
