"""Bandits with one bug each, and the promises of the contract that must notice it."""

from __future__ import annotations

import copy
import os

import numpy as np
import pytest

from curricula.bandits import Bandit
from curricula.testing import BanditContract
from tests.testing import step_mutants
from tests.testing.own import Averages


class Of(BanditContract):
    """The contract over a class of bandits."""

    def __init__(self, kind):
        self.kind = kind

    def make(self, num_arms):
        return self.kind()


# The policy.


class StartsWithoutAPolicy(Averages):
    def probabilities(self):
        return super().probabilities() if self._updates else np.zeros(self.num_arms)


class InSinglePrecision(Averages):
    def probabilities(self):
        return super().probabilities().astype(np.float32)


class AList(Averages):
    def probabilities(self):
        return super().probabilities().tolist()


class AColumn(Averages):
    def probabilities(self):
        return super().probabilities()[:, None]


class DriftsFromOne(Averages):
    def probabilities(self):
        return super().probabilities() * (1 + 1e-10 * self._updates)


class NoExploration(Averages):
    def probabilities(self):
        return (super().probabilities() - self.epsilon / self.num_arms) / (1 - self.epsilon)


class EpsilonNotDivided(Averages):
    def probabilities(self):
        return super().probabilities() + self.epsilon - self.epsilon / self.num_arms


class TellsTheProbabilityUnmixed(Averages):
    def probability(self, arm):
        return (super().probability(arm) - self.epsilon / self.num_arms) / (1 - self.epsilon)


class TellsANumpyProbability(Averages):
    def probability(self, arm):
        return self.probabilities()[arm]


class OverflowsAtSmallProbabilities(Averages):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward / probability, probability, policy)


class NeverNormalises(Averages):
    def _learn(self, arm, reward, probability, policy):
        self._updates += 1
        self._means = self._means.copy()
        self._means[arm] += 0.3 * reward


class WrongSign(Averages):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, -reward, probability, policy)


class LearnsNothing(Averages):
    def _learn(self, arm, reward, probability, policy):
        pass


class RewardsTheLastOneDrawn(Averages):
    last = None

    def draw(self, rng):
        self.last = super().draw(rng)
        return self.last

    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm if self.last is None else self.last, reward, probability, policy)


class FavoursTheFirst(Averages):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward * (1.0 if arm == 0 else 0.9), probability, policy)


class NeedsAnother(Averages):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward, probability, policy)
        others = np.delete(self._means, arm)
        self._means = self._means - others.sum() / len(others)


class LearnsByBeingLookedAt(Averages):
    def probabilities(self):
        self._means = self._means * 0.999
        return super().probabilities()


class CountsHowOftenItIsSaved(Averages):
    def state_dict(self):
        self._updates += 1
        return super().state_dict()


class TellsALongStory(Averages):
    def describe(self):
        return f"{super().describe()}\n{self._means}"


class TellsNoName(Averages):
    def describe(self):
        return f"{self.num_arms} averages"


# Updates.


class KeepsTheArmAsItIsGiven(Averages):
    last = 0

    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward, probability, policy)
        self.last = arm

    def _state(self):
        return {**super()._state(), "last": self.last}


class ChecksNothing(Averages):
    def update(self, arm, reward, probability, policy=None):
        self._learn(arm, reward, probability, policy)


class CountsBeforeItChecks(Averages):
    def update(self, arm, reward, probability, policy=None):
        self._updates += 1
        super().update(arm, reward, probability, policy)


class TakesAnyPolicy(Averages):
    needs_policy = True

    def update(self, arm, reward, probability, policy=None):
        super().update(arm, reward, probability, np.full(self.num_arms, 1 / self.num_arms))


class NeedsAPolicyInSecret(Averages):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward * (1 - policy[arm]), probability, policy)


class WritesToThePolicy(Averages):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward, probability, policy)
        if isinstance(policy, np.ndarray):
            policy /= 2


