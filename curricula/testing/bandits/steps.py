"""What a bandit promises of steps with several draws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from curricula.bandits.base import Bandit, FloatArray
from curricula.bandits.pulls import Pull
from curricula.testing.bandits.hooks import BanditHooks, snapshot, unchanged
from curricula.testing.bandits.updates import BAD_UPDATES
from curricula.testing.contract import does_not_apply, refused
from curricula.testing.states import text

_CLOSE = 1e-9


class StepPromises(BanditHooks):
    """The draws of a step are learned from once, by their mean, whatever their order."""

    def test_a_step_of_one_draw_is_an_update(self) -> None:
        """``update_all`` with one draw does what ``update`` does, bit for bit."""
        bandit, twin, numbers = self.started(4), self.started(4), self.numbers()
        for _ in range(30):
            pull = _pull(bandit, numbers)
            bandit.update_all([pull])
            twin.update(*pull)
            assert snapshot(bandit) == snapshot(twin), "update_all() with one draw must be update(), bit for bit"

    def test_draws_of_one_arm_are_one_update_by_their_mean(self) -> None:
        """Equal draws are as good as one; others count by their mean, each with its own probability."""
        equal = [(0.8, 0.3)] * 4
        for earned in (equal, [(-0.6, 0.2)] * 3, [(1.0, 0.5), (-1.0, 0.5)], [(0.9, 0.1), (-0.2, 0.6), (0.4, 0.25)]):
            bandit, twin = self.trained(4, 40), self.trained(4, 40)
            pulls = [
                Pull(1, reward, p, np.array([0.3 * (1 - p), p, 0.5 * (1 - p), 0.2 * (1 - p)])) for reward, p in earned
            ]
            inverse = [1.0 / p for _, p in earned]
            reward = math.fsum(part * r for part, (r, _) in zip(inverse, earned, strict=True)) / math.fsum(inverse)
            policy = len(pulls) / np.sum([1.0 / np.asarray(pull.policy) for pull in pulls], axis=0)
            bandit.update_all(pulls)
            twin.update(1, reward, len(pulls) / math.fsum(inverse), policy)
            self._check_same(
                bandit,
                twin,
                f"rewards and probabilities {earned} of one arm in one step must be one update by their mean, which is "
                f"the reward {reward:.3g}: not their sum, not one update each",
            )

    def test_a_step_moves_by_the_mean_over_all_of_its_draws(self) -> None:
        """Rewards are divided by the probability of their draw and by the number of the step's draws.

        It is for bandits to which a reward of 0 says nothing, and that divide rewards by probabilities.
        """
        if not self._weighs():
            does_not_apply("its rewards are not weighted by the probabilities of the draws")
        for nothing in ([(3, 0.0, 0.4)] * 3, [(0, 0.0, 0.9), (3, 0.0, 0.1), (1, 0.0, 0.2)]):
            bandit, twin = self.trained(4, 40), self.trained(4, 40)
            policy = np.array([0.2, 0.2, 0.2, 0.4])
            bandit.update_all([(1, 0.8, 0.2, policy), *((*pull, policy) for pull in nothing)])
            twin.update(1, 0.2, 0.2, policy)
            self._check_same(
                bandit,
                twin,
                "a reward of 0.8 beside three of 0 must move the policy as 0.8 / 4 does, once: where something is done "
                "per update, such as sharing, implement _learn_all()",
            )
        bandit, twin = self.trained(4, 40), self.trained(4, 40)
        if not bandit.needs_policy:
            bandit.update_all([(1, 0.8, 0.2)], draws=4)
            twin.update(1, 0.2, 0.2)
            self._check_same(bandit, twin, "draws without a reward count in the mean: 0.8 in 4 draws is 0.2 in one")

    def test_the_order_of_the_draws_of_a_step_does_not_matter(self) -> None:
        """The policy is the same to the last bit, in whatever order they are given."""
        bandits, numbers = [self.started(5) for _ in range(3)], self.numbers()
        for _ in range(15):
            pulls = [_pull(bandits[0], numbers) for _ in range(24)]
            for place, bandit in enumerate(bandits):
                bandit.update_all([pulls[k] for k in self.numbers(place).permutation(24)])
                assert snapshot(bandit) == snapshot(bandits[0]), "the same draws in another order made another bandit"

    def test_renumbering_the_arms_of_a_step_renumbers_the_policy(self) -> None:
        """No arm of a step comes before another."""
        order = self.numbers(1).permutation(6).tolist()
        bandit, other, numbers = self.started(6), self.renumbered(order), self.numbers()
        if other is None:
            does_not_apply("its arms cannot be exchanged")
        other.reset(6, 1000)
        for _ in range(60):
            pulls = [_pull(bandit, numbers) for _ in range(5)]
            bandit.update_all(pulls)
            other.update_all(
                [Pull(order.index(arm), reward, p, np.asarray(policy)[order]) for arm, reward, p, policy in pulls]
            )
            wanted = bandit.probabilities()[order]
            assert np.abs(other.probabilities() - wanted).max() <= 1e-12, (
                f"with its arms renumbered the policy must be {wanted}, got {other.probabilities()}: the arms of a "
                "step must all learn from the same moment"
            )

    def test_steps_of_several_draws_leave_a_distribution(self) -> None:
        """Whatever they earn, at any probability; and a step in which every draw is of one arm."""
        numbers = self.numbers()
        for _ in range(20):
            num_arms = int(numbers.integers(1, 7))
            bandit = self.started(num_arms)
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                for _ in range(10):
                    few = int(numbers.integers(1, num_arms + 1))
                    bandit.update_all([_hostile(num_arms, few, numbers) for _ in range(int(numbers.integers(1, 20)))])
                    self.check_policy(bandit)
            text(bandit.state_dict())

    def test_a_bad_step_is_refused_and_changes_nothing(self) -> None:
        """One bad draw among good ones, or fewer draws than rewards. A step without rewards changes nothing either."""
        bandit, policy = self.trained(3), np.full(3, 1 / 3)
        good = Pull(0, 0.5, 0.5, policy)
        for arm, reward, probability in BAD_UPDATES:
            what = f"update_all() with the arm {arm}, the reward {reward} and the probability {probability} in it"
            with unchanged(bandit, what), refused(what, ValueError):
                bandit.update_all([good, good, Pull(arm, reward, probability, policy)])
        with unchanged(bandit, "more rewards than draws"), refused("draws=1 for two rewards", ValueError):
            bandit.update_all([good, good], draws=1)
        kinds: list[Any] = [2.0, "2", True]
        for kind in kinds:
            with unchanged(bandit, f"draws={kind!r}"), refused(f"draws={kind!r}", TypeError):
                bandit.update_all([good], draws=kind)
        with unchanged(bandit, "a step without rewards"):
            bandit.update_all([])
            bandit.update_all([], draws=4)
        with refused("update_all() before reset()", RuntimeError):
            self.make(3).update_all([good])

    def _weighs(self) -> bool:
        policy = np.full(4, 0.25)
        seen = []
        for arm, reward, probability in ((1, 0.0, 0.25), (2, 0.0, 0.5), (1, 0.5, 0.25), (1, 0.5, 0.5)):
            bandit = self.trained(4, 40)
            bandit.update(arm, reward, probability, policy)
            seen.append(bandit.probabilities())
        return bool(np.abs(seen[0] - seen[1]).max() <= 1e-12 < np.abs(seen[2] - seen[3]).max())

    def _check_same(self, bandit: Bandit, twin: Bandit, why: str) -> None:
        """Fail unless both have the same policy, now and after more updates."""
        policy = np.full(bandit.num_arms, 1 / bandit.num_arms)
        for step in range(6):
            found, wanted = bandit.probabilities(), twin.probabilities()
            later = f", {step} updates later" if step else ""
            assert np.abs(found - wanted).max() <= _CLOSE, f"{why}. The policy{later} must be {wanted}, got {found}"
            for each in (bandit, twin):
                each.update(step % bandit.num_arms, 0.7, float(policy[0]), policy)


def _pull(bandit: Bandit, numbers: np.random.Generator) -> Pull:
    arm = bandit.draw(numbers)
    policy = bandit.probabilities().copy()
    return Pull(arm, float(numbers.uniform(-1, 1)), float(policy[arm]), policy)


def _hostile(num_arms: int, few: int, numbers: np.random.Generator) -> Pull:
    place, kind, part, size = numbers.random(4).tolist()
    arm = int(place * few)
    probability = [1.0, 0.01 + 0.99 * size, 5e-324, 1e-300, 1e-12, 10.0 ** (-300 * size)][int(kind * 6)]
    policy: FloatArray = np.full(num_arms, (0.0 if part < 0.3 else part) * probability)
    policy[arm] = probability
    return Pull(arm, [-1.0, 0.0, 1.0, 2 * part - 1][int(size * 4)], probability, policy)
