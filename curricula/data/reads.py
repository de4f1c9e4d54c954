"""What a plan asks to be read: one batch of one task, or a batch whose slots are of several tasks."""

from __future__ import annotations

from typing import NamedTuple


class Read(NamedTuple):
    """One batch of one task to read."""

    arm: int
    indices: list[int] | None
    """Samples of a map-style task; ``None`` for the next batch of a streamed one."""
    seed: int | None = None
    """Of the random numbers that the task draws in a worker process."""


class MixedRead(NamedTuple):
    """One batch to read whose slots are of several tasks."""

    slots: list[Read]
    """One per draw, in the order of the draws."""
    number: int = 0
    """Unlike that of any other read of the loader."""
    seed: int | None = None
    """Of the random numbers that the tasks draw in a worker process."""


class Share:
    """The part of one process in a step.

    Args:
        rank: of this process among those that share draws, in ``[0, world_size)``.
        world_size: number of processes that share draws, and the samples of each of them.
        place: of this process among those that have draws of their own, in ``[0, places)``.
        places: number of processes that have draws of their own; 1 where all share them.
    """

    def __init__(self, rank: int = 0, world_size: int = 1, place: int = 0, places: int = 1) -> None:
        self.rank = rank
        self.world_size = world_size
        self.place = place
        self.places = places

    @property
    def processes(self) -> int:
        """Number of all processes."""
        return self.world_size * self.places

    @property
    def is_first(self) -> bool:
        """Whether this is the one process that speaks for all."""
        return self.rank == self.place == 0
