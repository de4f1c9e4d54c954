"""When something is written: a bounded number of times, however long the run, and the same after a resume."""

from __future__ import annotations

FULL = 1024
"""Entries written before the first thinning."""

PICTURES = 8
"""Moments per horizon at which pictures are sent."""

GAP = 1000
"""Fewest steps between two moments, so that a short run spends its time on training."""


def entry_due(entry: int) -> bool:
    """Return whether the scalars are written at this turn of the trainer's logging.

    The first 1024 turns all are, half of the next 1024, a quarter of the next 2048, and so on: 512 entries each time
    the run gets twice as long.

    Args:
        entry: number of the turn, from 1.

    Example:
        >>> sum(entry_due(entry) for entry in range(1, 2001)), sum(entry_due(entry) for entry in range(1, 100_001))
        (1512, 4341)
    """
    return entry % (1 << (entry // FULL).bit_length()) == 0


def moment_due(steps: int, horizon: int | None) -> bool:
    """Return whether pictures are sent after this many steps.

    They are at every eighth of the horizon, but not more often than every 1000 steps; beyond the horizon, or without
    one, each time the run got twice as long.

    Args:
        steps: optimiser steps so far, at least 1.
        horizon: expected number of steps, ``None`` when unknown.

    Example:
        >>> [steps for steps in range(1, 70_000) if moment_due(steps, 16_000)]
        [2000, 4000, 6000, 8000, 10000, 12000, 14000, 16000, 32000, 64000]
    """
    gap = max(GAP, -(-(horizon or 0) // PICTURES))
    number, rest = divmod(steps, gap)
    if rest:
        return False
    return steps <= (horizon or 0) or number & (number - 1) == 0
