"""How long the tasks take to be read: told once where one is far slower than the others. Decides nothing."""

from __future__ import annotations

import logging
import math
from statistics import median

_log = logging.getLogger(__name__)

SLOWER = 100
"""Times the median of the others from which on a task is told of."""

LEAST = 0.05
"""Seconds per batch below which no task is told of."""

FIRST_LOOK = 64
"""Batches read before the first comparison; each further one is after twice as many."""


class ReadTimes:
    """Adds up the seconds that the batches of every task took.

    Each task's longest time is left out of its mean, so that a pause of the machine or a file that is opened for the
    first time makes no task slow.

    Args:
        num_tasks: at least 1.

    Example:
        >>> times = ReadTimes(2)
        >>> for seconds in (0.1, 0.3, 9.0):
        ...     times.add(0, seconds)
        >>> [round(mean, 3) for mean in times.means()]
        [0.2, nan]
    """

    def __init__(self, num_tasks: int) -> None:
        self._seconds = [0.0] * num_tasks
        self._longest = [0.0] * num_tasks
        self._reads = [0] * num_tasks
        self._total = 0
        self._next_look = FIRST_LOOK
        self._told = False

    def add_task(self) -> None:
        """Make room for one more task."""
        self._seconds.append(0.0)
        self._longest.append(0.0)
        self._reads.append(0)

    def add(self, arm: int, seconds: float) -> None:
        """Count one batch."""
        self._reads[arm] += 1
        self._seconds[arm] += seconds
        if seconds > self._longest[arm]:
            self._longest[arm] = seconds
        self._total += 1

    def means(self) -> list[float]:
        """Return seconds per batch and task, NaN where fewer than two were read."""
        parts = zip(self._seconds, self._longest, self._reads, strict=True)
        return [(total - longest) / (reads - 1) if reads > 1 else math.nan for total, longest, reads in parts]

    def warn(self, names: tuple[str, ...]) -> None:
        """Say so, once, if a task is far slower to read than the others. Looks at 64 batches, at 128, and so on."""
        if self._total < self._next_look or self._told:
            return
        self._next_look = 2 * self._total
        means = [(mean, arm) for arm, mean in enumerate(self.means()) if self._reads[arm] > 2]
        if len(means) < 2:
            return
        slowest, arm = max(means)
        others = median(mean for mean, other in means if other != arm)
        if slowest >= LEAST and slowest >= SLOWER * others:
            self._told = True
            _log.warning(
                "task %r takes %.0f times as long to read as the median of the others (%.2g s against %.2g s a batch), "
                "and the training waits for it: make its samples cheaper, read it with worker processes (num_workers, "
                "or a DataLoader with its own), or take it out with teacher.remove_task(%r). This is said once",
                names[arm],
                slowest / max(others, 1e-9),
                slowest,
                others,
                names[arm],
            )
