"""The bandit equations of Graves et al. 2017, section 2, written out once more at 30 digits.

Independent on purpose: nothing here is imported from ``curricula``, weights are never shifted, the sharing is the
printed sum over the *other* arms, and the time index is the printed one. It is slow and obvious.
"""

from __future__ import annotations

from collections.abc import Sequence

import mpmath

DIGITS = 30


class Reference:
    """Exp3 (``shared=False``) or Exp3.S, with every symbol as printed.

    ``alpha`` is the constant share, or ``None`` for the printed ``1 / t``.
    """

    def __init__(
        self,
        num_arms: int,
        *,
        eta: float,
        epsilon: float,
        beta: float = 0.0,
        alpha: float | None = None,
        shared: bool = True,
    ) -> None:
        self.mp = mpmath.mp.clone()
        self.mp.dps = DIGITS
        self.num_arms = num_arms
        self.eta = self.mp.mpf(eta)
        self.epsilon = self.mp.mpf(epsilon)
        self.beta = self.mp.mpf(beta)
        self.alpha = alpha
        self.shared = shared
        self.t = 1
        self.w = [self.mp.mpf(0)] * num_arms  # w_{1,i} = 0

    def softmax(self) -> list[mpmath.mpf]:
        """exp(w_i) / sum_j exp(w_j)."""
        weights = [self.mp.exp(w) for w in self.w]
        total = self.mp.fsum(weights)
        return [weight / total for weight in weights]

    def policy(self) -> list[mpmath.mpf]:
        """pi(i) = (1 - epsilon) softmax(w)_i + epsilon / N."""
        return [(1 - self.epsilon) * p + self.epsilon / self.num_arms for p in self.softmax()]

    def log_weights(self) -> list[mpmath.mpf]:
        """The log-weights, shifted so that their exponentials sum to 1."""
        return [self.mp.log(p) for p in self.softmax()]

    def update(self, arm: int, reward: float, probability: float, policy: Sequence[float] | None = None) -> None:
        """w_{t,i} = log[(1 - alpha_t) exp v_i + alpha_t / (N - 1) sum_{j != i} exp v_j]."""
        arms = range(self.num_arms)
        v = list(self.w)
        for i in arms:
            pi = probability if i == arm else None if policy is None else policy[i]
            numerator = (self.mp.mpf(reward) if i == arm else 0) + self.beta
            if numerator:
                v[i] += self.eta * numerator / self.mp.mpf(pi)
        self._end_step(v)

    def update_all(self, pulls: Sequence[tuple[int, float, float]], draws: int) -> None:
        """v_i = w_i + eta / B sum_b r_b 1[a_b = i] / pi_b(i) (there is no beta here); then one sharing."""
        v = list(self.w)
        for i in range(self.num_arms):
            earned = [self.mp.mpf(reward) / self.mp.mpf(pi) for arm, reward, pi in pulls if arm == i]
            v[i] += self.eta * self.mp.fsum(earned) / draws
        self._end_step(v)

    def _end_step(self, v: list[mpmath.mpf]) -> None:
        arms = range(self.num_arms)
        self.t += 1  # w_1 is where it starts: the first weights that this recursion makes are w_2
        if not self.shared:
            self.w = v
            return
        alpha = self.mp.mpf(1) / self.t if self.alpha is None else self.mp.mpf(self.alpha)
        e = [self.mp.exp(value) for value in v]
        self.w = [
            self.mp.log((1 - alpha) * e[i] + alpha / (self.num_arms - 1) * self.mp.fsum(e[j] for j in arms if j != i))
            for i in arms
        ]
