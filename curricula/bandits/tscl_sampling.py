"""TSCL's sampling algorithm, with the exact probability of every task."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from curricula.bandits.base import FloatArray
from curricula.bandits.exp3 import mix
from curricula.bandits.values import ValueBandit, of_arms
from curricula.checks import check_count


class TSCLSampling(ValueBandit):
    r"""TSCL's sampling algorithm: one of the last rewards of each task is drawn, and the task with the largest chosen.

    It is Thompson sampling with the last :math:`K` rewards for a posterior. A task without rewards counts as one with
    the reward 1; so does a new task.

    The paper draws a reward for each task and takes the largest. Here the probability of each task is computed, that
    is summed over all rewards that could be drawn (:func:`probabilities_of_the_largest`), and one task is drawn from
    these probabilities: the same distribution, with a draw whose probability is known exactly. With :math:`N` tasks it
    takes time in proportion to :math:`N^2 K` at the most, for each reward.

    Args:
        window: :math:`K`, at least 1.
        epsilon: share of uniform exploration, in ``[0, 1]``; the paper has none.
        absolute: draw from the absolute rewards, as the paper does; see :class:`TSCLOnline
            <curricula.bandits.TSCLOnline>` for what that needs.

    Raises:
        ValueError: if an option is out of its range.

    Source: Matiisen et al. 2017 (arXiv:1707.00183), algorithm 4.

    Example:
        >>> bandit = TSCLSampling()
        >>> bandit.reset(num_arms=2)
        >>> for arm, reward in ((0, 0.1), (0, 0.3), (1, 0.2)):
        ...     bandit.update(arm, reward, probability=0.5)
        >>> bandit.probabilities().tolist()
        [0.5, 0.5]
    """

    def __init__(self, *, window: int = 10, epsilon: float = 0.0, absolute: bool = False) -> None:
        super().__init__(epsilon=epsilon, absolute=absolute)
        self.window = check_count("window", window, 1)
        self._rewards: list[deque[float]] = []

    def values(self) -> FloatArray:
        """Return the mean of the last rewards of each task, shape ``(num_arms,)``, in ``[-1, 1]``; 1 without any."""
        return np.array([np.mean(own) for own in self._samples(range(self.num_arms))])

    def describe(self) -> str:
        """Return one line with the constants in force."""
        absolute = ", absolute" if self.absolute else ""
        return f"{type(self).__name__}(window={self.window}, epsilon={self.epsilon:g}{absolute}; {self.num_arms} arms)"

    def _samples(self, arms: Any) -> list[FloatArray]:
        return [np.array(self._rewards[arm] or [1.0], dtype=np.float64) for arm in arms]

    def _choose(self, arms: np.ndarray) -> FloatArray:
        samples = self._samples(arms)
        if self.absolute:
            samples = [np.abs(own) for own in samples]
        return mix(probabilities_of_the_largest(samples), self.epsilon)

    def _observe(self, rewards: dict[int, float]) -> None:
        for arm, reward in rewards.items():
            self._rewards[arm].append(reward)

    def _start(self) -> None:
        self._keep([[]] * self.num_arms)

    def _keep(self, rewards: list[Any]) -> None:
        self._rewards = [deque(own, self.window) for own in rewards]

    def _rearrange(self, arms: list[int | None]) -> None:
        self.num_arms = len(arms)
        self._keep([() if arm is None else self._rewards[arm] for arm in arms])

    def _state(self) -> dict[str, Any]:
        return {"rewards": [list(own) for own in self._rewards]}

    def _load_state(self, state: dict[str, Any]) -> None:
        self._keep(of_arms(state, "rewards"))


def probabilities_of_the_largest(samples: Sequence[FloatArray]) -> FloatArray:
    r"""Return how likely each arm has the largest number, if each draws one of its own at random; ties share evenly.

    .. math:: P(i) = \sum_v P(x_i = v) \int_0^1 \prod_{j \ne i} \big[ P(x_j < v) + u\, P(x_j = v) \big]\, du

    With a further uniform number for each arm, the larger of which wins a tie, :math:`u` is that of arm :math:`i`. The
    integrand is a polynomial, of which Gauss-Legendre quadrature gives the integral exactly.

    Args:
        samples: for each arm the numbers that it draws from, at least one.

    Returns:
        Shape ``(len(samples),)``, sums to 1.

    Example:
        >>> probabilities_of_the_largest([np.array([1.0, 3.0]), np.array([2.0]), np.array([2.0])]).round(9).tolist()
        [0.5, 0.25, 0.25]
    """
    ordered = [np.sort(own) for own in samples]
    least = max(own[0] for own in ordered)  # whatever is below it, the arm that has it exceeds
    values = np.unique(np.concatenate([own[own >= least] for own in ordered]))
    sizes = np.array([len(own) for own in ordered])
    first = np.stack([own.searchsorted(values, "left") for own in ordered], axis=1)
    last = np.stack([own.searchsorted(values, "right") for own in ordered], axis=1)
    below, at = first / sizes, (last - first) / sizes  # P(x_j < v) and P(x_j = v), shape (values, arms)
    tied = (at > 0.0).sum(axis=1)
    found = np.zeros(len(samples))
    for rows in (tied == 1, tied > 1):
        if rows.any():
            found += _integrals(below[rows], at[rows], (int(tied[rows].max()) + 1) // 2)
    found /= found.sum()
    return found


def _integrals(below: FloatArray, at: FloatArray, nodes: int) -> FloatArray:
    total = np.zeros(below.shape[1])
    for place, weight in zip(*_quadrature(nodes), strict=True):
        logs = np.log(below + at * place)
        total += weight * (at * np.exp(logs.sum(axis=1, keepdims=True) - logs)).sum(axis=0)
    return total


@lru_cache(maxsize=128)
def _quadrature(nodes: int) -> tuple[list[float], list[float]]:
    """Return places and weights in the unit interval, exact for polynomials of a degree below ``2 * nodes``."""
    places, weights = np.polynomial.legendre.leggauss(nodes)
    return ((places + 1.0) / 2.0).tolist(), (weights / 2.0).tolist()
