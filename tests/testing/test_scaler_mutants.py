"""Scalers with one bug each, and the promises of the contract that must notice it."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

from curricula.testing import ScalerContract
from tests.testing.own import ByTheLargest


class Of(ScalerContract):
    """The contract over a class of scalers."""

    def __init__(self, kind):
        self.kind = kind

    def make(self):
        return self.kind()


class NotBounded(ByTheLargest):
    def scale(self, rate):
        largest = self._largest
        super().scale(rate)
        return float(rate) / largest if largest else 0.0


class SubtractsWhatOverflows(ByTheLargest):
    def reset(self, seed=0):
        super().reset(seed)
        self.least = 0.0

    def scale(self, rate):
        super().scale(rate)
        self.least = min(self.least, float(rate))
        width = self._largest - self.least
        return 2.0 * ((float(rate) - self.least) / width) - 1.0 if width else 0.0


class MakesNumpyNumbers(ByTheLargest):
    def scale(self, rate):
        return np.float64(super().scale(rate))


class DividesByNothing(ByTheLargest):
    def reset(self, seed=0):
        super().reset(seed)
        self.least = math.inf

    def scale(self, rate):
        super().scale(rate)
        self.least = min(self.least, float(rate))
        half = self._largest / 2 - self.least / 2
        return 2.0 * ((float(rate) / 2 - self.least / 2) / half) - 1.0


class LargeIsGood(ByTheLargest):
    def scale(self, rate):
        return abs(super().scale(rate))


class RemembersBeforeItChecks(ByTheLargest):
    def scale(self, rate):
        self._largest = max(self._largest, 1.0) + 1.0
        return super().scale(rate)


class TakesNaN(ByTheLargest):
    def scale(self, rate):
        return super().scale(rate) if math.isfinite(rate) else 0.0


class KeepsTheRateAsItIsGiven(ByTheLargest):
    def scale(self, rate):
        reward = super().scale(rate)
        self._largest = max(abs(rate), self._largest)
        return reward


class AddsGlobalNoise(ByTheLargest):
    def scale(self, rate):
        return super().scale(rate) * (0.9 + 0.1 * float(np.random.rand()))  # noqa: NPY002


class DependsOnHashes(ByTheLargest):
    def scale(self, rate):
        return super().scale(rate) * (0.5 + hash("rate") % 1000 / 2000)


class ResetKeepsTheLargest(ByTheLargest):
    _largest = 0.0

    def reset(self, seed=0):
        pass


class SavesANumpyScalar(ByTheLargest):
    def state_dict(self):
        return {**super().state_dict(), "largest": np.float64(self._largest)}


class RoundsWhatItSaves(ByTheLargest):
    def state_dict(self):
        return {**super().state_dict(), "largest": float(f"{self._largest:.6g}")}


class ForgetsItsCount(ByTheLargest):
    def reset(self, seed=0):
        super().reset(seed)
        self.count = 0

    def scale(self, rate):
        self.count += 1
        return super().scale(rate) * (1.0 - 1.0 / (1 + self.count))


class HandsOutItsOwnList(ByTheLargest):
    def reset(self, seed=0):
        super().reset(seed)
        self.rates = []

    def scale(self, rate):
        reward = super().scale(rate)
        self.rates.append(float(rate))
        return reward

    def state_dict(self):
        return {**super().state_dict(), "rates": self.rates}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.rates = list(state["rates"])


class KeepsTheListItIsGiven(HandsOutItsOwnList):
    def state_dict(self):
        return {**super().state_dict(), "rates": list(self.rates)}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.rates = state["rates"]


class TakesAnyState(ByTheLargest):
    def load_state_dict(self, state):
        self._largest = float(state.get("largest", 0.0))


class ChangesBeforeItFails(ByTheLargest):
    def load_state_dict(self, state):
        self.reset()
        super().load_state_dict(state)


class MakesUpWhatIsMissing(ByTheLargest):
    def load_state_dict(self, state):
        super().load_state_dict({"largest": 1.0, **state})


class CopiesShareWhatTheyRemember(HandsOutItsOwnList):
    def __deepcopy__(self, memo):
        return copy.copy(self)


class ForgetsWhenPickled(ByTheLargest):
    def __reduce__(self):
        return type(self), ()


class HoldsAFunction(ByTheLargest):
    def __init__(self):
        super().__init__()
        self.rule = lambda rate: rate


class ScalesAStepInSequence(ByTheLargest):
    def scale_all(self, rates):
        return [self.scale(rate) for rate in rates]


class KnowsTheWholeStepBeforehand(ByTheLargest):
    def scale_all(self, rates):
        for rate in rates:
            self.scale(rate)
        return [self.scale(rate) for rate in rates]


class ForgetsTheStep(ByTheLargest):
    def scale_all(self, rates):
        return [copy.deepcopy(self).scale(rate) for rate in rates]


class RemembersAStepBeforeItChecks(ByTheLargest):
    def scale_all(self, rates):
        largest = self._largest
        try:
            rewards = super().scale_all(rates)
        finally:
            self._largest = max([largest, *(abs(rate) for rate in rates if math.isfinite(rate))])
        return rewards


CAUGHT: dict[type[ByTheLargest], list[str]] = {
    ScalesAStepInSequence: ["test_the_rates_of_a_step_are_scaled_by_what_was_known_before_it"],
    KnowsTheWholeStepBeforehand: ["test_the_rates_of_a_step_are_scaled_by_what_was_known_before_it"],
    ForgetsTheStep: ["test_the_rates_of_a_step_are_scaled_by_what_was_known_before_it"],
    RemembersAStepBeforeItChecks: ["test_the_rates_of_a_step_are_scaled_by_what_was_known_before_it"],
    NotBounded: ["test_any_finite_rate_makes_a_reward_from_minus_1_to_1"],
    SubtractsWhatOverflows: ["test_any_finite_rate_makes_a_reward_from_minus_1_to_1"],
    MakesNumpyNumbers: ["test_any_finite_rate_makes_a_reward_from_minus_1_to_1"],
    DividesByNothing: ["test_equal_rates_make_rewards_from_minus_1_to_1"],
    LargeIsGood: ["test_a_better_rate_never_earns_less"],
    RemembersBeforeItChecks: ["test_rates_that_are_not_finite_are_refused_and_not_remembered"],
    TakesNaN: ["test_rates_that_are_not_finite_are_refused_and_not_remembered"],
    KeepsTheRateAsItIsGiven: ["test_numpy_numbers_are_as_good_as_python_ones"],
    AddsGlobalNoise: ["test_two_runs_agree_whatever_the_global_random_numbers"],
    DependsOnHashes: ["test_a_run_in_another_process_agrees"],
    ResetKeepsTheLargest: ["test_reset_forgets_everything"],
    SavesANumpyScalar: ["test_the_state_is_of_plain_containers"],
    RoundsWhatItSaves: ["test_a_state_goes_through_a_file_and_on_bit_for_bit"],
    ForgetsItsCount: ["test_a_state_goes_through_a_file_and_on_bit_for_bit"],
    HandsOutItsOwnList: ["test_a_state_does_not_change_with_the_scaler"],
    KeepsTheListItIsGiven: ["test_a_state_does_not_change_with_the_scaler"],
    TakesAnyState: ["test_the_state_of_something_else_is_refused_and_changes_nothing"],
    ChangesBeforeItFails: ["test_the_state_of_something_else_is_refused_and_changes_nothing"],
    MakesUpWhatIsMissing: ["test_a_state_with_a_part_missing_is_refused_and_changes_nothing"],
    CopiesShareWhatTheyRemember: ["test_a_copy_goes_on_alike_and_apart"],
    ForgetsWhenPickled: ["test_it_can_be_pickled"],
    HoldsAFunction: ["test_it_can_be_pickled"],
}


def test_a_scaler_without_bugs_passes():
    assert Of(ByTheLargest).failures() == {}


@pytest.mark.parametrize(
    ("mutant", "name"),
    [(mutant, name) for mutant, names in CAUGHT.items() for name in names],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_the_mutant_is_caught(mutant, name):
    assert name in Of(mutant).failures(name)


def test_every_promise_catches_a_mutant():
    assert {name for names in CAUGHT.values() for name in names} == set(ScalerContract.promises())
