"""OnlineDataMixing: exponential weights of an unbiased moving average of what every task would have earned."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from curricula.bandits.base import Bandit, FloatArray, check_range
from curricula.bandits.exp3 import mix
from curricula.bandits.pulls import Pull, merged
from curricula.bandits.values import choose, of_arms


class OnlineDataMixing(Bandit):
    r"""Online Data Mixing, with an estimator that is unbiased.

    .. math::
        \pi(i) = (1-\epsilon_t) \frac{e^{\hat R_i / \tau}}{\sum_j e^{\hat R_j / \tau}} + \frac{\epsilon_t}{N}, \qquad
        \hat R_a \leftarrow \hat R_a + \frac{\rho}{\pi(a)} (r - \hat R_a), \qquad
        \epsilon_t = \max\Big(\epsilon, \min\Big(1, \sqrt{\tfrac{N \ln N}{t}}\Big)\Big)

    Two things differ from the paper, whose exploration it is.

    * The paper averages :math:`r / \pi(a)` in :math:`\hat R_a` *when the task was drawn*, and leaves the others as they
      are. Its expectation then tends to :math:`r_a / \pi(a)`, not to :math:`r_a`: of two tasks that earn the same, the
      one that is drawn less often looks better, by as much as it is drawn less often. Dividing by the probability is
      right only where a task that was not drawn counts as well. Here the *step* towards the reward is divided, so that
      on average over the draws every task moves by :math:`\rho (r_i - \hat R_i)`, whatever the policy is:
      :math:`E\,\hat R_i` is the moving average of all rewards that the task could have earned, exactly.
    * The paper multiplies :math:`\hat R` by :math:`\epsilon_{t-1} / N`, which tends to 0, while :math:`\hat R`, an
      average, does not grow: the policy tends to the uniform one. Here it is divided by a constant temperature.

    With :math:`\rho \le \epsilon / N` no step is above 1 and all estimates stay in ``[-1, 1]``. A draw with a smaller
    probability than :math:`\rho`, which the bandit itself never makes, counts as one with :math:`\rho`. The paper's
    reward is the loss of the batch. A step takes time in proportion to the number of tasks.

    Args:
        epsilon: least share of uniform exploration, in ``(0, 1]``.
        temperature: :math:`\tau`, ``> 0``.
        rate: :math:`\rho`, of the moving average, in ``(0, epsilon / N]``. ``None``: :math:`\epsilon / N`.

    Raises:
        ValueError: if an option is out of its range; at :meth:`reset`, if the rate is above ``epsilon / num_arms``.

    Source: Albalak et al. 2023 (arXiv:2312.02406).

    Example:
        >>> bandit = OnlineDataMixing(epsilon=0.1, temperature=0.1)
        >>> bandit.reset(num_arms=2)
        >>> bandit.update(0, reward=1.0, probability=0.5)
        >>> bandit.estimates().tolist()  # 0.05 / 0.5 of the way
        [0.1, 0.0]
    """

    def __init__(self, *, epsilon: float = 0.1, temperature: float = 0.2, rate: float | None = None) -> None:
        self.least_epsilon = check_range("epsilon", epsilon, 0.0, 1.0, open_low=True)
        self.temperature = check_range("temperature", temperature, 0.0, math.inf, open_low=True)
        self._given_rate = None if rate is None else check_range("rate", rate, 0.0, 1.0, open_low=True)
        self.rate = math.nan
        """Rate in force; known after :meth:`reset`."""
        self._updates = 0
        self._estimates: FloatArray = np.zeros(0)
        self._policy: FloatArray = np.zeros(0)

    @property
    def epsilon(self) -> float:
        r"""Share of uniform exploration now, :math:`\epsilon_t`; known after :meth:`reset`."""
        if not self.num_arms:
            return math.nan
        falling = math.sqrt(self.num_arms * math.log(self.num_arms) / (self._updates + 1))
        return max(self.least_epsilon, min(1.0, falling))

    def probabilities(self) -> FloatArray:
        """Return the policy, shape ``(num_arms,)``; every entry at least ``epsilon / num_arms``."""
        return self._policy

    def estimates(self) -> FloatArray:
        """Return a copy of the estimated rewards, shape ``(num_arms,)``, in ``[-1, 1]``."""
        estimates: FloatArray = self._estimates.copy()
        return estimates

    def describe(self) -> str:
        """Return one line with the constants in force."""
        return (
            f"{type(self).__name__}(epsilon={self.least_epsilon:g}, temperature={self.temperature:g}, "
            f"rate={self.rate:.3g}; {self.num_arms} arms)"
        )

    def _start(self) -> None:
        self._updates = 0
        self._set_rate()
        self._go_on_with(np.zeros(self.num_arms))

    def _set_rate(self) -> None:
        largest = self.least_epsilon / self.num_arms
        self.rate = largest if self._given_rate is None else self._given_rate
        if self.rate > largest:
            raise ValueError(
                f"rate must be at most epsilon / number of tasks = {largest:g}, got {self.rate:g}: "
                "leave it out, or raise epsilon"
            )

    def _go_on_with(self, estimates: FloatArray) -> None:
        self._estimates = estimates
        self._policy = mix(choose(estimates, self.temperature), self.epsilon)

    def _learn(self, arm: int, reward: float, probability: float, policy: FloatArray | None) -> None:
        self._learn_step({arm: (reward, probability)})

    def _learn_all(self, pulls: list[Pull], draws: int) -> None:
        self._learn_step({pull.arm: (pull.reward, pull.probability) for pull in merged(pulls, draws)})

    def _learn_step(self, earned: dict[int, tuple[float, float]]) -> None:
        self._updates += 1
        estimates = self._estimates
        for arm, (reward, probability) in earned.items():
            part = self.rate / max(self.rate, probability)
            estimates[arm] = (1.0 - part) * estimates[arm] + part * reward
        self._go_on_with(estimates)

    def _rearrange(self, arms: list[int | None]) -> None:
        kept = np.array([self._estimates[arm] for arm in arms if arm is not None]) / self.temperature
        mean = self.temperature * (float(np.logaddexp.reduce(kept)) - math.log(len(kept))) if len(kept) else 0.0
        estimates = np.array([mean if arm is None else self._estimates[arm] for arm in arms])
        self.num_arms = len(arms)
        self._set_rate()
        self._go_on_with(estimates)

    def _state(self) -> dict[str, Any]:
        return {"estimates": self._estimates.tolist(), "updates": self._updates}

    def _load_state(self, state: dict[str, Any]) -> None:
        self._updates = state["updates"]
        self._go_on_with(np.array(of_arms(state, "estimates"), dtype=np.float64))
