"""Exp3.S: Exp3 whose arms share their weights, so that it follows a best arm that changes."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np

from curricula.bandits.base import FloatArray, check_range
from curricula.bandits.exp3 import Exp3, mix
from curricula.bandits.rates import Rates, exp3s_rates

_log = logging.getLogger(__name__)


def share(weights: FloatArray, alpha: float) -> FloatArray:
    r"""Give a share of every arm's weight to the others (Fixed Share).

    .. math::
        e^{w_i} \leftarrow (1-\alpha)\, e^{w_i} + \frac{\alpha}{N-1} \sum_{j \ne i} e^{w_j}
        \;=\; \Big(1 - \frac{\alpha N}{N-1}\Big) e^{w_i} + \frac{\alpha}{N-1} \sum_j e^{w_j}

    The second form subtracts nothing that could cancel: both terms are non-negative.

    Args:
        weights: shape ``(N,)``, N >= 2, non-negative, *after* the reward was added, all arms from the same moment.
        alpha: share given away, in ``[0, (N - 1) / N]``.

    Returns:
        Shape ``(N,)``, with the same sum.

    Source: Graves et al. 2017, section 2.2; Herbster and Warmuth 1998.
    """
    others = len(weights) - 1
    keep = max(0.0, 1.0 - alpha * (len(weights) / others))
    return weights * keep + float(weights.sum()) * (alpha / others)


class Exp3S(Exp3):
    r"""Exp3.S with additive weight sharing, for rewards whose best arm changes over time.

    .. math::
        w_{t,i} = \log\Big[(1-\alpha_t) e^{v_i} + \frac{\alpha_t}{N-1} \sum_{j\ne i} e^{v_j}\Big], \qquad
        v_i = w_{t-1,i} + \eta\,\frac{r\,\mathbb{1}[i = a] + \beta}{\pi(i)}

    where :math:`\pi` is the epsilon-mixed policy *at the draw* and :math:`\alpha_t = 1/t`, the first one used being
    :math:`\alpha_2 = 1/2` (with :math:`\alpha_1 = 1` the rewarded arm would hand its reward to all the others).

    Args:
        eta: step size, ``> 0``. ``None``: from the number of arms and the horizon
            (:func:`~curricula.bandits.rates.exp3s_rates`).
        epsilon: share of uniform exploration, in ``[0, 1]``. ``None``: with ``eta``.
        beta: optimism added to every arm's reward, ``>= 0``.
        alpha: constant share, in ``[0, (N - 1) / N]``. ``None``: ``1 / t``.
        switches: number of changes of the best arm that the automatic rates assume, at least 1.

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
        switches: int = 4,
    ) -> None:
        super().__init__(eta=eta, epsilon=epsilon, beta=beta)
        self.alpha = None if alpha is None else check_range("alpha", alpha, 0.0, 1.0)
        self.switches = int(check_range("switches", switches, 1, math.inf))
        self._updates = 0

    @classmethod
    def paper(cls) -> Exp3S:
        """Return the constants of all the experiments of Graves et al. 2017: eta 1e-3, epsilon 0.05, beta 0.

        They suit runs of about a million updates; in 5,000 updates they are hardly different from uniform sampling.
        """
        return cls(eta=1e-3, epsilon=0.05, beta=0.0)

    def _rates(self) -> Rates:
        return exp3s_rates(self.num_arms, self.horizon, self.switches)

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

    def _settle(self, log_weights: FloatArray) -> None:
        self._updates += 1
        alpha = 1.0 / (self._updates + 1) if self.alpha is None else self.alpha
        if alpha == 0.0:  # nothing is shared: weights may underflow, log-weights may not
            super()._settle(log_weights)
            return
        weights = np.exp(log_weights - log_weights.max())
        weights = share(weights, alpha)
        weights /= weights.sum()
        self._log_weights = np.log(weights)
        self._policy = mix(weights, self.epsilon)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "updates": self._updates}

    def _load_state(self, state: dict[str, Any]) -> None:
        super()._load_state(state)
        self._updates = int(state["updates"])
