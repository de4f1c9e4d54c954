"""When something is written: a bounded number of times, however long the run, and the same after a resume."""

from __future__ import annotations

FULL = 256
"""Entries written before the first thinning."""

PICTURES = 4
"""Moments per horizon at which pictures are sent."""

GAP = 1000
"""Fewest steps between two moments, so that a short run spends its time on training."""


def entry_due(entry: int) -> bool:
    """Return whether the scalars are written at this turn of the trainer's logging.

    The first 256 turns all are, half of the next 256, a quarter of the next 512, and so on: 128 entries each time the
    run gets twice as long.

    Args:
        entry: number of the turn, from 1.

    Example:
        >>> sum(entry_due(entry) for entry in range(1, 2001)), sum(entry_due(entry) for entry in range(1, 100_001))
        (634, 1347)
    """
    return entry % (1 << (entry // FULL).bit_length()) == 0


def moment_due(steps: int, horizon: int | None) -> bool:
    """Return whether pictures are sent after this many steps, in the middle of a run.

    They are at every quarter of the horizon, but not more often than every 1000 steps; beyond the horizon, or without
    one, each time the run got twice as long. The end of a run is told otherwise.

    Args:
        steps: optimiser steps so far, at least 1.
        horizon: expected number of steps, ``None`` when unknown.

    Example:
        >>> [steps for steps in range(1, 100_000) if moment_due(steps, 16_000)]
        [4000, 8000, 12000, 32000, 64000]
    """
    gap = max(GAP, -(-(horizon or 0) // PICTURES))
    number, rest = divmod(steps, gap)
    if rest or steps == horizon:
        return False
    return steps < (horizon or 0) or number & (number - 1) == 0
