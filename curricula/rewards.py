"""Rewards: raw progress rates, of any scale, to [-1, 1] by their rank among recent ones."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from typing import Any

from curricula.bandits.base import check_range
from curricula.checks import check_flags
from curricula.randomness import CounterGenerator, Stream


class RewardScaler(ABC):
    """Maps a raw progress rate to a reward in ``[-1, 1]``."""

    @abstractmethod
    def reset(self, seed: int = 0) -> None:
        """Forget the history. ``seed`` is for scalers that choose at random."""

    @abstractmethod
    def scale(self, rate: float) -> float:
        """Return the reward of ``rate`` and remember the rate.

        Raises:
            ValueError: if ``rate`` is not finite.
        """

    def scale_all(self, rates: Sequence[float]) -> list[float]:
        """Return the rewards of the rates of one step, all by what was known before it, then remember the rates.

        No reward depends on the other rates of its step, nor on its place among them.

        Args:
            rates: of one step, in the order in which they are to be remembered.

        Raises:
            ValueError: if a rate is not finite. Then nothing has changed.
        """
        if len(rates) == 1:
            return [self.scale(rates[0])]
        rewards = [copy.deepcopy(self).scale(rate) for rate in rates]
        for rate in rates:
            self.scale(rate)
        return rewards

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the history, as plain containers."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where :meth:`state_dict` was taken."""


def quantile(ordered: list[float], fraction: float) -> float:
    """Return the quantile of a sorted, non-empty list, linearly interpolated (as ``numpy.quantile`` does).

    Example:
        >>> quantile([0.0, 1.0, 2.0, 10.0], 0.5)
        1.5
    """
    position = fraction * (len(ordered) - 1)
    below = int(position)
    low = ordered[below]
    if below + 1 == len(ordered):
        return low
    high = ordered[below + 1]
    if high == low:  # the interpolation below would round some values off themselves
        return low
    part = position - below
    return low * (1.0 - part) + high * part


def scale_between(rate: float, low: float, high: float) -> float:
    r"""Map ``rate`` to ``[-1, 1]`` by two quantiles.

    .. math::
        r = \begin{cases} -1 & \hat r < q_{lo} \\ +1 & \hat r > q_{hi} \\
        2\,(\hat r - q_{lo}) / (q_{hi} - q_{lo}) - 1 & \text{otherwise} \end{cases}

    and 0 where ``rate == low == high``. Comparisons come first, so no overflow can produce a NaN.

    Source: Graves et al. 2017, section 2.3.
    """
    if rate < low:
        return -1.0
    if rate > high:
        return 1.0
    if high == low:
        return 0.0
    if math.isinf(high - low):  # halving is for these only: halved, the smallest floats are 0
        rate, low, high = rate / 2, low / 2, high / 2
    return max(-1.0, min(1.0, 2.0 * ((rate - low) / (high - low)) - 1.0))


