"""WithoutReplacement: exact numbers of draws, in random order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from curricula.bandits.base import Bandit, FloatArray
from curricula.bandits.inversion import invert
from curricula.checks import as_int


class WithoutReplacement(Bandit):
    r"""A policy that draws every task a given number of times, in random order: cards from a shuffled deck.

    .. math:: \pi(i) = \frac{\text{what is left of task } i}{\text{what is left of all tasks}}

    It replays the draws of another run without their order. When the deck is empty a new one is begun, so that after
    every :math:`\sum_i n_i` draws each task has had exactly :math:`n_i` more. Rewards are ignored.

    A draw takes its card, so that the next one has another policy, also within a step; the probability of each draw is
    exact. Where something else has a part in the choice (a :class:`~curricula.Mixture`, quotas, tasks that were removed
    or have used up their passes), all draws of a step are of the policy at its beginning, and where a task is drawn of
    which nothing is left, the cards of a new deck are added to what is left: numbers of draws are then not exact.

    Args:
        counts: whole numbers ``n_i >= 0``, one per task, in the order of the tasks, not all 0;
            :attr:`curricula.tracking.CurriculumHistory.draws` has those of a run. Its tasks cannot change.

    Raises:
        TypeError: if a count is no whole number.
        ValueError: if one is negative, or all are 0; at :meth:`reset`, if there are not as many counts as arms.

    Example:
        >>> from collections import Counter
        >>> from curricula import Teacher
        >>> teacher = Teacher(["easy", "hard"], bandit=WithoutReplacement([30, 10]))
        >>> sorted(Counter(teacher.draw().task for _ in range(40)).items())
        [('easy', 30), ('hard', 10)]
    """

    def __init__(self, counts: Sequence[int]) -> None:
        try:
            whole = [as_int("a count", count) for count in counts]
        except TypeError:
            raise TypeError(f"counts must be one whole number per task, got {counts!r}") from None
        if min(whole, default=0) < 0 or not any(whole):
            raise ValueError(f"counts must be >= 0, and not all 0, got {whole}")
        self._counts = np.array(whole, dtype=np.int64)
        self._left: npt.NDArray[np.int64] = self._counts
        self._policy: FloatArray = np.zeros(0)

    def probabilities(self) -> FloatArray:
        """Return what is left of each task over what is left of all, shape ``(num_arms,)``."""
        return self._policy

    def probabilities_among(self, arms: Sequence[int]) -> FloatArray:
        """Return the policy where only some arms can be drawn: from a new deck where nothing is left of them."""
        left = self._left if self._left[arms].any() else self._left + self._counts
        if not left[arms].any():
            return super().probabilities_among(arms)
        policy = np.zeros(self.num_arms)
        policy[arms] = left[arms] / left[arms].sum()
        return policy

    def draw_all(self, rng: np.random.Generator, count: int) -> list[int]:
        """Draw the arms of one step, each from what those before it have left."""
        if not self.num_arms:
            return super().draw_all(rng, count)
        left, arms = self._left, []
        for number in rng.random(count).tolist():
            arms.append(invert(left / left.sum(), number))
            left = self._after(left, arms[-1])
        return arms

    def drawn(self, arms: Sequence[int]) -> list[float]:
        """Take the cards of a step, and return the probability that each had, given those before it."""
        probabilities = []
        for arm in arms:
            probabilities.append(float(self._left[arm] / self._left.sum()))
            self._left = self._after(self._left, arm)
        self._policy = self._left / self._left.sum()
        return probabilities

    def _after(self, left: npt.NDArray[np.int64], arm: int) -> npt.NDArray[np.int64]:
        """Return what is left after a draw, a new array."""
        left = left.copy() if left[arm] else left + self._counts
        left[arm] = max(0, left[arm] - 1)  # a task without any cards may be drawn by others
        return left if left.any() else self._counts

    def describe(self) -> str:
        """Return one line with the size of the deck, for logs."""
        return f"WithoutReplacement(num_arms={self.num_arms}, draws={self._counts.sum()})"

    def _start(self) -> None:
        if len(self._counts) != self.num_arms:
            raise ValueError(
                f"WithoutReplacement has {len(self._counts)} counts for {self.num_arms} tasks: give one per task"
            )
        self._left = self._counts
        self._policy = self._left / self._left.sum()

    def _learn(self, arm: int, reward: float, probability: float, policy: FloatArray | None) -> None:
        """Ignore the reward."""

    def _state(self) -> dict[str, Any]:
        return {"counts": self._counts.tolist(), "left": self._left.tolist()}

    def _load_state(self, state: dict[str, Any]) -> None:
        if state["counts"] != self._counts.tolist():
            raise ValueError(
                "the checkpoint was made with other counts of WithoutReplacement: give the same, or start the "
                "curriculum anew"
            )
        left = np.array(state["left"], dtype=np.int64)
        if left.shape != self._counts.shape or left.min() < 0 or not left.any():
            raise ValueError(f"the state is damaged: of the draws is left {state['left']}")
        self._left = left
        self._policy = left / left.sum()
