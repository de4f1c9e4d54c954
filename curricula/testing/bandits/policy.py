"""What a bandit promises of its probabilities."""

from __future__ import annotations

import numpy as np

from curricula.testing.bandits.hooks import BanditHooks, feed, unchanged
from curricula.testing.contract import does_not_apply
from curricula.testing.states import text


class PolicyPromises(BanditHooks):
    """The policy is a distribution, whatever happens, and moves to where the rewards are."""

    def test_the_first_policy_is_a_distribution(self) -> None:
        """A float64 array of the shape ``(num_arms,)`` that sums to 1 within 1e-12, with the floor that is promised."""
        for num_arms in (1, 2, 7, 100):
            self.check_policy(self.started(num_arms))
            self.check_policy(self.started(num_arms, None))

    def test_the_policy_stays_a_distribution_while_it_learns(self) -> None:
        """It stays one through hundreds of random rewards, prompt and late ones, and while one arm earns all."""
        for num_arms in (2, 5):
            for delay in (0, 3):
                bandit, numbers = self.started(num_arms), self.numbers(delay)
                for _ in range(15):
                    feed(bandit, 20, numbers, delay)
                    self.check_policy(bandit)
                for step in range(300):
                    arm = bandit.draw(numbers)
                    policy = bandit.probabilities().copy()
                    bandit.update(arm, 1.0 if arm == 0 else -1.0, float(policy[arm]), policy)
                    if step % 10 == 0:
                        self.check_policy(bandit)

    def test_the_probability_of_one_arm_is_that_of_the_policy(self) -> None:
        """``probability(arm)`` is the very number that ``probabilities()`` has for it, and a Python ``float``."""
        for bandit in (self.started(5), self.trained(5)):
            for arm, wanted in enumerate(bandit.probabilities().tolist()):
                found = bandit.probability(arm)
                assert found == wanted, f"probability({arm}) must be probabilities()[{arm}], {wanted!r}, got {found!r}"
                assert type(found) is float, f"probability({arm}) must be a float, got {type(found).__name__}"

    def test_no_reward_or_probability_makes_a_number_that_is_not_finite(self) -> None:
        """Rewards of -1 and 1 and probabilities down to the least float neither overflow nor leave a NaN behind."""
        numbers = self.numbers()
        for _ in range(40):
            num_arms = int(numbers.integers(1, 7))
            bandit, scale = self.started(num_arms), float(numbers.choice([0.0, 1.0, numbers.random()]))
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                for _ in range(25):
                    arm = int(numbers.integers(num_arms))
                    reward = float(numbers.choice([-1.0, 0.0, 1.0, numbers.uniform(-1, 1)]))
                    small = [5e-324, 1e-300, 1e-12, 10.0 ** numbers.uniform(-300, 0)]
                    probability = float(numbers.choice([1.0, numbers.uniform(0.01, 1), *small]))
                    policy = np.full(num_arms, scale * probability)
                    policy[arm] = probability
                    bandit.update(arm, reward, probability, policy)
                    self.check_policy(bandit)
            text(bandit.state_dict())

    def test_ten_thousand_updates_leave_every_number_finite(self) -> None:
        """Thousands of equal rewards, best and worst ones, to all arms in turn: still a distribution."""
        bandit, numbers = self.started(3, 10_000), self.numbers()
        for count, rewards in ((3000, [1.0]), (5000, [-1.0]), (1000, [1.0, -1.0]), (1000, [-1.0, 1.0, 1.0])):
            for step in range(count):
                policy = bandit.probabilities()
                arm = step % 3 if policy[step % 3] > 0.0 else bandit.draw(numbers)
                bandit.update(arm, rewards[step % len(rewards)], float(policy[arm]), policy.copy())
            self.check_policy(bandit)
        text(bandit.state_dict())

    def test_what_earns_more_is_drawn_more(self) -> None:
        """The arm that earns 1 where all others earn -1 becomes the most probable one."""
        if not self.learns:
            does_not_apply("it does not learn")
        for best in (0, 2):
            bandit, numbers = self.started(4), self.numbers(best)
            for _ in range(800):
                arm = int(numbers.integers(4))
                bandit.update(arm, 1.0 if arm == best else -1.0, 0.25, np.full(4, 0.25))
            self._check_best(bandit.probabilities(), best)

    def test_late_rewards_are_learned_from(self) -> None:
        """The same where the bandit draws by itself and rewards come up to ten draws late, in any order."""
        bandit, numbers, best = self.started(4), self.numbers(), 1
        waiting = []
        for _ in range(1500):
            arm = bandit.draw(numbers)
            policy = bandit.probabilities().copy()
            waiting.append((arm, policy))
            if len(waiting) > 10:
                late, then = waiting.pop(int(numbers.integers(len(waiting))))
                bandit.update(late, 1.0 if late == best else -1.0, float(then[late]), then)
        self.check_policy(bandit)
        if self.learns:
            self._check_best(bandit.probabilities(), best)

    def _check_best(self, policy: np.ndarray, best: int) -> None:
        others = np.delete(policy, best)
        assert policy[best] > others.max(), (
            f"arm {best} earned 1 and all others -1, but the policy is {policy}: set learns = False where that is meant"
        )

    def test_renumbering_the_arms_renumbers_the_policy(self) -> None:
        """The same rewards to the same arms under other numbers make the same policy under those numbers."""
        order = self.numbers(1).permutation(6).tolist()
        bandit, other, numbers = self.started(6), self.renumbered(order), self.numbers()
        if other is None:
            does_not_apply("its arms cannot be exchanged")
        other.reset(6, 1000)
        for _ in range(100):
            place = int(numbers.integers(6))
            arm, reward, policy = order[place], float(numbers.uniform(-1, 1)), bandit.probabilities().copy()
            probability = max(float(policy[arm]), 1e-3)
            bandit.update(arm, reward, probability, policy)
            other.update(place, reward, probability, policy[order])
            wanted = bandit.probabilities()[order]
            assert np.abs(other.probabilities() - wanted).max() <= 1e-12, (
                f"with its arms renumbered the policy must be {wanted}, got {other.probabilities()}: where arms have "
                "options of their own or a place of their own, override renumbered()"
            )

    def test_one_arm_is_always_drawn(self) -> None:
        """With one task the bandit is a formality, whatever it earns."""
        bandit, numbers = self.started(1), self.numbers()
        for reward in (1.0, -1.0, 0.0):
            assert bandit.draw(numbers) == 0
            bandit.update(0, reward, 1.0, np.ones(1))
            self.check_policy(bandit)

    def test_looking_changes_nothing(self) -> None:
        """Neither ``probabilities()`` nor ``state_dict()`` nor ``describe()`` does, however often."""
        bandit, twin = self.trained(4), self.trained(4)
        with unchanged(bandit, "looking at a bandit"):
            for _ in range(3):
                bandit.probabilities()
                bandit.describe()
                bandit.state_dict()
        assert feed(bandit, 30, self.numbers(1)) == feed(twin, 30, self.numbers(1)), (
            "a bandit that was looked at must go on as one that was not"
        )

    def test_it_tells_its_name_and_arms_in_one_line(self) -> None:
        """``describe()`` is for the log, which names the bandit in force."""
        bandit = self.started(3)
        line = bandit.describe()
        assert type(bandit).__name__ in line, f"describe() must name {type(bandit).__name__}, got {line!r}"
        assert "3" in line, f"describe() must tell the number of arms, got {line!r}"
        assert "\n" not in line, f"describe() must be one line, got {line!r}"
