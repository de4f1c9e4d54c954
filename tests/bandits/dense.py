"""Exp3.S over all arms at once: every weight is written out at every step, as the equations are."""

from __future__ import annotations

import math

import numpy as np

from curricula.bandits import Exp3S
from curricula.bandits.base import Bandit
from curricula.bandits.exp3 import mix
from curricula.bandits.shared_weights import share


class DenseExp3S(Exp3S):
    """The same bandit without the tree, to compare with and to make mutants of."""

    def probabilities(self):
        return self._policy

    def probability(self, arm):
        return float(self._policy[arm])

    def draw(self, rng):
        return Bandit.draw(self, rng)

    def log_weights(self):
        return np.log(self._weights)

    def _set(self, weights):
        self._weights = weights
        self._policy = mix(weights, self.epsilon)

    def _move(self, steps, bonus):
        self._updates += 1
        weights = self._rewarded(steps, bonus)
        self._set(share(weights, 1.0 / (self._updates + 1) if self.alpha is None else self.alpha))

    def _rewarded(self, steps, bonus):
        log_steps = np.zeros(self.num_arms) if bonus is None else bonus.copy()
        for arm, step in steps.items():
            log_steps[arm] += step
        if bonus is not None:
            log_weights = self.log_weights() + log_steps
            return np.exp(log_weights - log_weights.max())
        most = max(log_steps)  # 0 for arms that do not move
        weights = self._weights * math.exp(-most) if most > 0.0 else self._weights.copy()
        for arm in steps:
            weights[arm] = self._weights[arm] * math.exp(log_steps[arm] - most)
        return weights

    def _state(self):
        return {**self._constants(), "alpha": self.alpha, "updates": self._updates, "weights": self._weights.tolist()}

    def _load_state(self, state):
        self._load_constants(state)
        self._set(np.array(state["weights"]))
        self._updates = state["updates"]
