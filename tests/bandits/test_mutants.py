"""Bugs made on purpose, and the checks that must notice them: tests of the tests.

Every mutant is a mistake that is easy to make in Exp3.S, most of them seen in published code. The checks are the ones
that the tests of the real class call.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from curricula.bandits import Exp3S
from curricula.bandits.exp3 import mix
from curricula.bandits.shared_weights import share
from curricula.testing import BanditContract
from curricula.testing.bandits.hooks import feed
from tests.bandits.checks import (
    check_first_alpha_is_a_half,
    check_follows_paper,
    check_one_step,
    check_optimism,
    check_share,
    check_survives,
    contract,
)
from tests.bandits.dense import DenseExp3S


def trained(cls: type[Exp3S], num_arms: int = 4) -> Exp3S:
    """Return a bandit with an uneven policy."""
    bandit = cls(eta=0.1, epsilon=0.4)
    bandit.reset(num_arms)
    for reward in (1.0, 0.6, 1.0):
        bandit.update(0, reward, 0.3)
        bandit.update(2, -reward, 0.3)
    return bandit


def promises(cls: type[Exp3S]) -> BanditContract:
    return contract(lambda: cls(eta=0.1, epsilon=0.4))


def simplex(cls: type[Exp3S]) -> None:
    bandit = cls(eta=0.1, epsilon=0.4)
    bandit.reset(4)
    for _ in range(20):
        promises(cls).check_policy(bandit)
        for _ in range(10):
            bandit.update(0, 1.0, 0.1)


CHECKS: dict[str, Callable[[type[Exp3S]], None]] = {
    "simplex": simplex,
    "one step": check_one_step,
    "first alpha": check_first_alpha_is_a_half,
    "paper": check_follows_paper,
    "paper, beta": lambda cls: check_follows_paper(cls, beta=0.2),
    "paper, alpha": lambda cls: check_follows_paper(cls, alpha=0.01),
    "optimism": check_optimism,
    "permutation": lambda cls: promises(cls).test_renumbering_the_arms_renumbers_the_policy(),
    "draw index": lambda cls: promises(cls).test_a_number_draws_the_arm_in_whose_stretch_it_lies(),
    "draw frequencies": lambda cls: promises(cls).test_arms_are_drawn_as_often_as_their_probability_says(),
    "round trip": lambda cls: promises(cls).test_a_state_goes_through_a_file_and_on_bit_for_bit(),
    "survives": lambda cls: check_survives(cls(eta=1.0, epsilon=0.4), 1.0, 3000),
}


class NoExploration(DenseExp3S):
    def _learn(self, *earned):
        super()._learn(*earned)
        self._policy = self._weights.copy()


class EpsilonNotDivided(DenseExp3S):
    def _learn(self, *earned):
        super()._learn(*earned)
        self._policy = self._weights * (1 - self.epsilon) + self.epsilon


class EpsilonNotDividedButNormalised(EpsilonNotDivided):
    def _learn(self, *earned):
        super()._learn(*earned)
        self._policy /= self._policy.sum()


class NoImportanceWeight(DenseExp3S):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward, 1.0, policy)


class TodaysProbability(DenseExp3S):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward, float(self._policy[arm]), policy)


class ProbabilityBeforeMixing(DenseExp3S):
    def _learn(self, arm, reward, probability, policy):
        unmixed = (probability - self.epsilon / self.num_arms) / (1 - self.epsilon)
        super()._learn(arm, reward, max(unmixed, 1e-3), policy)


class WrongSign(DenseExp3S):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, -reward, probability, policy)


class OnlyGoodNews(DenseExp3S):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, max(0.0, reward), probability, policy)


class OptimismForTheDrawnArmOnly(DenseExp3S):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward + self.beta, probability, None)


class OptimismOverTheDrawnProbability(DenseExp3S):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward, probability, np.full(self.num_arms, probability))


class OptimismNotDivided(DenseExp3S):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward, probability, np.ones(self.num_arms))


class FirstAlphaOne(DenseExp3S):
    def _learn(self, *earned):
        self._updates -= 1
        super()._learn(*earned)
        self._updates += 1


class AlphaNeverFalls(DenseExp3S):
    def _learn(self, *earned):
        self._updates = 0
        super()._learn(*earned)


class NeverNormalised(DenseExp3S):
    def _learn(self, arm, reward, probability, policy):
        self._updates += 1
        with np.errstate(all="ignore"):
            self._weights[arm] *= np.exp(self._step(reward, probability))
            total = self._weights.sum()
            self._weights = share(self._weights / total, 1.0 / (self._updates + 1)) * total
            self._policy = mix(self._weights / self._weights.sum(), self.epsilon)


class RewardedBeforeTheOthersAreScaled(DenseExp3S):
    def _rewarded(self, steps, bonus):
        weights = self._weights * math.exp(-max(abs(step) for step in steps.values()))
        for arm in steps:
            weights[arm] = self._weights[arm]
        return weights


class DrawOffByOne(DenseExp3S):
    def draw(self, rng):
        return min(super().draw(rng) + 1, self.num_arms - 1)


class DrawOneTooLow(DenseExp3S):
    def draw(self, rng):
        return (super().draw(rng) - 1) % self.num_arms


class DrawsTheBest(DenseExp3S):
    def draw(self, rng):
        return int(self.probabilities().argmax())


class DrawsByTheWeightsUnmixed(DenseExp3S):
    def draw(self, rng):
        return int(self._weights.cumsum().searchsorted(rng.random(), side="right"))


class ForgetsTheTimeOnResume(DenseExp3S):
    def _load_state(self, state):
        super()._load_state(state)
        self._updates = 0


class SavesRoundedWeights(DenseExp3S):
    def _state(self):
        return {**super()._state(), "weights": [round(w, 12) for w in self._weights.tolist()]}


class RewardsTheArmOfTheBestPolicy(DenseExp3S):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm if reward >= 0 else 0, reward, probability, policy)


CAUGHT: dict[type[Exp3S], list[str]] = {
    NoExploration: ["simplex", "one step", "paper"],
    EpsilonNotDivided: ["simplex", "one step", "paper"],
    EpsilonNotDividedButNormalised: ["one step", "paper"],
    NoImportanceWeight: ["one step", "paper"],
    TodaysProbability: ["one step", "paper"],
    ProbabilityBeforeMixing: ["one step", "paper"],
    WrongSign: ["one step", "first alpha", "paper"],
    OnlyGoodNews: ["one step", "paper"],
    OptimismForTheDrawnArmOnly: ["paper, beta", "optimism"],
    OptimismOverTheDrawnProbability: ["paper, beta", "optimism"],
    OptimismNotDivided: ["paper, beta", "optimism"],
    FirstAlphaOne: ["one step", "first alpha", "paper"],
    AlphaNeverFalls: ["one step", "first alpha", "paper"],
    NeverNormalised: ["survives"],
    RewardedBeforeTheOthersAreScaled: ["one step", "paper"],
    DrawOffByOne: ["draw index", "draw frequencies"],
    DrawOneTooLow: ["draw index", "draw frequencies"],
    DrawsTheBest: ["draw index", "draw frequencies"],
    DrawsByTheWeightsUnmixed: ["draw index", "draw frequencies"],
    ForgetsTheTimeOnResume: ["round trip"],
    SavesRoundedWeights: ["round trip"],
    RewardsTheArmOfTheBestPolicy: ["one step", "paper", "permutation"],
}


def share_nothing(weights, alpha):
    return weights


def share_over_n(weights, alpha):
    return (1 - alpha) * weights + alpha / len(weights) * (weights.sum() - weights)


def share_with_itself(weights, alpha):
    return (1 - alpha) * weights + alpha / len(weights) * weights.sum()


def share_in_place(weights, alpha):
    for i in range(len(weights)):
        weights[i] = (1 - alpha) * weights[i] + alpha / (len(weights) - 1) * (weights.sum() - weights[i])
    return weights


def share_without_giving(weights, alpha):
    return weights + alpha / (len(weights) - 1) * (weights.sum() - weights)


def share_all_with_all(weights, alpha):
    return (1 - alpha) * weights + alpha * weights.sum()


SHARES = [
    share_nothing,
    share_over_n,
    share_with_itself,
    share_in_place,
    share_without_giving,
    share_all_with_all,
]


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("real", [Exp3S, DenseExp3S])
def test_the_real_class_passes(real, name):
    CHECKS[name](real)


@pytest.mark.parametrize(("mutant", "name"), [(mutant, name) for mutant, names in CAUGHT.items() for name in names])
def test_the_mutant_is_caught(mutant, name):
    with pytest.raises(AssertionError):
        CHECKS[name](mutant)


def test_the_real_sharing_passes():
    check_share(share)


@pytest.mark.parametrize("mutant", SHARES)
def test_wrong_sharing_is_caught_by_itself(mutant):
    with pytest.raises(AssertionError):
        check_share(mutant)


@pytest.mark.parametrize("name", ["one step", "paper", "paper, alpha"])
@pytest.mark.parametrize("mutant", SHARES)
def test_wrong_sharing_is_caught_in_the_bandit(mutant, name, monkeypatch):
    monkeypatch.setattr("tests.bandits.dense.share", mutant)
    with pytest.raises(AssertionError):
        CHECKS[name](DenseExp3S)


def test_feeding_twice_from_one_seed_is_the_same_run():
    """The round trip rests on this: else it would catch nothing, or everything."""
    runs = [feed(trained(Exp3S), 50, np.random.default_rng(0), delay=2) for _ in range(2)]
    assert runs[0] == runs[1]
