"""Tallies: what is counted for each task of a run, exactly and however long the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

_FLOATS = {"first_losses": math.nan, "last_losses": math.nan, "costs": 0.0, "samples": 0.0, "sizes": math.nan}
"""Lists of float with one entry per task, and the entry of a new task."""

_FIRST = ("first_losses", "last_losses")
"""What the first states had."""


class Tallies:
    """Counts and sums, one entry per task, in the order of the arms.

    Args:
        num_tasks: at least 1.

    Attributes:
        draws: number of draws.
        first_losses: training loss at the first draw, NaN where there was none.
        last_losses: training loss at the last draw, NaN where there was none.
        costs: sum of the costs, NaN if one of them is unknown.
        samples: number of samples read, NaN if that of a draw is unknown.
        sizes: number of samples that the task has, NaN if unknown.

    Example:
        >>> tallies = Tallies(2)
        >>> tallies.count(1, loss=0.7)
        >>> tallies.spend(1, cost=512.0, samples=4.0)
        512.0
        >>> tallies.draws, tallies.costs, tallies.samples
        ([0, 1], [0.0, 512.0], [0.0, 4.0])
    """

    __slots__ = ("costs", "draws", "first_losses", "last_losses", "samples", "sizes")

    def __init__(self, num_tasks: int) -> None:
        self.draws = [0] * num_tasks
        self.first_losses = [math.nan] * num_tasks
        self.last_losses = [math.nan] * num_tasks
        self.costs = [0.0] * num_tasks
        self.samples = [0.0] * num_tasks
        self.sizes = [math.nan] * num_tasks

    def count(self, arm: int, loss: float) -> None:
        """Count a draw."""
        if not self.draws[arm]:
            self.first_losses[arm] = loss
        self.draws[arm] += 1
        self.last_losses[arm] = loss

    def spend(self, arm: int, cost: float, samples: float) -> float:
        """Add what a draw cost, and return the sum of its task."""
        spent = self.costs[arm] = self.costs[arm] + cost
        self.samples[arm] += samples
        return spent

    def carry(self, arms: Sequence[int | None]) -> None:
        """Go on with other tasks.

        Args:
            arms: of each task before, ``None`` for a new one.
        """
        self.draws = [0 if arm is None else self.draws[arm] for arm in arms]
        for name, new in _FLOATS.items():
            values = getattr(self, name)
            setattr(self, name, [new if arm is None else values[arm] for arm in arms])

    def forget_costs(self) -> None:
        """Let the costs be unknown: they were in another unit."""
        self.costs = [math.nan] * len(self.draws)

    def is_of(self, num_tasks: int) -> bool:
        """Tell whether there is an entry for each of so many tasks."""
        return {len(getattr(self, name)) for name in self.__slots__} == {num_tasks}

    def state(self) -> dict[str, Any]:
        """Return plain lists and tensors."""
        floats = {name: torch.tensor(getattr(self, name), dtype=torch.float64) for name in _FLOATS}
        return {"draws": list(self.draws), **floats}

    def load(self, content: Mapping[str, Any]) -> None:
        """Continue with what :meth:`state` returned; in states of before there were accounts these are unknown."""
        self.draws = list(content["draws"])
        unknown = [math.nan] * len(self.draws)
        for name in _FLOATS:
            values = content[name] if name in _FIRST else content.get(name, unknown)
            setattr(self, name, [float(value) for value in values])
