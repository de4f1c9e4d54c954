"""A bandit and a scaler of a user's own, right as they are: what the mutants are made of. Quick to import."""

from __future__ import annotations

import math

import numpy as np

from curricula.bandits import Bandit
from curricula.rewards import RewardScaler


class Averages(Bandit):
    """Softmax of moving averages of the rewards, whose steps become smaller."""

    epsilon = 0.1

    def _start(self):
        self._means = np.zeros(self.num_arms)
        self._updates = 0

    def probabilities(self):
        weights = np.exp(5.0 * self._means)
        return (1 - self.epsilon) * weights / weights.sum() + self.epsilon / self.num_arms

    def _learn(self, arm, reward, probability, policy):
        self._updates += 1
        means = self._means.copy()
        means[arm] += (0.05 + 0.5 / (1 + self._updates)) * (reward - means[arm])
        self._means = means

    def _rearrange(self, arms):
        weights = np.exp(5.0 * self._means)
        mean = np.mean([weights[arm] for arm in arms if arm is not None] or [1.0])
        self._means = np.array([np.log(mean) / 5.0 if arm is None else self._means[arm] for arm in arms])
        self.num_arms = len(arms)

    def _state(self):
        return {"means": self._means.tolist(), "updates": self._updates}

    def _load_state(self, state):
        means, updates = np.array(state["means"], dtype=np.float64), int(state["updates"])
        if means.shape != (self.num_arms,):
            raise ValueError(f"the state has {len(means)} means for {self.num_arms} arms")
        self._means, self._updates = means, updates


class ByTheLargest(RewardScaler):
    """A rate in units of the largest one so far."""

    def __init__(self):
        self.reset()

    def reset(self, seed=0):
        self._largest = 0.0

    def scale(self, rate):
        if not math.isfinite(rate):
            raise ValueError(f"a progress rate must be finite, got {rate}")
        self._largest = max(self._largest, abs(float(rate)))
        return float(rate) / self._largest if self._largest else 0.0

    def state_dict(self):
        return {"scaler": "ByTheLargest", "largest": self._largest}

    def load_state_dict(self, state):
        if state.get("scaler") != "ByTheLargest":
            raise ValueError(f"this is not the state of ByTheLargest: {state}")
        self._largest = float(state["largest"])
