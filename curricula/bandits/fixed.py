"""FixedPolicy: probabilities that never change (uniform, proportional to size, temperature, by hand)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from curricula.bandits.base import Bandit, FloatArray, check_range
from curricula.bandits.inversion import invert_all_sums, invert_sums


class FixedPolicy(Bandit):
    r"""A policy that ignores rewards: the baselines, in the same place as the bandits.

    Args:
        weights: one per task, in the order of the tasks, ``>= 0`` with a positive sum; they are normalised.
            ``None``: uniform.

    Raises:
        ValueError: if a weight is negative or not finite, or all are zero; at :meth:`reset`, if there are not as many
            weights as arms.

    Example:
        >>> policy = FixedPolicy.proportional([900, 100], temperature=2.0)
        >>> policy.reset(num_arms=2)
        >>> policy.probabilities().round(3).tolist()
        [0.75, 0.25]
    """

    def __init__(self, weights: Sequence[float] | None = None) -> None:
        self._weights = None if weights is None else checked_weights("weights", weights)
        self._policy: FloatArray = np.zeros(0)
        self._summed: FloatArray | None = None  # the policy that was added up last,
        self._sums: FloatArray = np.zeros(0)  # and its sums up to each arm

    @classmethod
    def uniform(cls) -> FixedPolicy:
        """Return the uniform policy, the baseline of every comparison."""
        return cls()

    @classmethod
    def proportional(cls, sizes: Sequence[float], *, temperature: float = 1.0) -> FixedPolicy:
        r"""Return :math:`\pi(i) \propto n_i^{1/\tau}`.

        Args:
            sizes: one ``n_i > 0`` per task; :attr:`curricula.CurriculumLoader.sizes` has them.
            temperature: ``> 0``; 1 is proportional to size, large values approach uniform.
        """
        temperature = check_range("temperature", temperature, 0.0, math.inf, open_low=True)
        logs = np.log(_checked_sizes(sizes)) / temperature
        return cls(np.exp(logs - logs.max()).tolist())

    @classmethod
    def unimax(cls, sizes: Sequence[float], budget: float, max_epochs: float = 4.0) -> FixedPolicy:
        """Return UniMax: shares that are as even as they can be while no task is passed over more than so often.

        Small tasks, the smallest first, get either an even share of what is left of the budget or so many passes over
        them, whichever is less.

        Args:
            sizes: one per task, ``> 0``, in any unit, such as samples; :attr:`curricula.CurriculumLoader.sizes`.
            budget: what the whole training reads, ``> 0``, in the same unit: batches times samples per batch.
            max_epochs: most passes over a task, ``> 0``, on average over the draws.

        Raises:
            ValueError: if a number is out of range, or so many passes over all tasks are less than the budget.

        Source: Chung et al. 2023, UniMax (arXiv:2304.09151), algorithm 1.

        Example:
            >>> policy = FixedPolicy.unimax([10, 1000], budget=100, max_epochs=2)
            >>> policy.reset(num_arms=2)
            >>> policy.probabilities().tolist()
            [0.2, 0.8]
        """
        numbers = _checked_sizes(sizes)
        left = budget = check_range("budget", budget, 0.0, math.inf, open_low=True)
        max_epochs = check_range("max_epochs", max_epochs, 0.0, math.inf, open_low=True)
        most = max_epochs * math.fsum(numbers)
        if budget > most * (1.0 + 1e-9):
            raise ValueError(
                f"{max_epochs:g} passes over all tasks are {most:g}, and the budget is {budget:g}: "
                f"give max_epochs of at least {budget / most * max_epochs:g}, or a smaller budget"
            )
        shares = np.zeros(len(numbers))
        for place, arm in enumerate(np.argsort(numbers, kind="stable")):
            shares[arm] = min(left / (len(numbers) - place), max_epochs * numbers[arm])
            left -= shares[arm]
        return cls(shares.tolist())

    def probabilities(self) -> FloatArray:
        """Return the policy, shape ``(num_arms,)``."""
        return self._policy

    def draw(self, rng: np.random.Generator) -> int:
        """Draw an arm by inverting the distribution function with one uniform number, in ``log2(num_arms)`` steps."""
        policy = self.probabilities()
        return invert_sums(self._added(policy), policy, rng.random()) if self.num_arms else super().draw(rng)

    def draw_all(self, rng: np.random.Generator, count: int) -> list[int]:
        """Draw the arms of one step by one search, with one uniform number each."""
        policy = self.probabilities()
        if not self.num_arms:
            return super().draw_all(rng, count)
        return invert_all_sums(self._added(policy), policy, rng.random(count))

    def _added(self, policy: FloatArray) -> FloatArray:
        if policy is not self._summed:
            self._summed, self._sums = policy, np.add.accumulate(policy)
        return self._sums

    def _start(self) -> None:
        weights = np.ones(self.num_arms) if self._weights is None else self._weights
        if len(weights) != self.num_arms:
            raise ValueError(f"FixedPolicy has {len(weights)} weights for {self.num_arms} tasks: give one per task")
        self._policy = weights / weights.sum()

    def _learn(self, arm: int, reward: float, probability: float, policy: FloatArray | None) -> None:
        """Ignore the reward."""

    def load_state_dict(self, state: dict[str, Any], arms: Sequence[int | None] | None = None) -> None:
        """Continue where :meth:`state_dict` was taken; with other arms, with the weights that this policy was given.

        Raises:
            ValueError: if the state is of another bandit, or of the same arms and other weights.
        """
        if arms is None or state.get("bandit") != type(self).__name__:
            super().load_state_dict(state)

    def _rearrange(self, arms: list[int | None]) -> None:
        if self._weights is not None:
            kept = [float(self._weights[arm]) for arm in arms if arm is not None]
            if not sum(kept) > 0:
                raise ValueError("FixedPolicy has no weight above 0 for the arms that stay")
            mean = sum(kept) / len(kept)
            self._weights = np.array([mean if arm is None else self._weights[arm] for arm in arms])
        self.num_arms = len(arms)
        self._start()

    def _state(self) -> dict[str, Any]:
        return {"policy": self._policy.tolist()}

    def _load_state(self, state: dict[str, Any]) -> None:
        if state["policy"] != self._policy.tolist():
            raise ValueError(
                "the checkpoint was made with another FixedPolicy: give the same weights, or start the curriculum anew"
            )


def checked_weights(name: str, weights: Sequence[float]) -> FloatArray:
    """Return weights as an array, shape ``(N,)``, or raise if they make no policy."""
    numbers = _numbers(name, weights)
    if not (
        numbers.ndim == 1
        and np.isfinite(numbers).all()
        and (numbers >= 0).all()
        and 0 < sum(numbers.tolist()) < math.inf
    ):
        raise ValueError(f"{name} must be >= 0, not all 0, and their sum finite, got {weights!r}")
    return numbers


def _checked_sizes(sizes: Sequence[float]) -> FloatArray:
    numbers = _numbers("sizes", sizes)
    if not (numbers.size and np.isfinite(numbers).all() and (numbers > 0).all()):
        raise ValueError(f"sizes must be finite and > 0, got {sizes!r}")
    return numbers


def _numbers(name: str, values: Sequence[float]) -> FloatArray:
    try:
        return np.asarray(list(values), dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be one number per task, got {values!r}") from None