class KeepsThePolicy(Averages):
    last = np.zeros(0)

    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward, probability, policy)
        self.last = policy

    def _state(self):
        return {**super()._state(), "last": list(map(float, self.last))}


class DrawsWithoutArms(Averages):
    def draw(self, rng):
        return super().draw(rng) if self.num_arms else 0


class TakesAnyNumberOfArms(Averages):
    def reset(self, num_arms, horizon=None):
        super().reset(max(1, int(num_arms)), horizon)


class TakesAnyHorizon(Averages):
    def reset(self, num_arms, horizon=None):
        super().reset(num_arms)
        self.horizon = horizon


# Draws.


class DrawOffByOne(Averages):
    def draw(self, rng):
        return (super().draw(rng) + 1) % self.num_arms


class DrawsFromTheEnd(Averages):
    def draw(self, rng):
        number = 1.0 - rng.random()
        return int(np.searchsorted(np.cumsum(self.probabilities()[::-1]), number)) % self.num_arms


class DrawsANumpyInt(Averages):
    def draw(self, rng):
        return np.int64(super().draw(rng))


class DrawsTheBest(Averages):
    def draw(self, rng):
        rng.random()
        return int(self.probabilities().argmax())


class DrawsUnmixed(Averages):
    def draw(self, rng):
        weights = np.exp(5.0 * self._means)
        return int(np.searchsorted(np.cumsum(weights / weights.sum()), min(rng.random(), 1 - 1e-12)))


class ThrowsANumberAway(Averages):
    def draw(self, rng):
        rng.random()
        return super().draw(rng)


class DrawsAStepAtOnePoint(Averages):
    def draw_all(self, rng, count):
        return [self.draw(rng)] * count


class DrawsAStepWithANumberTooMany(Averages):
    def draw_all(self, rng, count):
        arms = [self.draw(rng) for _ in range(count)]
        rng.random()
        return arms


class DrawsAStepOfNumpyInts(Averages):
    def draw_all(self, rng, count):
        return list(np.cumsum(self.probabilities()).searchsorted(rng.random(count), "right"))


class DrawsByChoice(Averages):
    def draw(self, rng):
        return int(rng.choice(self.num_arms, p=self.probabilities()))


class LearnsFromDrawing(Averages):
    def draw(self, rng):
        arm = super().draw(rng)
        self._updates += 1
        return arm


class DrawsFromTheGlobalStream(Averages):
    def draw(self, rng):
        rng.random()
        return int(np.searchsorted(np.cumsum(self.probabilities()), np.random.rand()))  # noqa: NPY002


class LearnsWithGlobalNoise(Averages):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward + 0.01 * np.random.randn(), probability, policy)  # noqa: NPY002


class SharesWhatItLearns(Averages):
    shared = np.zeros(100)

    def _start(self):
        super()._start()
        self._means = self.shared[: self.num_arms]

    def _learn(self, arm, reward, probability, policy):
        self._updates += 1
        self._means[arm] += 0.1 * (reward - self._means[arm])


class DependsOnHashes(Averages):
    def _start(self):
        super()._start()
        self._means = np.array([hash(f"arm {arm}") % 1000 / 1e4 for arm in range(self.num_arms)])


class DependsOnTheProcess(Averages):
    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward * (0.5 + os.getpid() % 1000 / 2000), probability, policy)


# State.


class SavesANumpyScalar(Averages):
    def _state(self):
        return {**super()._state(), "best": self._means.max()}


class SavesAnArray(Averages):
    def _state(self):
        return {**super()._state(), "means": self._means}


class SavesIntegerKeys(Averages):
    def _state(self):
        return {**super()._state(), "by_arm": dict(enumerate(self._means.tolist()))}


class ForgetsTheCounter(Averages):
    def _state(self):
        return {**super()._state(), "updates": 0}


class LoadsOnlyHalf(Averages):
    def _load_state(self, state):
        super()._load_state(state)
        self._updates = 0


class RoundsWhatItSaves(Averages):
    def _state(self):
        return {**super()._state(), "means": [round(mean, 12) for mean in self._means.tolist()]}


