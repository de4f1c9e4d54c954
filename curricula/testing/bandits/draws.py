"""What a bandit promises of its draws."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from curricula.bandits.base import Bandit
from curricula.randomness import CounterGenerator, Stream
from curricula.testing.bandits.hooks import BanditHooks, feed, run, snapshot, unchanged
from curricula.testing.chance import OneNumber, frequency_band, global_numbers, other_global_numbers
from curricula.testing.contract import does_not_apply
from curricula.testing.elsewhere import elsewhere
from curricula.testing.states import text


class DrawPromises(BanditHooks):
    """A draw is a function of the policy and one number, here and anywhere."""

    def test_a_draw_takes_one_number_and_changes_nothing(self) -> None:
        """Exactly one ``rng.random()``, so that draw n has the same number on every rank and after a resume."""
        bandit, rng, twin = self.trained(4), self.numbers(1), self.numbers(1)
        with unchanged(bandit, "a draw"):
            bandit.draw(rng)
        twin.random()
        assert rng.random() == twin.random(), "a draw must take exactly one rng.random() from the generator"

    def test_a_number_draws_the_arm_in_whose_stretch_it_lies(self) -> None:
        """The distribution function is inverted, arms in their order, and the result is a Python ``int``."""
        for bandit in (self.started(5), self.trained(5, 100)):
            policy = bandit.probabilities().tolist()
            possible = [arm for arm, probability in enumerate(policy) if probability > 0]
            for arm in possible:
                start, width = math.fsum(policy[:arm]), policy[arm]
                for part in (0.01, 0.5, 0.99):
                    self._check_draw(bandit, start + part * width, arm)
            self._check_draw(bandit, 0.0, possible[0])
            self._check_draw(bandit, 1.0 - 2.0**-53, possible[-1])
            self._check_draw(bandit, 1.0, possible[-1])  # what rounding makes of the sum of the policy

    def _check_draw(self, bandit: Bandit, number: float, arm: int) -> None:
        generator: Any = OneNumber(number)
        drawn = bandit.draw(generator)
        assert drawn == arm, f"the number {number} draws arm {arm} of {bandit.probabilities()}, got {drawn}"
        assert type(drawn) is int, f"an arm must be an int, got {type(drawn).__name__}: no checkpoint could hold it"

    def test_the_draws_of_a_step_are_those_of_as_many_calls(self) -> None:
        """``draw_all`` finds the arms that ``draw`` finds, with one number each, and ``drawn`` their probabilities."""
        for bandit in (self.started(5), self.trained(5, 100)):
            rng, twin = self.numbers(1), self.numbers(1)
            with unchanged(bandit, "draws"):
                arms = bandit.draw_all(rng, 50)
            one_by_one, wanted, probabilities = copy.deepcopy(bandit), [], []
            for _ in range(50):
                wanted.append(one_by_one.draw(twin))
                policy = one_by_one.probabilities().tolist()
                probabilities.append(policy[wanted[-1]])
                told = one_by_one.drawn(wanted[-1:])
                assert told == probabilities[-1:], (
                    f"drawn({wanted[-1:]}) must be the arm's probability in {policy}, got {told}"
                )
            assert arms == wanted, f"draw_all() must draw as 50 calls of draw(), {wanted}, got {arms}"
            assert all(type(arm) is int for arm in arms), "an arm must be an int: no checkpoint could hold it"
            assert rng.random() == twin.random(), "draw_all() must take exactly one rng.random() per draw"
            told = bandit.drawn(arms)
            assert told == probabilities, f"drawn() must give the probabilities {probabilities}, got {told}"
            assert snapshot(bandit) == snapshot(one_by_one), "drawn() of a step must be drawn() of its draws in turn"

    def test_arms_are_drawn_as_often_as_their_probability_says(self) -> None:
        """In 20,000 draws; the chance that it fails although all is right is 1e-9."""
        bandit, draws = self.trained(4, 200), 20_000
        numbers = CounterGenerator(self.seed, Stream.DRAWS)
        counts = np.bincount([bandit.draw(numbers.at(n)) for n in range(draws)], minlength=4).tolist()
        assert len(counts) == 4, f"of 4 arms, arm {len(counts) - 1} was drawn"
        for arm, (count, probability) in enumerate(zip(counts, bandit.probabilities().tolist(), strict=True)):
            band = frequency_band(draws, probability, 4)
            assert abs(count - draws * probability) <= band, (
                f"arm {arm} was drawn {count} times in {draws}; at its probability of {probability:.4f} "
                f"{draws * probability:.0f} +- {band:.0f} are expected"
            )

    def test_two_runs_agree_whatever_the_global_random_numbers(self) -> None:
        """A run is a function of the numbers handed to ``draw``; the global streams are neither read nor moved."""
        with other_global_numbers(1):
            one = run(self.make(4), 4, self.seed)
        with other_global_numbers(2):
            before = global_numbers()
            other = run(self.make(4), 4, self.seed)
            assert global_numbers() == before, "a bandit must not draw from the global random streams"
        assert one == other, "two runs with the same draws and rewards must be the same"
        bandit, twin = self.trained(3), self.trained(3)
        feed(bandit, 20, self.numbers(1))
        feed(twin, 20, self.numbers(1))
        assert text(bandit.state_dict()) == text(twin.state_dict()), "two bandits must not share what they learn"

    def test_a_run_in_another_process_agrees(self) -> None:
        """Also where strings have other hashes: a resumed run is another process."""
        if not self.picklable:
            does_not_apply("it cannot be pickled")
        there = elsewhere(run, self.make(4), 4, self.seed)
        here = run(self.make(4), 4, self.seed)
        for name, value in here.items():
            assert there[name] == value, f"in another process the {name} must be {value}, got {there[name]}"
