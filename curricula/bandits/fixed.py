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
        self._weights = None if weights is None else _numbers("weights", weights)
        if self._weights is not None and not (
            self._weights.ndim == 1
            and np.isfinite(self._weights).all()
            and (self._weights >= 0).all()
            and 0 < sum(self._weights.tolist()) < math.inf
        ):
            raise ValueError(f"weights must be >= 0, not all 0, and their sum finite, got {weights!r}")
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
        numbers = _numbers("sizes", sizes)
        if not (numbers.size and np.isfinite(numbers).all() and (numbers > 0).all()):
            raise ValueError(f"sizes must be finite and > 0, got {sizes!r}")
        logs = np.log(numbers) / temperature
        return cls(np.exp(logs - logs.max()).tolist())

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


def _numbers(name: str, values: Sequence[float]) -> FloatArray:
    try:
        return np.asarray(list(values), dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be one number per task, got {values!r}") from None
