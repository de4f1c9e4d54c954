"""Bandits that choose by an estimate of what each arm earns, its value, and not by importance-weighted sums."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from curricula.bandits.base import Bandit, FloatArray, check_range
from curricula.bandits.exp3 import mix
from curricula.bandits.pulls import Pull, merged
from curricula.checks import check_flags


def choose(values: FloatArray, temperature: float) -> FloatArray:
    r"""Return the policy that values make.

    .. math:: p_i \propto e^{v_i / \tau}; \qquad \tau = 0:\quad p_i = 1 / M \text{ for the } M \text{ largest values}

    Args:
        values: shape ``(N,)``; for a temperature of 0 they may be infinite.
        temperature: :math:`\tau`, ``>= 0``.

    Returns:
        Shape ``(N,)``, sums to 1.

    Example:
        >>> choose(np.array([0.5, 0.1, 0.5]), 0.0).tolist()
        [0.5, 0.0, 0.5]
    """
    above = values == values.max() if temperature == 0.0 else np.exp((values - values.max()) / temperature)
    policy: FloatArray = above / above.sum()
    return policy


class ValueBandit(Bandit):
    """What such bandits have in common. A subclass says what a step teaches and what the values are.

    The rewards of a task are averaged as they come, and neither divided by the probability of the draw nor moved by
    draws of other tasks; so it does not matter how late they come. A step with several draws of a task is one reward
    of it, their mean.

    A policy of probabilities 0 and 1 is a policy like others: the probability of its draw is 1, and tasks of the same
    value share the draw evenly. All draws that are made before the next reward, those of a step and those that run
    ahead of the training, are then of the same task. A task whose progress is never finite keeps its value, and where
    that is the largest, it is drawn again and again: remove it.

    Args:
        epsilon: share of uniform exploration, in ``[0, 1]``.
        temperature: of the choice by value, ``>= 0``; 0 chooses the largest.
        absolute: choose by the absolute values.
    """

    def __init__(self, *, epsilon: float = 0.0, temperature: float = 0.0, absolute: bool = False) -> None:
        self.epsilon = check_range("epsilon", epsilon, 0.0, 1.0)
        self.temperature = check_range("temperature", temperature, 0.0, math.inf)
        check_flags(absolute=absolute)
        self.absolute = absolute
        self._policy: FloatArray | None = None  # where somebody asked for it since the last reward

    @abstractmethod
    def values(self) -> FloatArray:
        """Return the value of each arm, shape ``(num_arms,)``."""

    def probabilities(self) -> FloatArray:
        """Return the policy, shape ``(num_arms,)``."""
        if self._policy is None:
            self._policy = self._choose(np.arange(self.num_arms))
        return self._policy

    def probabilities_among(self, arms: Sequence[int]) -> FloatArray:
        """Return the policy where only some arms can be drawn: the choice among them, as if there were no others."""
        policy = np.zeros(self.num_arms)
        policy[arms] = self._choose(np.asarray(arms))
        return policy

    def _choose(self, arms: np.ndarray) -> FloatArray:
        """Return the policy over these arms alone, shape ``(len(arms),)``."""
        values = self.values()[arms]
        return mix(choose(np.abs(values) if self.absolute else values, self.temperature), self.epsilon)

    def reset(self, num_arms: int, horizon: int | None = None) -> None:
        """Forget everything and start with ``num_arms`` arms, as :meth:`Bandit.reset` does."""
        super().reset(num_arms, horizon)
        self._policy = None

    def load_state_dict(self, state: dict[str, Any], arms: Sequence[int | None] | None = None) -> None:
        """Continue where :meth:`state_dict` was taken. Options are those that this bandit was made with."""
        super().load_state_dict(state, arms)
        self._policy = None

    def rearrange(self, arms: Sequence[int | None]) -> None:
        """Change the arms, as :meth:`Bandit.rearrange` does; what a new arm starts with, the bandit says."""
        super().rearrange(arms)
        self._policy = None

    def _learn(self, arm: int, reward: float, probability: float, policy: FloatArray | None) -> None:
        self._observe({arm: reward})
        self._policy = None

    def _learn_all(self, pulls: list[Pull], draws: int) -> None:
        self._observe({pull.arm: pull.reward for pull in merged(pulls, draws)})
        self._policy = None

    @abstractmethod
    def _observe(self, rewards: dict[int, float]) -> None:
        """Learn from one step.

        Args:
            rewards: the mean reward of each arm of the step.
        """


class AveragingBandit(ValueBandit):
    r"""A bandit whose values are moving averages: :math:`Q_i \leftarrow (1-\rho)\,Q_i + \rho\, x`, from 0 on.

    A new arm gets the mean of the values of those that stay.

    Args:
        rate: :math:`\rho`, in ``(0, 1]``.
        epsilon: as for :class:`ValueBandit`.
        temperature: as for :class:`ValueBandit`.
        absolute: as for :class:`ValueBandit`.
    """

    def __init__(
        self, *, rate: float = 0.1, epsilon: float = 0.0, temperature: float = 0.0, absolute: bool = False
    ) -> None:
        super().__init__(epsilon=epsilon, temperature=temperature, absolute=absolute)
        self.rate = check_range("rate", rate, 0.0, 1.0, open_low=True)
        self._values: FloatArray = np.zeros(0)

    def values(self) -> FloatArray:
        """Return a copy of the moving averages, shape ``(num_arms,)``, in ``[-1, 1]``."""
        values: FloatArray = self._values.copy()
        return values

    def _average(self, arm: int, observed: float) -> None:
        self._values[arm] = (1.0 - self.rate) * self._values[arm] + self.rate * observed

    def _observe(self, rewards: dict[int, float]) -> None:
        for arm, reward in rewards.items():
            self._average(arm, reward)

    def _start(self) -> None:
        self._values = np.zeros(self.num_arms)

    def _rearrange(self, arms: list[int | None]) -> None:
        kept = [self._values[arm] for arm in arms if arm is not None]
        mean = math.fsum(kept) / len(kept) if kept else 0.0
        self._values = np.array([mean if arm is None else self._values[arm] for arm in arms])
        self.num_arms = len(arms)

    def _state(self) -> dict[str, Any]:
        return {"values": self._values.tolist()}

    def _load_state(self, state: dict[str, Any]) -> None:
        self._values = np.array(of_arms(state, "values"), dtype=np.float64)


class WindowBandit(ValueBandit):
    """A bandit whose values are of the last rewards of each arm, and of the steps that they came at."""

    _updates: int
    _steps: list[deque[int]]
    _rewards: list[deque[float]]

    @abstractmethod
    def _keep(self, steps: list[Any], rewards: list[Any]) -> None:
        """Take over what is remembered of each arm."""

    def _start(self) -> None:
        self._updates = 0
        self._keep([()] * self.num_arms, [()] * self.num_arms)

    def _rearrange(self, arms: list[int | None]) -> None:
        self.num_arms = len(arms)
        self._keep(
            [() if arm is None else self._steps[arm] for arm in arms],
            [() if arm is None else self._rewards[arm] for arm in arms],
        )

    def _state(self) -> dict[str, Any]:
        return {
            "updates": self._updates,
            "steps": [list(own) for own in self._steps],
            "rewards": [list(own) for own in self._rewards],
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        self._updates = state["updates"]
        self._keep(of_arms(state, "steps"), of_arms(state, "rewards"))


def of_arms(state: dict[str, Any], key: str) -> list[Any]:
    """Return a list of a state that has one entry per arm, or raise."""
    entries = list(state[key])
    if len(entries) != state["num_arms"]:
        raise ValueError(f"the state is of {state['num_arms']} arms, but has {len(entries)} {key}: it is damaged")
    return entries