class HandsOutItsOwnList(Averages):
    def _start(self):
        super()._start()
        self.history = []

    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward, probability, policy)
        self.history.append(int(arm))

    def _state(self):
        return {**super()._state(), "history": self.history}

    def _load_state(self, state):
        super()._load_state(state)
        self.history = list(state["history"])


class KeepsTheListItIsGiven(HandsOutItsOwnList):
    def _state(self):
        return {**super()._state(), "history": list(self.history)}

    def _load_state(self, state):
        super()._load_state(state)
        self.history = state["history"]


class TakesAnyState(Averages):
    def load_state_dict(self, state, arms=None):
        self.reset(state.get("num_arms", 1), state.get("horizon"))
        if "means" in state:
            self._load_state(state)


class MakesUpWhatIsMissing(Averages):
    def _load_state(self, state):
        super()._load_state({"updates": 0, **state})


class TakesAShortList(Averages):
    def _load_state(self, state):
        self._means = np.resize(np.array(state["means"]), self.num_arms)
        self._updates = int(state["updates"])


class ChangesBeforeItFails(Averages):
    def reset(self, num_arms, horizon=None):
        if self.num_arms == num_arms:  # keeps its array
            self._means[:] = 0.0
            self._updates, self.horizon = 0, horizon
        else:
            super().reset(num_arms, horizon)


class ResetKeepsTheCounter(Averages):
    _updates = 0

    def _start(self):
        self._means = np.zeros(self.num_arms)


class ResetKeepsWhatIsNotInTheState(Averages):
    rate = 1.0

    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward * self.rate, probability, policy)
        self.rate *= 0.99


class CopiesShareWhatTheyLearn(Averages):
    def __deepcopy__(self, memo):
        other = copy.copy(self)
        self.twin = other
        return other

    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward, probability, policy)
        self.__dict__.get("twin", self)._means = self._means


class ForgetsWhenPickled(Averages):
    def __getstate__(self):
        return {**vars(self), "_updates": 0}


class HoldsAFunction(Averages):
    def __init__(self):
        self.rule = lambda reward: reward


# Arms.


class NewArmsGetNothing(Averages):
    def _rearrange(self, arms):
        super()._rearrange(arms)
        self._means = np.where([arm is None for arm in arms], -1.0, self._means)


class StartsAnewWithOtherArms(Averages):
    def _rearrange(self, arms):
        self.num_arms = len(arms)
        self._start()


class PutsArmsInTheWrongPlaces(Averages):
    def _rearrange(self, arms):
        super()._rearrange(arms)
        self._means = self._means[::-1].copy()


class ForgetsToCountItsArms(Averages):
    def _rearrange(self, arms):
        before = self.num_arms
        super()._rearrange(arms)
        self.num_arms = before


class KeepsAnArrayOfTheOldSize(Averages):
    def _start(self):
        super()._start()
        self.counts = np.zeros(self.num_arms)

    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, reward, probability, policy)
        self.counts = self.counts + np.eye(self.num_arms)[arm]


class LoadsWithoutTheArms(Averages):
    def load_state_dict(self, state, arms=None):
        super().load_state_dict(state)


class TakesAnyArms(Averages):
    def rearrange(self, arms):
        self._rearrange([arm if arm is None else arm % self.num_arms for arm in arms] or [None])


class SharesNothingOfWhatIsGone(Averages):
    def probabilities_among(self, arms):
        policy = np.zeros(self.num_arms)
        policy[arms] = self.probabilities()[arms]
        return policy


class DrawsWhatIsGone(Averages):
    def probabilities_among(self, arms):
        return self.probabilities().copy()


class ForgetsWhatIsGone(Averages):
    def probabilities_among(self, arms):
        self._means[:] = self._means if len(arms) == self.num_arms else 0.0
        return super().probabilities_among(arms)


