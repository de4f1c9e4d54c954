"""Boltzmann: moving averages of the rewards, exponentials of them, times a prior."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from curricula.bandits.base import FloatArray, check_range
from curricula.bandits.exp3 import mix
from curricula.bandits.fixed import checked_weights
from curricula.bandits.values import AveragingBandit, choose, of_arms


class Boltzmann(AveragingBandit):
    r"""Boltzmann exploration around a prior.

    .. math:: Q_a \leftarrow \rho\, r + (1-\rho)\, Q_a, \qquad \pi(i) \propto p_i\, e^{Q_i / \tau}

    With equal values it is the prior :math:`p`. Values in ``[-1, 1]`` change the ratio of two tasks by a factor of at
    most :math:`e^{2 / \tau}`. The prior is not learned: a state is continued with the prior that is given now, and with
    its own where none is given.

    Args:
        rate: :math:`\rho`, in ``(0, 1]``.
        temperature: :math:`\tau`, ``> 0``. Larger ones stay nearer to the prior.
        prior: one weight per task, in the order of the tasks, ``> 0``; they are normalised. ``None``: uniform.
        epsilon: share of uniform exploration, in ``[0, 1]``.

    Raises:
        ValueError: if an option is out of its range; at :meth:`reset`, if there are not as many weights as arms.

    Source: Chen et al. 2025, SEC (arXiv:2505.14970), without a prior, rewarded by the mean absolute advantage; Shin et
    al. 2025, DynamixSFT (arXiv:2508.12116), with the proportions of the data for a prior, rewarded by the fall of the
    loss.

    Example:
        >>> bandit = Boltzmann(prior=[3, 1], temperature=0.5, rate=1.0)
        >>> bandit.reset(num_arms=2)
        >>> bandit.probabilities().tolist()
        [0.75, 0.25]
        >>> bandit.update(1, reward=math.log(3.0) / 2, probability=0.25)
        >>> bandit.probabilities().round(3).tolist()
        [0.5, 0.5]
    """

    def __init__(
        self,
        *,
        rate: float = 0.1,
        temperature: float = 0.2,
        prior: Sequence[float] | None = None,
        epsilon: float = 0.0,
    ) -> None:
        check_range("temperature", temperature, 0.0, math.inf, open_low=True)
        super().__init__(rate=rate, epsilon=epsilon, temperature=temperature)
        self._given_prior = None if prior is None else _checked_prior(prior)
        self._prior: FloatArray = np.zeros(0)

    @property
    def prior(self) -> FloatArray:
        """The prior in force, a copy, shape ``(num_arms,)``, sums to 1; known after :meth:`reset`."""
        prior: FloatArray = self._prior.copy()
        return prior

    def describe(self) -> str:
        """Return one line with the constants in force."""
        prior = "uniform prior" if self._given_prior is None else "prior by hand"
        return (
            f"{type(self).__name__}(rate={self.rate:g}, temperature={self.temperature:g}, epsilon={self.epsilon:g}, "
            f"{prior}; {self.num_arms} arms)"
        )

    def _choose(self, arms: np.ndarray) -> FloatArray:
        weights = self._prior[arms] * choose(self._values[arms], self.temperature)
        return mix(weights / weights.sum(), self.epsilon)

    def _start(self) -> None:
        super()._start()
        prior = np.ones(self.num_arms) if self._given_prior is None else self._given_prior
        if len(prior) != self.num_arms:
            raise ValueError(f"Boltzmann has a prior of {len(prior)} weights for {self.num_arms} tasks: {_ONE_EACH}")
        self._prior = prior / prior.sum()

    def load_state_dict(self, state: dict[str, Any], arms: Sequence[int | None] | None = None) -> None:
        """Continue where :meth:`state_dict` was taken, with the prior that this bandit was given, if it was.

        Raises:
            ValueError: if the state is of another bandit, or the prior given is not of as many arms.
        """
        given = self._given_prior
        now = state.get("num_arms") if arms is None else len(arms)
        if given is not None and len(given) != now:
            raise ValueError(f"Boltzmann has a prior of {len(given)} weights for {now} tasks: {_ONE_EACH}")
        self._given_prior = None
        try:
            super().load_state_dict(state, arms)
        finally:
            self._given_prior = given
        if given is not None:
            self._prior = given / given.sum()

    def _rearrange(self, arms: list[int | None]) -> None:
        kept = [self._prior[arm] for arm in arms if arm is not None]
        mean = math.fsum(kept) / len(kept) if kept else 1.0
        prior = np.array([mean if arm is None else self._prior[arm] for arm in arms])
        if self._given_prior is not None:
            self._given_prior = prior
        self._prior = prior / prior.sum()
        super()._rearrange(arms)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "prior": self._prior.tolist()}

    def _load_state(self, state: dict[str, Any]) -> None:
        super()._load_state(state)
        self._prior = np.array(of_arms(state, "prior"), dtype=np.float64)


_ONE_EACH = "give one per task"


def _checked_prior(prior: Sequence[float]) -> FloatArray:
    weights = checked_weights("prior", prior)
    if not (weights > 0.0).all():
        raise ValueError(f"prior must be > 0 for every task, got {prior!r}: remove a task that is not to be drawn")
    return weights
