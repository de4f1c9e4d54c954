"""Exp3.S: Exp3 whose arms share their weights, so that it follows a best arm that changes."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np

from curricula.bandits.base import FloatArray, check_range
from curricula.bandits.exp3 import Exp3, mix
from curricula.bandits.inversion import invert
from curricula.bandits.rates import Rates, curriculum_rates
from curricula.bandits.shared_weights import SharedWeights, share

_log = logging.getLogger(__name__)


class Exp3S(Exp3):
    r"""Exp3.S with additive weight sharing, for rewards whose best arm changes over time.

    .. math::
        w_{t,i} = \log\Big[(1-\alpha_t) e^{v_i} + \frac{\alpha_t}{N-1} \sum_{j\ne i} e^{v_j}\Big], \qquad
        v_i = w_{t-1,i} + \eta\,\frac{r\,\mathbb{1}[i = a] + \beta}{\pi(i)}

    where :math:`\pi` is the epsilon-mixed policy *at the draw* and :math:`\alpha_t = 1/t`, the first one used being
    :math:`\alpha_2 = 1/2` (with :math:`\alpha_1 = 1` the rewarded arm would hand its reward to all the others). A step
    of several draws is one :math:`t`: the fraction is then its mean over the draws, and the weights are shared once.

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
        self._weights = SharedWeights(np.ones(1))
        self._mixed: FloatArray | None = None  # the policy, where somebody asked for it since the last reward

    @classmethod
    def paper(cls) -> Exp3S:
        """Return the constants of all the experiments of Graves et al. 2017: eta 1e-3, epsilon 0.05, beta 0.

        They suit runs of about a million updates; in 5,000 updates they are hardly different from uniform sampling.
        """
        return cls(eta=1e-3, epsilon=0.05, beta=0.0)

    def probabilities(self) -> FloatArray:
        """Return the mixed policy, shape ``(num_arms,)``; every entry at least ``epsilon / num_arms``."""
        if self._mixed is None:
            self._mixed = mix(self._weights.to_array(), self.epsilon)
        return self._mixed

    def probability(self, arm: int) -> float:
        """Return the probability of one arm, the very number that :meth:`probabilities` has for it."""
        return self._weights[arm] * (1.0 - self.epsilon) + self.epsilon / self.num_arms

    def draw(self, rng: np.random.Generator) -> int:
        """Draw an arm by inverting the distribution function with one uniform number."""
        if not self.num_arms or self.needs_policy:
            return super().draw(rng)
        return self._arm_at(rng.random())

    def draw_all(self, rng: np.random.Generator, count: int) -> list[int]:
        """Draw the arms of one step, with one uniform number each."""
        if not self.num_arms or self.needs_policy:
            return super().draw_all(rng, count)
        return [self._arm_at(number) for number in rng.random(count).tolist()]

    def _arm_at(self, number: float) -> int:
        arm = self._weights.find(number, self.epsilon)
        # Without exploration, the number 1 may fall to an arm whose weight has underflowed.
        return arm if self.probability(arm) > 0.0 else invert(self.probabilities(), number)

    def log_weights(self) -> FloatArray:
        """Return the log-weights, shape ``(num_arms,)``, shifted so that their exponentials sum to 1."""
        log_weights: FloatArray = np.log(self._weights.to_array())
        return log_weights

    def _rates(self) -> Rates:
        return curriculum_rates(self.num_arms, self.horizon, self.segments, self.draws_per_step)

    def _start(self) -> None:
        super()._start()
        most = (self.num_arms - 1) / self.num_arms
        if self.alpha is not None and self.num_arms > 1 and self.alpha > most:
            raise ValueError(f"alpha must be at most (N - 1) / N = {most:g} for {self.num_arms} arms, got {self.alpha}")
        if self.num_arms > 1 and self.eta > self._largest_eta() * (1 + 1e-9):
            _log.warning(
                "eta=%g is above %sepsilon / num_arms = %g: one reward can move a log-weight by %.2g, "
                "and the regret bounds of Exp3.S do not hold",
                self.eta,
                f"{self.draws_per_step} * " if self.draws_per_step > 1 else "",
                self._largest_eta(),
                self.eta / self._largest_eta() if self.epsilon else math.inf,
            )
        self._updates = 0

    def _set_equal(self) -> None:
        # exp(log-weight), normalised. What was shared keeps every weight away from 0, so that nothing is lost by not
        # holding the logarithms, and a step costs no transcendental function but one.
        self._set(np.full(self.num_arms, 1.0 / self.num_arms))

    def _set(self, weights: FloatArray) -> None:
        self._weights = SharedWeights(weights)
        self._mixed = None

    def _move(self, steps: dict[int, float], bonus: FloatArray | None) -> None:
        self._updates += 1
        alpha = 1.0 / (self._updates + 1) if self.alpha is None else self.alpha
        if bonus is None:
            self._weights.reward_all(steps, alpha)
            self._mixed = None
        else:
            log_weights = self.log_weights() + bonus
            for arm, step in steps.items():
                log_weights[arm] += step
            self._set(share(np.exp(log_weights - log_weights.max()), alpha))

    def _rearrange(self, arms: list[int | None]) -> None:
        updates = self._updates
        super()._rearrange(arms)
        self._updates = updates

    def _carry(self, log_weights: FloatArray) -> None:
        weights = np.exp(log_weights)
        self._set(weights / weights.sum())

    def _state(self) -> dict[str, Any]:
        return {
            **self._constants(),
            "alpha": self.alpha,
            "updates": self._updates,
            "weights": self._weights.values,
            "scale": self._weights.scale,
            "offset": self._weights.offset,
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        if state["alpha"] != self.alpha:
            raise ValueError(
                f"the checkpoint's bandit has alpha={state['alpha']}, this one {self.alpha}: "
                f"give alpha={state['alpha']}, or start the curriculum anew"
            )
        scale, offset = 1.0, 0.0  # of the first states, which have neither
        if "scale" in state or "offset" in state:
            scale, offset = float(state["scale"]), float(state["offset"])
        self._weights = SharedWeights(self._array(state, "weights"), scale, offset)
        self._mixed = None
        self._load_constants(state)
        self._updates = int(state["updates"])
