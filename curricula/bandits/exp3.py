"""Exp3: exponential weights with importance-weighted rewards."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from curricula.bandits.base import Bandit, FloatArray, check_range
from curricula.bandits.pulls import Pull
from curricula.bandits.rates import Rates, exp3_rates

_LEAST = 1e-300
_MOST = 1e300
"""Bounds of what is divided by and of one step: beyond them a division overflows, and infinities make NaNs."""


def mix(shares: FloatArray, epsilon: float) -> FloatArray:
    r"""Mix a policy with the uniform one.

    .. math:: \pi(i) = (1 - \epsilon)\, p_i + \epsilon / N

    Args:
        shares: shape ``(N,)``, sums to 1.
        epsilon: in ``[0, 1]``.

    Returns:
        Shape ``(N,)``, sums to 1, every entry at least ``epsilon / N``.

    Source: Graves et al. 2017, section 2.2.
    """
    policy: FloatArray = shares * (1.0 - epsilon)
    policy += epsilon / len(shares)
    return policy


def mean(bonuses: list[FloatArray], draws: int) -> FloatArray:
    """Return the mean over the draws of a step, whose order does not matter; those that are left out are 0."""
    total: FloatArray = np.sort(np.stack(bonuses), axis=0).sum(axis=0)
    return total / draws


class Exp3(Bandit):
    r"""Exp3 in log space, with uniform exploration.

    .. math::
        \pi(i) = (1-\epsilon)\frac{e^{w_i}}{\sum_j e^{w_j}} + \frac{\epsilon}{N}, \qquad
        w_i \leftarrow w_i + \eta\,\frac{r\,\mathbb{1}[i = a] + \beta}{\pi(i)}

    The arm ``a`` was drawn with probability :math:`\pi(a)`. A step of several draws moves the log-weights once, by the
    mean of what each draw would. It converges to the best *single* arm; for a curriculum, where the best arm changes,
    use :class:`~curricula.bandits.Exp3S`.

    Args:
        eta: step size of the log-weights, ``> 0``. ``None``: from the number of arms and the horizon
            (:func:`~curricula.bandits.rates.exp3_rates`).
        epsilon: share of uniform exploration, in ``[0, 1]``; 0 is the form of Graves et al. ``None``: with ``eta``. A
            small one makes an automatic ``eta`` smaller.
        beta: optimism added to every arm's reward, ``>= 0``. Above 0 the policy at the draw must be kept.

    Source: Graves et al. 2017, section 2.1; Auer, Cesa-Bianchi, Freund and Schapire 2002, section 3.

    Example:
        >>> bandit = Exp3(eta=0.1, epsilon=0.05)
        >>> bandit.reset(num_arms=2)
        >>> bandit.update(0, reward=1.0, probability=0.5)
        >>> bandit.probabilities().round(3).tolist()
        [0.547, 0.453]
    """

    def __init__(self, *, eta: float | None = None, epsilon: float | None = None, beta: float = 0.0) -> None:
        self._given_eta = None if eta is None else check_range("eta", eta, 0.0, math.inf, open_low=True)
        self._given_epsilon = None if epsilon is None else check_range("epsilon", epsilon, 0.0, 1.0)
        self.beta = check_range("beta", beta, 0.0, math.inf)
        self.needs_policy = self.beta > 0.0
        self._log_weights: FloatArray = np.zeros(0)
        self._policy: FloatArray = np.zeros(0)
        self.eta = math.nan
        """Step size in force; known after :meth:`reset`."""
        self.epsilon = math.nan
        """Exploration in force; known after :meth:`reset`."""

    def probabilities(self) -> FloatArray:
        """Return the mixed policy, shape ``(num_arms,)``; every entry at least ``epsilon / num_arms``."""
        return self._policy

    def log_weights(self) -> FloatArray:
        """Return a copy of the log-weights, shape ``(num_arms,)``, shifted so that their exponentials sum to 1."""
        log_weights: FloatArray = self._log_weights.copy()
        return log_weights

    def describe(self) -> str:
        """Return one line with the constants in force."""
        several = f", {self.draws_per_step} draws a step" if self.draws_per_step > 1 else ""
        return (
            f"{type(self).__name__}(eta={self.eta:.3g}, epsilon={self.epsilon:.3g}, beta={self.beta:.3g}; "
            f"{self.num_arms} arms, horizon {self.horizon}{several})"
        )

    def _rates(self) -> Rates:
        return exp3_rates(self.num_arms, self.horizon, self.draws_per_step)

    def _start(self) -> None:
        rates = self._rates()
        self.epsilon = rates.epsilon if self._given_epsilon is None else self._given_epsilon
        if self._given_eta is not None:
            self.eta = self._given_eta
        else:  # an exploration set by hand must still bound the step
            self.eta = min(rates.eta, self._largest_eta()) if self.epsilon else rates.eta
        self._set_equal()

    def _largest_eta(self) -> float:
        """Return the step size at which one draw can move a log-weight by 1."""
        return self.draws_per_step * (self.epsilon / self.num_arms)

    @property
    def least_probability(self) -> float:
        """Probability at which a reward of 1 moves a log-weight by 1, in ``[0, 1]``."""
        return min(1.0, self.eta / self.draws_per_step)

    def _set_equal(self) -> None:
        """Give all arms the same weight."""
        self._log_weights = np.full(self.num_arms, -math.log(self.num_arms))
        self._policy = np.full(self.num_arms, 1.0 / self.num_arms)

    def _learn(self, arm: int, reward: float, probability: float, policy: FloatArray | None) -> None:
        if self.num_arms > 1:
            bonus = self._bonus(policy) if policy is not None and self.beta else None
            self._move({arm: self._step(reward, probability)}, bonus)

    def _learn_all(self, pulls: list[Pull], draws: int) -> None:
        if self.num_arms > 1:
            bonuses = [self._bonus(pull.policy) for pull in pulls if pull.policy is not None] if self.beta else []
            self._move(self._steps(pulls, draws), mean(bonuses, draws) if bonuses else None)

    def _move(self, steps: dict[int, float], bonus: FloatArray | None) -> None:
        """Make one update.

        Args:
            steps: by how much the log-weights of the drawn arms move, by arm, which come in their order.
            bonus: by how much ``beta`` raises all of them, shape ``(num_arms,)``.
        """
        log_weights = self._log_weights
        for arm, step in steps.items():
            log_weights[arm] += step
        if bonus is not None:
            log_weights += bonus
        log_weights -= log_weights.max()
        weights = np.exp(log_weights)
        total = float(weights.sum())
        log_weights -= math.log(total)
        self._policy = mix(weights / total, self.epsilon)

    def _steps(self, pulls: list[Pull], draws: int) -> dict[int, float]:
        """Return the mean over the draws of a step of what each moves, by arm, which come in their order."""
        of_arm: dict[int, list[float]] = {}
        for pull in pulls:
            of_arm.setdefault(int(pull.arm), []).append(self._step(pull.reward, pull.probability))
        return {arm: math.fsum(of_arm[arm]) / draws for arm in sorted(of_arm)}  # exact: their order does not matter

    def _step(self, reward: float, probability: float) -> float:
        """Return by how much the log-weight of the drawn arm moves by one draw."""
        return max(-_MOST, min(_MOST, self.eta * reward / probability))

    def _bonus(self, policy: FloatArray) -> FloatArray:
        """Return by how much ``beta`` raises the log-weights, shape ``(num_arms,)``."""
        # Without exploration the probability of an arm that was not drawn may have underflowed to 0.
        bonus: FloatArray = np.minimum(_MOST, self.eta * self.beta / np.maximum(_LEAST, policy))
        return bonus

    def _rearrange(self, arms: list[int | None]) -> None:
        log_weights = self.log_weights()
        kept = [arm for arm in arms if arm is not None]
        mean = float(np.logaddexp.reduce(log_weights[kept])) - math.log(len(kept)) if kept else 0.0
        carried = np.array([mean if arm is None else log_weights[arm] for arm in arms])
        self.num_arms = len(arms)
        self._start()
        self._carry(carried - np.logaddexp.reduce(carried))

    def _carry(self, log_weights: FloatArray) -> None:
        """Go on with these log-weights, the exponentials of which sum to 1."""
        self._log_weights = log_weights
        self._policy = mix(np.exp(log_weights), self.epsilon)

    def _state(self) -> dict[str, Any]:
        return {**self._constants(), "log_weights": self._log_weights.tolist(), "policy": self._policy.tolist()}

    def _load_state(self, state: dict[str, Any]) -> None:
        self._log_weights = self._array(state, "log_weights")
        self._policy = self._array(state, "policy")
        self._load_constants(state)

    def _constants(self) -> dict[str, Any]:
        return {"eta": self.eta, "epsilon": self.epsilon, "beta": self.beta}

    def _load_constants(self, state: dict[str, Any]) -> None:
        if state["beta"] != self.beta:
            raise ValueError(
                f"the checkpoint's bandit has beta={state['beta']}, this one {self.beta}: "
                f"give beta={state['beta']}, or start the curriculum anew"
            )
        # The run goes on with the constants it began with, except those that the user sets by hand now.
        if self._given_eta is None:
            self.eta = float(state["eta"])
        if self._given_epsilon is None:
            self.epsilon = float(state["epsilon"])

    def _array(self, state: dict[str, Any], key: str) -> FloatArray:
        values = np.array(state[key], dtype=np.float64)
        if values.shape != (self.num_arms,):
            raise ValueError(f"the state is of {self.num_arms} arms, but has {values.size} {key}: it is damaged")
        return values
