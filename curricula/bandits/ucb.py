"""Upper confidence bounds for rewards that change: sliding-window UCB and discounted UCB."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

from curricula.bandits.base import FloatArray, check_range
from curricula.bandits.rates import DEFAULT_HORIZON
from curricula.bandits.values import ValueBandit, WindowBandit, of_arms
from curricula.checks import check_count

_RANGE = 2.0
"""Of rewards in ``[-1, 1]``: B in the paper, whose rewards are in ``[0, B]``."""
_LEAST_COUNT = 1e-300
"""Discounted counts below it are none."""


class _UCB(ValueBandit):
    """What both have in common: options, and the number of changes that the automatic constants assume."""

    def __init__(self, *, xi: float, segments: int) -> None:
        super().__init__()
        self.xi = check_range("xi", xi, 0.0, math.inf, open_low=True)
        self.segments = check_count("segments", segments, 1)

    def _changes_and_horizon(self) -> tuple[int, int]:
        horizon = self.horizon or DEFAULT_HORIZON
        return min(max(1, self.segments - 1), horizon), horizon


class SlidingWindowUCB(WindowBandit, _UCB):
    r"""Sliding-window UCB: the largest upper confidence bound on the mean reward of the last steps.

    .. math:: \bar X_i + 2 \sqrt{\frac{\xi \ln \min(t, \tau)}{N_i}}

    where :math:`\bar X_i` and :math:`N_i` are the mean and the number of the rewards of task :math:`i` in the last
    :math:`\tau` steps, and 2 is the range of rewards in ``[-1, 1]``. A task without a reward in the window has an
    infinite bound and is drawn next, and so has a new one; with more tasks than steps in the window the draws are
    little more than that. It assumes rewards whose means are constant but for a few abrupt changes.

    The policy has probability 1 for one task, or the same for tasks with the same bound. How it does with several
    draws a step, and where draws run ahead of their rewards, see :class:`~curricula.bandits.values.ValueBandit`. A step
    takes time in proportion to the number of tasks and to the length of the window.

    Args:
        window: :math:`\tau`, in steps, at least 1. ``None``: :math:`2 \sqrt{T \ln T / \Upsilon}`, for :math:`T` steps
            and :math:`\Upsilon` changes.
        xi: :math:`\xi`, ``> 0``. The bound on the regret is for values above 1/2.
        segments: number of stretches without a change that the automatic window assumes, at least 1.

    Raises:
        ValueError: if an option is out of its range.

    Source: Garivier and Moulines 2008 (arXiv:0805.3415), sections 2.2 and 3.

    Example:
        >>> bandit = SlidingWindowUCB(window=4)
        >>> bandit.reset(num_arms=2)
        >>> bandit.update(0, reward=1.0, probability=0.5)
        >>> bandit.probabilities().tolist()  # the other was never drawn
        [0.0, 1.0]
        >>> bandit.update(1, reward=-1.0, probability=1.0)
        >>> bandit.probabilities().tolist()
        [1.0, 0.0]
    """

    def __init__(self, *, window: int | None = None, xi: float = 0.5, segments: int = 4) -> None:
        super().__init__(xi=xi, segments=segments)
        self._given_window = None if window is None else check_count("window", window, 1)
        self.window = 0
        """Window in force, in steps; known after :meth:`reset`."""

    def values(self) -> FloatArray:
        """Return the upper confidence bounds, shape ``(num_arms,)``; infinite for tasks that are not in the window."""
        counts = np.array([len(own) for own in self._rewards], dtype=np.float64)
        sums = np.array([math.fsum(own) for own in self._rewards])
        return _bounds(sums, counts, _RANGE, self.xi * math.log(max(1, min(self._updates, self.window))))

    def describe(self) -> str:
        """Return one line with the constants in force."""
        return f"{type(self).__name__}(window={self.window}, xi={self.xi:g}; {self.num_arms} arms)"

    def _observe(self, rewards: dict[int, float]) -> None:
        self._updates += 1
        for arm, reward in rewards.items():
            self._steps[arm].append(self._updates)
            self._rewards[arm].append(reward)
        self._forget()

    def _forget(self) -> None:
        for steps, rewards in zip(self._steps, self._rewards, strict=True):
            while steps and steps[0] <= self._updates - self.window:
                steps.popleft()
                rewards.popleft()

    def _start(self) -> None:
        changes, horizon = self._changes_and_horizon()
        automatic = max(1, math.ceil(2.0 * math.sqrt(horizon * math.log(horizon) / changes)))
        self.window = automatic if self._given_window is None else self._given_window
        super()._start()

    def _keep(self, steps: list[Any], rewards: list[Any]) -> None:
        self._steps = [deque(own) for own in steps]
        self._rewards = [deque(own) for own in rewards]
        self._forget()


class DiscountedUCB(_UCB):
    r"""Discounted UCB: the largest upper confidence bound on a mean in which old rewards count less.

    .. math::
        N_i \leftarrow \gamma N_i + \mathbb{1}[i = a], \quad S_i \leftarrow \gamma S_i + r\,\mathbb{1}[i = a]; \qquad
        \frac{S_i}{N_i} + 4 \sqrt{\frac{\xi \ln \sum_j N_j}{N_i}}

    where 4 is twice the range of rewards in ``[-1, 1]``. Otherwise as :class:`SlidingWindowUCB`: never drawn tasks have
    an infinite bound, so have new ones, and the means are assumed constant but for a few abrupt changes. A step takes
    time in proportion to the number of tasks.

    Args:
        gamma: :math:`\gamma`, in ``(0, 1]``. ``None``: :math:`1 - \sqrt{\Upsilon / T} / 4`, for :math:`T` steps and
            :math:`\Upsilon` changes.
        xi: :math:`\xi`, ``> 0``. The bound on the regret is for values above 1/2.
        segments: number of stretches without a change that the automatic discount assumes, at least 1.

    Raises:
        ValueError: if an option is out of its range.

    Source: Garivier and Moulines 2008 (arXiv:0805.3415), sections 2.1 and 3.

    Example:
        >>> bandit = DiscountedUCB(gamma=0.9)
        >>> bandit.reset(num_arms=2)
        >>> bandit.update(0, reward=1.0, probability=0.5)
        >>> bandit.update(1, reward=-1.0, probability=1.0)
        >>> bandit.probabilities().tolist()
        [1.0, 0.0]
    """

    def __init__(self, *, gamma: float | None = None, xi: float = 0.5, segments: int = 4) -> None:
        super().__init__(xi=xi, segments=segments)
        self._given_gamma = None if gamma is None else check_range("gamma", gamma, 0.0, 1.0, open_low=True)
        self.gamma = math.nan
        """Discount in force; known after :meth:`reset`."""
        self._sums: FloatArray = np.zeros(0)
        self._counts: FloatArray = np.zeros(0)

    def values(self) -> FloatArray:
        """Return the upper confidence bounds, shape ``(num_arms,)``; infinite for tasks that were never drawn."""
        number = math.fsum(self._counts.tolist())  # exact: the order of the arms does not matter
        return _bounds(self._sums, self._counts, 2 * _RANGE, self.xi * math.log(max(1.0, number)))

    def describe(self) -> str:
        """Return one line with the constants in force."""
        return f"{type(self).__name__}(gamma={self.gamma:.6g}, xi={self.xi:g}; {self.num_arms} arms)"

    def _observe(self, rewards: dict[int, float]) -> None:
        self._sums *= self.gamma
        self._counts *= self.gamma
        for arm, reward in rewards.items():
            self._sums[arm] += reward
            self._counts[arm] += 1.0

    def _start(self) -> None:
        changes, horizon = self._changes_and_horizon()
        self.gamma = 1.0 - math.sqrt(changes / horizon) / 4.0 if self._given_gamma is None else self._given_gamma
        self._sums, self._counts = np.zeros(self.num_arms), np.zeros(self.num_arms)

    def _rearrange(self, arms: list[int | None]) -> None:
        self.num_arms = len(arms)
        self._sums = np.array([0.0 if arm is None else self._sums[arm] for arm in arms])
        self._counts = np.array([0.0 if arm is None else self._counts[arm] for arm in arms])

    def _state(self) -> dict[str, Any]:
        return {"sums": self._sums.tolist(), "counts": self._counts.tolist()}

    def _load_state(self, state: dict[str, Any]) -> None:
        self._sums = np.array(of_arms(state, "sums"), dtype=np.float64)
        self._counts = np.array(of_arms(state, "counts"), dtype=np.float64)


def _bounds(sums: FloatArray, counts: FloatArray, scale: float, level: float) -> FloatArray:
    """Return ``sums / counts + scale * sqrt(level / counts)``, infinite where nothing was counted."""
    known = counts > _LEAST_COUNT
    divisor = np.where(known, counts, 1.0)
    bounds: FloatArray = np.where(known, sums / divisor + scale * np.sqrt(level / divisor), math.inf)
    return bounds
