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

    def _learn(self, arm, reward, probability, policy):
        if self.num_arms == 1:
            return
        self._updates += 1
        weights = self._rewarded(arm, self._step(reward, probability), policy)
        self._set(share(weights, 1.0 / (self._updates + 1) if self.alpha is None else self.alpha))

    def _rewarded(self, arm, step, policy):
        if policy is not None and self.beta:
            log_weights = self.log_weights() + self._bonus(policy)
            log_weights[arm] += step
            return np.exp(log_weights - log_weights.max())
        if step <= 0.0:
            weights = self._weights.copy()
            weights[arm] *= math.exp(step)
        else:
            weights = self._weights * math.exp(-step)
            weights[arm] = self._weights[arm]
        return weights

    def _state(self):
        return {**self._constants(), "alpha": self.alpha, "updates": self._updates, "weights": self._weights.tolist()}

    def _load_state(self, state):
        self._load_constants(state)
        self._set(np.array(state["weights"]))
        self._updates = state["updates"]