class QuantileScaler(RewardScaler):
    """Maps progress rates to ``[-1, 1]`` by the 20th and 80th percentile of the rates before them.

    Units, learning rate and loss scale drop out: only the rank among the pooled rates of *all* tasks counts. The
    current rate is not in its own history. While there are fewer than ``warmup`` rates the reward is 0, and it is 0
    where both quantiles and the rate are equal.

    Args:
        low: lower quantile, in ``[0, high)``.
        high: upper quantile, in ``(low, 1]``.
        window: how many rates are kept, at least 2.
        reservoir: keep a uniform sample of *all* rates instead of the latest ones. Gains shrink by orders of magnitude
            over a run; against all of history every late rate then looks poor and the rewards go flat, so the
            window is the default and the reservoir is for reproducing the paper.
        warmup: rates before the first reward other than 0, at least 1.

    Raises:
        TypeError: if an option is no number.
        ValueError: if an option is out of its range.

    Source: Graves et al. 2017, section 2.3; reservoir sampling, Vitter 1985.

    Example:
        >>> scaler = QuantileScaler(warmup=5)
        >>> [scaler.scale(rate) for rate in [1.0, 2.0, 3.0, 4.0, 5.0]]
        [0.0, 0.0, 0.0, 0.0, 0.0]
        >>> scaler.scale(100.0), scaler.scale(-100.0)
        (1.0, -1.0)
    """

    def __init__(
        self,
        *,
        low: float = 0.2,
        high: float = 0.8,
        window: int = 1000,
        reservoir: bool = False,
        warmup: int = 10,
    ) -> None:
        self.low = check_range("low", low, 0.0, 1.0)
        self.high = check_range("high", high, 0.0, 1.0)
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got low={low}, high={high}")
        for name, value in (("window", window), ("warmup", warmup)):
            if value != int(check_range(name, value, 1, math.inf)):
                raise ValueError(f"{name} must be a whole number, got {value}")
        self.window = int(check_range("window", window, 2, math.inf))
        self.warmup = int(check_range("warmup", warmup, 1, math.inf))
        if self.warmup > self.window:
            raise ValueError(f"warmup must be at most window={window}, got {warmup}: it would never end")
        check_flags(reservoir=reservoir)
        self.reservoir = reservoir
        self.reset()

    @classmethod
    def paper(cls) -> QuantileScaler:
        """Return the scaler of Graves et al. 2017: a reservoir over the whole history (here of 10,000 rates)."""
        return cls(window=10_000, reservoir=True)

    def reset(self, seed: int = 0) -> None:
        """Forget the history; ``seed`` decides which rates a reservoir keeps."""
        self._seen = 0
        self._rates: deque[float] = deque()  # in the order of arrival (window) or of slots (reservoir)
        self._ordered: list[float] = []
        self._numbers = CounterGenerator(seed, Stream.RESERVOIR)
        self._seed = int(seed)

    def quantiles(self) -> tuple[float, float] | None:
        """Return the two quantiles in force, or ``None`` during the warm-up."""
        if len(self._ordered) < self.warmup:
            return None
        return quantile(self._ordered, self.low), quantile(self._ordered, self.high)

    def scale(self, rate: float) -> float:
        """Return the reward of ``rate`` in ``[-1, 1]``, then add the rate to the history."""
        if not math.isfinite(rate):
            raise ValueError(f"a progress rate must be finite, got {rate}")
        rate = float(rate)
        bounds = self.quantiles()
        reward = 0.0 if bounds is None else scale_between(rate, *bounds)
        self._remember(rate)
        return reward

    def scale_all(self, rates: Sequence[float]) -> list[float]:
        """Return the rewards of the rates of one step by the history before it, then add them to it in their order."""
        for rate in rates:
            if not math.isfinite(rate):
                raise ValueError(f"a progress rate must be finite, got {rate}")
        values = [float(rate) for rate in rates]
        bounds = self.quantiles()
        rewards = [0.0 if bounds is None else scale_between(value, *bounds) for value in values]
        for value in values:
            self._remember(value)
        return rewards

    def _remember(self, rate: float) -> None:
        self._seen += 1
        if len(self._rates) < self.window:
            self._rates.append(rate)
        elif not self.reservoir:
            self._forget(self._rates.popleft())
            self._rates.append(rate)
        else:
            slot = int(self._numbers.at(self._seen).integers(self._seen))
            if slot >= self.window:
                return
            self._forget(self._rates[slot])
            self._rates[slot] = rate
        insort(self._ordered, rate)

    def _forget(self, rate: float) -> None:
        del self._ordered[bisect_left(self._ordered, rate)]

    def state_dict(self) -> dict[str, Any]:
        """Return the history, as plain containers."""
        return {
            "scaler": type(self).__name__,
            "reservoir": self.reservoir,
            "window": self.window,
            "seed": self._seed,
            "seen": self._seen,
            "rates": list(self._rates),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where :meth:`state_dict` was taken.

        Raises:
            ValueError: if the state is of a scaler with another kind or length of history.
        """
        own = {"scaler": type(self).__name__, "reservoir": self.reservoir, "window": self.window}
        saved = {key: state.get(key) for key in own}
        if saved != own:
            raise ValueError(
                f"the state is of another reward scaler ({saved}, this one is {own}): "
                "make the same scaler, or start the curriculum anew"
            )
        seen, rates = int(state["seen"]), [float(rate) for rate in state["rates"]]
        self.reset(state["seed"])
        self._seen = seen
        self._rates = deque(rates)
        self._ordered = sorted(rates)
