"""The few numbers that every logger gets."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from curricula.rewards import QuantileScaler
from curricula.tracking.history import effective_number

if TYPE_CHECKING:
    from curricula.teacher import Teacher

PREFIX = "curriculum/"
"""What every name begins with."""


class Stopwatch:
    """Adds up the seconds that were spent inside its ``with`` blocks, which must not be nested.

    Example:
        >>> watch = Stopwatch()
        >>> with watch:
        ...     pass
        >>> watch.seconds >= 0
        True
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._start = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._start


class Scalars:
    """Collects the steps between two entries and makes one entry of them.

    Progress rate and reward are means over all draws since the entry before, so that none is lost however rarely
    entries are written.

    Args:
        target: name of the target task, or ``None``.
        signal_time: runs while the signal measures.
    """

    def __init__(self, target: str | None, signal_time: Stopwatch) -> None:
        self._target = target
        self._signal_time = signal_time
        self._start()

    def add(self, rate: float, reward: float | None) -> None:
        """Count one draw.

        Args:
            rate: progress divided by cost; left out if it is not finite.
            reward: in ``[-1, 1]``, ``None`` if the bandit did not learn from it.
        """
        if reward is not None:
            self._rates += rate
            self._rewards += reward
            self._count += 1

    def take(self, teacher: Teacher, total_cost: float) -> dict[str, float]:
        """Return the entry and start the next; what is unknown is left out.

        Args:
            teacher: that was rewarded.
            total_cost: of the run so far, NaN if unknown.

        Returns:
            ``effective_tasks`` in ``[1, N]``, ``target_probability`` in ``[0, 1]``, ``progress_rate`` in the unit of
            signal over cost, ``progress_rate_low`` and ``progress_rate_high`` in the same unit (the rates from which
            on the reward is -1 and 1), ``reward`` in ``[-1, 1]``, ``skipped`` (steps so far), ``signal_time_share``
            in ``[0, 1]``, ``total_cost`` (so far, in the unit of the account); each name with :data:`PREFIX`.
        """
        policy = teacher.probabilities()
        entry = {"effective_tasks": effective_number(policy), "skipped": float(sum(teacher.skipped))}
        entry["total_cost"] = total_cost
        if self._target is not None:
            entry["target_probability"] = float(policy[teacher.tasks.index(self._target)])
        if self._count:
            entry["progress_rate"] = self._rates / self._count
            entry["reward"] = self._rewards / self._count
        bounds = teacher.scaler.quantiles() if isinstance(teacher.scaler, QuantileScaler) else None
        if bounds is not None:
            entry["progress_rate_low"], entry["progress_rate_high"] = bounds
        passed = time.perf_counter() - self._since
        if passed > 0:
            entry["signal_time_share"] = min(1.0, (self._signal_time.seconds - self._signal_since) / passed)
        self._start()
        return {PREFIX + name: value for name, value in entry.items() if math.isfinite(value)}

    def _start(self) -> None:
        self._rates = self._rewards = 0.0
        self._count = 0
        self._since = time.perf_counter()
        self._signal_since = self._signal_time.seconds
