"""Exp3.S: Exp3 whose arms share their weights, so that it follows a best arm that changes."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np

from curricula.bandits.base import FloatArray, check_range
from curricula.bandits.exp3 import Exp3, mix
from curricula.bandits.rates import Rates, curriculum_rates

_log = logging.getLogger(__name__)


def share(weights: FloatArray, alpha: float) -> FloatArray:
    r"""Normalise the weights and give a share of each to the others (Fixed Share).

    .. math::
        q_i \leftarrow (1-\alpha)\, q_i + \frac{\alpha}{N-1} \sum_{j \ne i} q_j
        \;=\; \Big(1 - \frac{\alpha N}{N-1}\Big) q_i + \frac{\alpha}{N-1}

    where :math:`q` are the normalised weights. The second form subtracts nothing that could cancel: both terms are
    non-negative.

    Args:
        weights: shape ``(N,)``, N >= 2, non-negative, *after* the reward was added, all arms from the same moment.
        alpha: share given away, in ``[0, (N - 1) / N]``.

    Returns:
        Shape ``(N,)``, sums to 1, every entry at least ``alpha / (N - 1)`` times the weight of the others.

    Source: Graves et al. 2017, section 2.2; Herbster and Warmuth 1998.
    """
    others = len(weights) - 1
    keep = max(0.0, 1.0 - alpha * (len(weights) / others))
    shared: FloatArray = weights * (keep / np.add.reduce(weights))
    shared += alpha / others
    return shared


class Exp3S(Exp3):
    r"""Exp3.S with additive weight sharing, for rewards whose best arm changes over time.

    .. math::
        w_{t,i} = \log\Big[(1-\alpha_t) e^{v_i} + \frac{\alpha_t}{N-1} \sum_{j\ne i} e^{v_j}\Big], \qquad
        v_i = w_{t-1,i} + \eta\,\frac{r\,\mathbb{1}[i = a] + \beta}{\pi(i)}

    where :math:`\pi` is the epsilon-mixed policy *at the draw* and :math:`\alpha_t = 1/t`, the first one used being
    :math:`\alpha_2 = 1/2` (with :math:`\alpha_1 = 1` the rewarded arm would hand its reward to all the others).

    Args:
        eta: step size, ``> 0``. ``None``: from the number of arms and the horizon
            (:func:`~curricula.bandits.rates.curriculum_rates`).
        epsilon: share of uniform exploration, in ``[0, 1]``. ``None``: with ``eta``. A small one makes an automatic
            ``eta`` smaller.
        beta: optimism added to every arm's reward, ``>= 0``.
        alpha: constant share, in ``(0, (N - 1) / N]``; without sharing it would be :class:`Exp3`. ``None``: ``1 / t``.
        segments: number of stretches with one best arm each that the automatic rates assume, at least 1.

    Raises:
        ValueError: if an option is out of its range; at :meth:`reset`, if ``alpha`` is too large for so few arms.

    Source: Graves et al. 2017, section 2.2; Auer et al. 2002, section 8.

    Example:
        >>> bandit = Exp3S()
        >>> bandit.reset(num_arms=8, horizon=5000)
        >>> bandit.eta <= bandit.epsilon / 8
        True
        >>> bandit.update(2, reward=1.0, probability=1 / 8)
        >>> int(bandit.probabilities().argmax())
        2
    """

    def __init__(
        self,
        *,
        eta: float | None = None,
        epsilon: float | None = None,
        beta: float = 0.0,
        alpha: float | None = None,
        segments: int = 4,
    ) -> None:
        super().__init__(eta=eta, epsilon=epsilon, beta=beta)
        self.alpha = None if alpha is None else check_range("alpha", alpha, 0.0, 1.0, open_low=True)
        self.segments = int(check_range("segments", segments, 1, math.inf))
        self._updates = 0
        self._weights: FloatArray = np.zeros(0)

    @classmethod
    def paper(cls) -> Exp3S:
        """Return the constants of all the experiments of Graves et al. 2017: eta 1e-3, epsilon 0.05, beta 0.

        They suit runs of about a million updates; in 5,000 updates they are hardly different from uniform sampling.
        """
        return cls(eta=1e-3, epsilon=0.05, beta=0.0)

    def log_weights(self) -> FloatArray:
        """Return the log-weights, shape ``(num_arms,)``, shifted so that their exponentials sum to 1."""
        log_weights: FloatArray = np.log(self._weights)
        return log_weights

    def _rates(self) -> Rates:
        return curriculum_rates(self.num_arms, self.horizon, self.segments)

    def _start(self) -> None:
        super()._start()
        most = (self.num_arms - 1) / self.num_arms
        if self.alpha is not None and self.num_arms > 1 and self.alpha > most:
            raise ValueError(f"alpha must be at most (N - 1) / N = {most:g} for {self.num_arms} arms, got {self.alpha}")
        if self.num_arms > 1 and self.eta * self.num_arms > self.epsilon * (1 + 1e-9):
            _log.warning(
                "eta=%g is above epsilon / num_arms = %g: one reward can move a log-weight by %.2g, "
                "and the regret bounds of Exp3.S do not hold",
                self.eta,
                self.epsilon / self.num_arms,
                self.eta * self.num_arms / self.epsilon if self.epsilon else math.inf,
            )
        self._updates = 0
        # exp(log-weight), normalised. What was shared keeps every weight away from 0, so that nothing is lost by not
        # holding the logarithms, and a step costs no transcendental function but one.
        self._weights = np.full(self.num_arms, 1.0 / self.num_arms)

    def _learn(self, arm: int, reward: float, probability: float, policy: FloatArray | None) -> None:
        if self.num_arms == 1:
            return
        self._updates += 1
        weights = self._rewarded(arm, self._step(reward, probability), policy)
        self._weights = share(weights, 1.0 / (self._updates + 1) if self.alpha is None else self.alpha)
        self._policy = mix(self._weights, self.epsilon)

    def _rewarded(self, arm: int, step: float, policy: FloatArray | None) -> FloatArray:
        """Return weights, up to a common factor, after the log-weight of ``arm`` moved by ``step``."""
        if policy is not None and self.beta:
            log_weights = self.log_weights() + self._bonus(policy)
            log_weights[arm] += step
            raised: FloatArray = np.exp(log_weights - log_weights.max())
            return raised
        # Only downwards: exp of a large step would overflow, and a common factor is free.
        if step <= 0.0:
            weights: FloatArray = self._weights.copy()
            weights[arm] *= math.exp(step)
        else:
            weights = self._weights * math.exp(-step)
            weights[arm] = self._weights[arm]
        return weights

    def _rearrange(self, arms: list[int | None]) -> None:
        updates = self._updates
        super()._rearrange(arms)
        self._updates = updates

    def _carry(self, log_weights: FloatArray) -> None:
        weights = np.exp(log_weights)
        self._weights = weights / weights.sum()
        self._policy = mix(self._weights, self.epsilon)

    def _state(self) -> dict[str, Any]:
        return {**self._constants(), "alpha": self.alpha, "updates": self._updates, "weights": self._weights.tolist()}

    def _load_state(self, state: dict[str, Any]) -> None:
        if state["alpha"] != self.alpha:
            raise ValueError(
                f"the checkpoint's bandit has alpha={state['alpha']}, this one {self.alpha}: "
                f"give alpha={state['alpha']}, or start the curriculum anew"
            )
        self._weights = self._array(state, "weights")
        self._load_constants(state)
        self._updates = int(state["updates"])
        self._policy = mix(self._weights, self.epsilon)
