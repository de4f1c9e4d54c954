"""Bandits with one bug each in how they learn from the several draws of a step."""

from __future__ import annotations

import numpy as np

from curricula.bandits import Bandit, Exp3S
from curricula.bandits.pulls import Pull, merged
from tests.testing.own import Averages


class Shared(Exp3S):
    """Exp3.S with large steps, right as it is."""

    def __init__(self):
        super().__init__(eta=0.05, epsilon=0.4)


class CountsStepsTwice(Averages):
    def update_all(self, pulls, draws=None):
        super().update_all(pulls, draws)
        self._updates += 1


class SumForMean(Shared):
    def _learn_all(self, pulls, draws):
        self._move(self._steps(pulls, 1), None)


class OneUpdatePerDraw(Shared):
    def _learn_all(self, pulls, draws):
        for pull in pulls:
            self._learn(*pull)


class OneAveragePerDraw(Averages):
    def _learn_all(self, pulls, draws):
        for pull in sorted(pulls, key=lambda pull: pull[:3]):
            self._learn(*pull)


class SharesPerDraw(Shared):
    def _learn_all(self, pulls, draws):
        for arm, reward, probability, policy in pulls:
            self._learn(arm, reward / draws, probability, policy)


class SharesPerArm(Shared):
    _learn_all = Bandit._learn_all


class LastDrawAlone(Averages):
    def _learn_all(self, pulls, draws):
        self._learn(*pulls[-1])


class LargestAlone(Shared):
    def _learn_all(self, pulls, draws):
        self._learn(*max(pulls, key=lambda pull: pull[:3]))


class ProbabilityOfTheBatch(Shared):
    def _learn_all(self, pulls, draws):
        mean = float(np.mean(sorted(pull.probability for pull in pulls)))
        super()._learn_all([pull._replace(probability=mean) for pull in pulls], draws)


class ProbabilityOfBeingInTheBatch(Shared):
    def _learn_all(self, pulls, draws):
        def chance(pull):
            return 1 - (1 - pull.probability) ** draws

        super()._learn_all([pull._replace(probability=chance(pull)) for pull in pulls], draws)


class MeanPerArmThatIsThere(Shared):
    def _learn_all(self, pulls, draws):
        there = {}
        for pull in pulls:
            there.setdefault(pull.arm, []).append(pull)
        steps = {arm: self._steps(there[arm], len(there[arm]))[arm] for arm in sorted(there)}
        self._move(steps, None)


class MeanOfThoseThatAreRewarded(Shared):
    def _learn_all(self, pulls, draws):
        super()._learn_all(pulls, len(pulls))


class InTheOrderGiven(Averages):
    def _learn_all(self, pulls, draws):
        for arm in dict.fromkeys(pull.arm for pull in pulls):
            self._learn(*next(pull for pull in merged(pulls, draws) if pull.arm == arm))


class SumsInTheOrderGiven(Shared):
    def _learn_all(self, pulls, draws):
        steps = {}
        for pull in pulls:
            steps[pull.arm] = steps.get(pull.arm, 0.0) + self._step(pull.reward, pull.probability) / draws
        self._move(dict(sorted(steps.items())), None)


class OneArmAfterTheOther(Averages):
    def _learn_all(self, pulls, draws):
        for pull in sorted(merged(pulls, draws), key=lambda pull: pull.arm):
            self._learn(*pull)


class DividesWithoutBounds(Shared):
    def _step(self, reward, probability):
        return self.eta * reward / probability


class LearnsFromNothing(Averages):
    def update_all(self, pulls, draws=None):
        given = list(pulls)
        super().update_all(given, draws)
        self._updates += not given


class ChecksNoStep(Averages):
    def update_all(self, pulls, draws=None):
        given = [Pull(*pull) for pull in pulls]
        if len(given) == 1:
            self._learn(*given[0])
        elif given:
            self._learn_all(given, draws or len(given))


class TakesWhatItHasChecked(Averages):
    def update_all(self, pulls, draws=None):
        given = list(pulls)
        if len(given) < 2 or draws is not None:
            super().update_all(given, draws)
            return
        for pull in given[:-1]:
            self._checked(*pull)
        self._updates += 1
        super().update_all(given)
        self._updates -= 1


CAUGHT: dict[type[Bandit], list[str]] = {
    CountsStepsTwice: ["test_a_step_of_one_draw_is_an_update"],
    SumForMean: [
        "test_draws_of_one_arm_are_one_update_by_their_mean",
        "test_a_step_moves_by_the_mean_over_all_of_its_draws",
    ],
    OneUpdatePerDraw: [
        "test_draws_of_one_arm_are_one_update_by_their_mean",
        "test_a_step_moves_by_the_mean_over_all_of_its_draws",
        "test_the_order_of_the_draws_of_a_step_does_not_matter",
    ],
    OneAveragePerDraw: ["test_draws_of_one_arm_are_one_update_by_their_mean"],
    SharesPerDraw: [
        "test_draws_of_one_arm_are_one_update_by_their_mean",
        "test_a_step_moves_by_the_mean_over_all_of_its_draws",
    ],
    SharesPerArm: ["test_a_step_moves_by_the_mean_over_all_of_its_draws"],
    LastDrawAlone: [
        "test_draws_of_one_arm_are_one_update_by_their_mean",
        "test_the_order_of_the_draws_of_a_step_does_not_matter",
    ],
    LargestAlone: [
        "test_draws_of_one_arm_are_one_update_by_their_mean",
        "test_a_step_moves_by_the_mean_over_all_of_its_draws",
    ],
    ProbabilityOfTheBatch: [
        "test_draws_of_one_arm_are_one_update_by_their_mean",
        "test_a_step_moves_by_the_mean_over_all_of_its_draws",
    ],
    ProbabilityOfBeingInTheBatch: [
        "test_draws_of_one_arm_are_one_update_by_their_mean",
        "test_a_step_moves_by_the_mean_over_all_of_its_draws",
    ],
    MeanPerArmThatIsThere: ["test_a_step_moves_by_the_mean_over_all_of_its_draws"],
    MeanOfThoseThatAreRewarded: ["test_a_step_moves_by_the_mean_over_all_of_its_draws"],
    InTheOrderGiven: ["test_the_order_of_the_draws_of_a_step_does_not_matter"],
    SumsInTheOrderGiven: ["test_the_order_of_the_draws_of_a_step_does_not_matter"],
    OneArmAfterTheOther: ["test_renumbering_the_arms_of_a_step_renumbers_the_policy"],
    DividesWithoutBounds: ["test_steps_of_several_draws_leave_a_distribution"],
    LearnsFromNothing: ["test_a_bad_step_is_refused_and_changes_nothing"],
    ChecksNoStep: ["test_a_bad_step_is_refused_and_changes_nothing"],
    TakesWhatItHasChecked: ["test_a_bad_step_is_refused_and_changes_nothing"],
}