CAUGHT: dict[type[Bandit], list[str]] = {
    **step_mutants.CAUGHT,
    StartsWithoutAPolicy: ["test_the_first_policy_is_a_distribution"],
    InSinglePrecision: ["test_the_first_policy_is_a_distribution"],
    AList: ["test_the_first_policy_is_a_distribution"],
    AColumn: ["test_the_first_policy_is_a_distribution"],
    DriftsFromOne: ["test_the_policy_stays_a_distribution_while_it_learns"],
    NoExploration: ["test_the_policy_stays_a_distribution_while_it_learns"],
    EpsilonNotDivided: ["test_the_first_policy_is_a_distribution"],
    TellsTheProbabilityUnmixed: ["test_the_probability_of_one_arm_is_that_of_the_policy"],
    TellsANumpyProbability: ["test_the_probability_of_one_arm_is_that_of_the_policy"],
    OverflowsAtSmallProbabilities: ["test_no_reward_or_probability_makes_a_number_that_is_not_finite"],
    NeverNormalises: ["test_ten_thousand_updates_leave_every_number_finite"],
    WrongSign: ["test_what_earns_more_is_drawn_more", "test_late_rewards_are_learned_from"],
    LearnsNothing: ["test_what_earns_more_is_drawn_more", "test_late_rewards_are_learned_from"],
    RewardsTheLastOneDrawn: ["test_late_rewards_are_learned_from"],
    FavoursTheFirst: ["test_renumbering_the_arms_renumbers_the_policy"],
    NeedsAnother: ["test_one_arm_is_always_drawn"],
    LearnsByBeingLookedAt: ["test_looking_changes_nothing"],
    CountsHowOftenItIsSaved: ["test_looking_changes_nothing"],
    TellsALongStory: ["test_it_tells_its_name_and_arms_in_one_line"],
    TellsNoName: ["test_it_tells_its_name_and_arms_in_one_line"],
    KeepsTheArmAsItIsGiven: ["test_numpy_numbers_are_as_good_as_python_ones"],
    ChecksNothing: ["test_a_bad_update_is_refused_and_changes_nothing"],
    CountsBeforeItChecks: ["test_a_bad_update_is_refused_and_changes_nothing"],
    TakesAnyPolicy: ["test_the_policy_at_the_draw_is_checked_where_it_is_needed"],
    NeedsAPolicyInSecret: ["test_the_policy_at_the_draw_is_checked_where_it_is_needed"],
    WritesToThePolicy: ["test_the_policy_at_the_draw_is_neither_kept_nor_changed"],
    KeepsThePolicy: ["test_the_policy_at_the_draw_is_neither_kept_nor_changed"],
    DrawsWithoutArms: ["test_nothing_is_drawn_or_learned_before_reset"],
    TakesAnyNumberOfArms: ["test_no_arms_and_no_horizon_are_refused"],
    TakesAnyHorizon: ["test_no_arms_and_no_horizon_are_refused"],
    DrawOffByOne: [
        "test_a_number_draws_the_arm_in_whose_stretch_it_lies",
        "test_arms_are_drawn_as_often_as_their_probability_says",
    ],
    DrawsFromTheEnd: ["test_a_number_draws_the_arm_in_whose_stretch_it_lies"],
    DrawsANumpyInt: ["test_a_number_draws_the_arm_in_whose_stretch_it_lies"],
    DrawsTheBest: ["test_arms_are_drawn_as_often_as_their_probability_says"],
    DrawsUnmixed: ["test_arms_are_drawn_as_often_as_their_probability_says"],
    ThrowsANumberAway: ["test_a_draw_takes_one_number_and_changes_nothing"],
    DrawsAStepAtOnePoint: ["test_the_draws_of_a_step_are_those_of_as_many_calls"],
    DrawsAStepWithANumberTooMany: ["test_the_draws_of_a_step_are_those_of_as_many_calls"],
    DrawsAStepOfNumpyInts: ["test_the_draws_of_a_step_are_those_of_as_many_calls"],
    DrawsByChoice: ["test_a_number_draws_the_arm_in_whose_stretch_it_lies"],
    LearnsFromDrawing: ["test_a_draw_takes_one_number_and_changes_nothing"],
    DrawsFromTheGlobalStream: ["test_two_runs_agree_whatever_the_global_random_numbers"],
    LearnsWithGlobalNoise: ["test_two_runs_agree_whatever_the_global_random_numbers"],
    SharesWhatItLearns: ["test_two_runs_agree_whatever_the_global_random_numbers"],
    DependsOnHashes: ["test_a_run_in_another_process_agrees"],
    DependsOnTheProcess: ["test_a_run_in_another_process_agrees"],
    SavesANumpyScalar: ["test_the_state_is_of_plain_containers"],
    SavesAnArray: ["test_the_state_is_of_plain_containers"],
    SavesIntegerKeys: ["test_the_state_is_of_plain_containers"],
    ForgetsTheCounter: ["test_a_state_goes_through_a_file_and_on_bit_for_bit"],
    LoadsOnlyHalf: ["test_a_state_goes_through_a_file_and_on_bit_for_bit"],
    RoundsWhatItSaves: ["test_a_state_goes_through_a_file_and_on_bit_for_bit"],
    HandsOutItsOwnList: ["test_a_state_does_not_change_with_the_bandit"],
    KeepsTheListItIsGiven: ["test_a_state_does_not_change_with_the_bandit"],
    TakesAnyState: ["test_the_state_of_another_bandit_is_refused_and_changes_nothing"],
    MakesUpWhatIsMissing: ["test_a_state_with_a_part_missing_is_refused_and_changes_nothing"],
    TakesAShortList: ["test_a_state_with_a_part_missing_is_refused_and_changes_nothing"],
    ChangesBeforeItFails: ["test_a_state_with_a_part_missing_is_refused_and_changes_nothing"],
    ResetKeepsTheCounter: ["test_reset_forgets_everything"],
    ResetKeepsWhatIsNotInTheState: ["test_reset_forgets_everything"],
    CopiesShareWhatTheyLearn: ["test_a_copy_goes_on_alike_and_apart"],
    ForgetsWhenPickled: ["test_it_can_be_pickled"],
    HoldsAFunction: ["test_it_can_be_pickled"],
    NewArmsGetNothing: ["test_arms_that_stay_keep_their_ratios_and_new_ones_get_their_mean"],
    StartsAnewWithOtherArms: ["test_arms_that_stay_keep_their_ratios_and_new_ones_get_their_mean"],
    PutsArmsInTheWrongPlaces: ["test_arms_that_stay_keep_their_ratios_and_new_ones_get_their_mean"],
    ForgetsToCountItsArms: ["test_arms_that_stay_keep_their_ratios_and_new_ones_get_their_mean"],
    KeepsAnArrayOfTheOldSize: ["test_after_a_change_of_arms_it_goes_on"],
    LoadsWithoutTheArms: ["test_after_a_change_of_arms_it_goes_on"],
    SharesNothingOfWhatIsGone: ["test_among_the_arms_that_are_left_the_policy_is_a_distribution"],
    DrawsWhatIsGone: ["test_among_the_arms_that_are_left_the_policy_is_a_distribution"],
    ForgetsWhatIsGone: ["test_among_the_arms_that_are_left_the_policy_is_a_distribution"],
    TakesAnyArms: ["test_arms_that_are_none_are_refused_and_change_nothing"],
}


class Rigid(Averages):
    """Cannot change its arms, and says so."""

    _rearrange = Bandit._rearrange


@pytest.mark.parametrize("kind", [Averages, Rigid, step_mutants.Shared])
def test_a_bandit_without_bugs_passes(kind):
    assert Of(kind).failures() == {}


@pytest.mark.parametrize(
    ("mutant", "name"),
    [(mutant, name) for mutant, names in CAUGHT.items() for name in names],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_mutant_is_caught(mutant, name):
    assert name in Of(mutant).failures(name)


def test_every_promise_catches_a_mutant():
    assert {name for names in CAUGHT.values() for name in names} == set(BanditContract.promises())
