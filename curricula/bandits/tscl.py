"""TSCL, Teacher-Student Curriculum Learning: practise where the learning curve is steepest. Online, Naive, Window."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from curricula.bandits.base import FloatArray
from curricula.bandits.values import AveragingBandit, ValueBandit, WindowBandit, of_arms
from curricula.checks import check_count


class TSCLOnline(AveragingBandit):
    r"""TSCL's online algorithm: a moving average of the rewards of each task.

    .. math:: Q_a \leftarrow \rho\, r + (1-\rho)\, Q_a

    The reward is the change of the task's score, or any other measure of progress. The next task is the one with the
    largest :math:`Q`, but for a share ``epsilon`` of draws from all tasks alike; or, with a temperature, it is drawn
    with probabilities :math:`\propto e^{Q_i / \tau}`. The paper takes :math:`|Q|` for :math:`Q`, so that tasks that are
    being forgotten are practised again. That needs rewards whose 0 means no change, which those of
    :class:`~curricula.rewards.QuantileScaler` are not: their 0 is the middle of recent progress. Hence
    ``absolute=False``.

    Args:
        rate: :math:`\rho`, in ``(0, 1]``.
        epsilon: share of uniform exploration, in ``[0, 1]``. Set it to 0 for Boltzmann exploration alone.
        temperature: :math:`\tau`, ``>= 0``; 0 chooses the largest, ties evenly.
        absolute: choose by :math:`|Q|`.

    Raises:
        ValueError: if an option is out of its range.

    Source: Matiisen et al. 2017 (arXiv:1707.00183), algorithm 1.

    Example:
        >>> bandit = TSCLOnline(rate=0.5, epsilon=0.3)
        >>> bandit.reset(num_arms=3)
        >>> bandit.update(1, reward=0.8, probability=1 / 3)
        >>> bandit.values().tolist(), bandit.probabilities().round(3).tolist()
        ([0.0, 0.4, 0.0], [0.1, 0.8, 0.1])
    """

    def __init__(
        self, *, rate: float = 0.1, epsilon: float = 0.1, temperature: float = 0.0, absolute: bool = False
    ) -> None:
        super().__init__(rate=rate, epsilon=epsilon, temperature=temperature, absolute=absolute)

    def describe(self) -> str:
        """Return one line with the constants in force."""
        return f"{type(self).__name__}(rate={self.rate:g}, {_constants(self)})"


class TSCLNaive(AveragingBandit):
    r"""TSCL's naive algorithm: practise a task several times in a row, then measure the slope of its learning curve.

    The :math:`K` rewards of a task add up to its learning curve, :math:`s_k = r_1 + \dots + r_k` with :math:`s_0 = 0`.
    The slope :math:`x` of its regression line is a weighted mean of them, and is averaged:

    .. math:: x = \sum_{k=1}^{K} \frac{6\, k\, (n - k)}{n (n^2 - 1)}\, r_k, \quad n = K + 1; \qquad
       Q_a \leftarrow \rho\, x + (1-\rho)\, Q_a

    A task that has some of its rewards, but not all, is drawn with certainty, and exploration is in the choice of the
    next one. Where several draws are made before the first of them is rewarded, several tasks may have been begun:
    they are drawn alike until each has its rewards. With ``repeats=1`` it is :class:`TSCLOnline`.

    Args:
        repeats: :math:`K`, at least 1.
        rate: :math:`\rho`, in ``(0, 1]``.
        epsilon: share of uniform exploration in the choice of the next task, in ``[0, 1]``.
        temperature: as for :class:`TSCLOnline`.
        absolute: as for :class:`TSCLOnline`.

    Raises:
        ValueError: if an option is out of its range.

    Source: Matiisen et al. 2017 (arXiv:1707.00183), algorithm 2.

    Example:
        >>> bandit = TSCLNaive(repeats=2, rate=1.0, epsilon=0.0)
        >>> bandit.reset(num_arms=2)
        >>> bandit.update(1, reward=-0.5, probability=0.5)
        >>> bandit.probabilities().tolist()
        [0.0, 1.0]
        >>> bandit.update(1, reward=0.3, probability=1.0)
        >>> bandit.values().round(3).tolist(), bandit.probabilities().tolist()
        ([0.0, -0.1], [1.0, 0.0])
    """

    def __init__(
        self,
        *,
        repeats: int = 10,
        rate: float = 0.1,
        epsilon: float = 0.1,
        temperature: float = 0.0,
        absolute: bool = False,
    ) -> None:
        super().__init__(rate=rate, epsilon=epsilon, temperature=temperature, absolute=absolute)
        self.repeats = check_count("repeats", repeats, 1)
        self._begun: list[list[float]] = []

    def describe(self) -> str:
        """Return one line with the constants in force."""
        return f"{type(self).__name__}(repeats={self.repeats}, rate={self.rate:g}, {_constants(self)})"

    def _choose(self, arms: np.ndarray) -> FloatArray:
        begun = np.array([bool(self._begun[arm]) for arm in arms])
        return begun / begun.sum() if begun.any() else super()._choose(arms)

    def _observe(self, rewards: dict[int, float]) -> None:
        for arm, reward in rewards.items():
            own = self._begun[arm]
            own.append(reward)
            if len(own) >= self.repeats:
                self._average(arm, slope(range(len(own) + 1), [0.0, *own]))
                own.clear()

    def _start(self) -> None:
        super()._start()
        self._begun = [[] for _ in range(self.num_arms)]

    def _rearrange(self, arms: list[int | None]) -> None:
        self._begun = [[] if arm is None else list(self._begun[arm]) for arm in arms]
        super()._rearrange(arms)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "begun": [list(own) for own in self._begun]}

    def _load_state(self, state: dict[str, Any]) -> None:
        super()._load_state(state)
        self._begun = [list(own) for own in of_arms(state, "begun")]


class TSCLWindow(WindowBandit):
    r"""TSCL's window algorithm: the slope of each task's learning curve over its last rewards.

    The rewards of a task add up to its learning curve. Its value is the slope of the regression line through the last
    :math:`K` points of it, against the number of the step: what the task gains per step of the training, whichever
    tasks the steps are of. A task with fewer than two rewards has the value 1, which no slope exceeds, so that it is
    drawn soon; this holds for a new task as well.

    Args:
        window: :math:`K`, at least 2.
        epsilon: share of uniform exploration, in ``[0, 1]``.
        temperature: as for :class:`TSCLOnline`.
        absolute: as for :class:`TSCLOnline`.

    Raises:
        ValueError: if an option is out of its range.

    Source: Matiisen et al. 2017 (arXiv:1707.00183), algorithm 3.

    Example:
        >>> bandit = TSCLWindow(epsilon=0.0)
        >>> bandit.reset(num_arms=2)
        >>> for arm, reward in ((0, 0.1), (0, 0.3), (1, 0.5), (1, 0.2)):
        ...     bandit.update(arm, reward, probability=0.5)
        >>> bandit.values().round(3).tolist(), bandit.probabilities().tolist()
        ([0.3, 0.2], [1.0, 0.0])
    """

    def __init__(
        self, *, window: int = 10, epsilon: float = 0.1, temperature: float = 0.0, absolute: bool = False
    ) -> None:
        super().__init__(epsilon=epsilon, temperature=temperature, absolute=absolute)
        self.window = check_count("window", window, 2)
        self._values: FloatArray = np.zeros(0)

    def values(self) -> FloatArray:
        """Return a copy of the slopes, shape ``(num_arms,)``, in ``[-1, 1]``; 1 for tasks with fewer than two."""
        values: FloatArray = self._values.copy()
        return values

    def describe(self) -> str:
        """Return one line with the constants in force."""
        return f"{type(self).__name__}(window={self.window}, {_constants(self)})"

    def _observe(self, rewards: dict[int, float]) -> None:
        self._updates += 1
        for arm, reward in rewards.items():
            self._steps[arm].append(self._updates)
            self._rewards[arm].append(reward)
            self._values[arm] = self._value(arm)

    def _value(self, arm: int) -> float:
        steps = self._steps[arm]
        return 1.0 if len(steps) < 2 else slope(steps, self._rewards[arm])

    def _keep(self, steps: list[Any], rewards: list[Any]) -> None:
        self._steps = [deque(own, self.window) for own in steps]
        self._rewards = [deque(own, self.window) for own in rewards]
        self._values = np.array([self._value(arm) for arm in range(len(steps))])


def slope(steps: Any, rewards: Any) -> float:
    """Return the slope of the regression line through a learning curve.

    Args:
        steps: where its points are, shape ``(K,)``, increasing, ``K >= 2``.
        rewards: from each point to the next, shape ``(K,)``; the first one, to the first point, does not matter.

    Example:
        >>> round(slope([1, 2, 3], [0.7, 0.1, 0.3]), 9)
        0.2
    """
    places = np.array(steps, dtype=np.float64)
    places -= places.mean()
    curve = np.cumsum(np.array(rewards, dtype=np.float64))
    return float(places @ (curve - curve.mean())) / float(places @ places)


def _constants(bandit: ValueBandit) -> str:
    absolute = ", absolute" if bandit.absolute else ""
    return f"epsilon={bandit.epsilon:g}, temperature={bandit.temperature:g}{absolute}; {bandit.num_arms} arms"
