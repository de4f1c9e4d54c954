"""Sliding-window and discounted UCB: the printed indices, ties, windows, removed tasks, regret."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.bandits import DiscountedUCB, SlidingWindowUCB
from curricula.teacher import Teacher
from tests.bandits.checks import mean_regret

SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=40)
pulls = st.lists(st.tuples(st.integers(0, 3), st.floats(-1, 1)), min_size=1, max_size=50)
UCB = [SlidingWindowUCB, DiscountedUCB]


def fed(bandit, num_arms, earned):
    """Return the bandit after these arms earned these rewards, one a step."""
    bandit.reset(num_arms)
    for arm, reward in earned:
        bandit.update(arm, reward, 1.0)
    return bandit


def check_bounds(bandit, wanted):
    np.testing.assert_allclose(bandit.values(), wanted, rtol=1e-12)
    best = bandit.values() == bandit.values().max()
    assert bandit.probabilities().tolist() == (best / best.sum()).tolist()


@SETTINGS
@given(earned=pulls, window=st.integers(1, 20), xi=st.floats(0.1, 2))
def test_the_sliding_window_has_the_printed_index(earned, window, xi):
    last, wanted = earned[-window:], []
    for arm in range(4):
        own = [reward for drawn, reward in last if drawn == arm]
        level = xi * math.log(min(len(earned), window))
        wanted.append(math.fsum(own) / len(own) + 2 * math.sqrt(level / len(own)) if own else math.inf)
    check_bounds(fed(SlidingWindowUCB(window=window, xi=xi), 4, earned), wanted)


@SETTINGS
@given(earned=pulls, gamma=st.floats(0.5, 1.0), xi=st.floats(0.1, 2))
def test_the_discounted_one_has_the_printed_index(earned, gamma, xi):
    ages = [len(earned) - 1 - step for step in range(len(earned))]
    total, wanted = math.fsum(gamma**age for age in ages), []
    for arm in range(4):
        count = math.fsum(gamma**age for age, (drawn, _) in zip(ages, earned, strict=True) if drawn == arm)
        earns = math.fsum(
            gamma**age * reward for age, (drawn, reward) in zip(ages, earned, strict=True) if drawn == arm
        )
        bonus = 4 * math.sqrt(xi * max(0.0, math.log(total)) / count) if count else math.inf
        wanted.append(earns / count + bonus if count else math.inf)
    np.testing.assert_allclose(fed(DiscountedUCB(gamma=gamma, xi=xi), 4, earned).values(), wanted, rtol=1e-9)


def test_automatic_constants_are_those_of_the_length_of_the_run():
    window, discounted = SlidingWindowUCB(segments=4), DiscountedUCB(segments=4)
    window.reset(5, 3000)
    discounted.reset(5, 3000)
    assert window.window == math.ceil(2 * math.sqrt(1000 * math.log(3000)))
    assert discounted.gamma == 1 - math.sqrt(1 / 1000) / 4
    for horizon in (None, 1, 2):
        window.reset(5, horizon)
        discounted.reset(5, horizon)
        assert window.window >= 1
        assert 0.0 < discounted.gamma < 1.0


@pytest.mark.parametrize("cls", UCB)
def test_tasks_that_were_never_drawn_come_first_and_share_the_draw(cls):
    bandit = fed(cls(), 4, [(1, 1.0)])
    assert bandit.probabilities().tolist() == [1 / 3, 0.0, 1 / 3, 1 / 3]
    bandit.update_all([(0, 0.0, 1 / 3), (3, 1.0, 1 / 3)])
    assert bandit.probabilities().tolist() == [0.0, 0.0, 1.0, 0.0]


def test_a_task_that_left_the_window_is_drawn_again():
    bandit = fed(SlidingWindowUCB(window=3), 2, [(1, -1.0), (0, 1.0), (0, 1.0)])
    assert bandit.probabilities().tolist() == [1.0, 0.0]
    bandit.update(0, 1.0, 1.0)
    assert bandit.values()[1] == math.inf


def test_draws_that_run_ahead_are_all_of_the_chosen_task_with_probability_1():
    teacher = Teacher(["a", "b"], bandit=SlidingWindowUCB())
    for arm, reward in ((0, 1.0), (1, -1.0)):
        teacher.bandit.update(arm, reward, 0.5)
    ahead = [teacher.draw() for _ in range(5)]
    assert {(draw.task, draw.probability) for draw in ahead} == {("a", 1.0)}
    for draw in ahead:
        teacher.reward(draw, 0.1)
    assert teacher.updates == 5


@pytest.mark.parametrize("cls", UCB)
def test_a_removed_task_does_not_switch_the_policy_off(cls):
    """It is never drawn, so that its bound becomes the largest of all; the others are chosen among themselves."""
    teacher = Teacher(["a", "b", "c"], bandit=cls(), seed=1)
    teacher.remove_task("c")
    tasks = []
    for _ in range(300):
        draw = teacher.draw()
        tasks.append(draw.task)
        teacher.bandit.update(draw.arm, 1.0 if draw.task == "a" else -1.0, draw.probability)
        teacher.discard(draw)
    assert "c" not in tasks
    assert tasks[100:].count("a") > 150
    assert max(teacher.probabilities()) == 1.0


@pytest.mark.parametrize("cls", UCB)
def test_what_was_learned_of_tasks_that_stay_is_kept_and_a_new_one_is_drawn_next(cls):
    bandit = fed(cls(), 3, [(0, 0.2), (1, 0.9), (2, -0.3)] * 5)
    before = bandit.values()
    bandit.rearrange([1, None, 2])
    assert bandit.probabilities().tolist() == [0.0, 1.0, 0.0]
    if cls is SlidingWindowUCB:
        assert bandit.values().tolist() == [before[1], math.inf, before[2]]
    bandit.rearrange([None, None])
    assert bandit.probabilities().tolist() == [0.5, 0.5]


@pytest.mark.parametrize("cls", UCB)
def test_the_regret_is_well_below_uniform(cls):
    horizon, num_arms = 2000, 4
    uniform = 1.6 * horizon * (1 - 1 / num_arms)
    assert mean_regret(cls, horizon, num_arms, 3, range(2)) < 0.75 * uniform


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SlidingWindowUCB(window=0), "window must be at least 1, got 0"),
        (lambda: SlidingWindowUCB(xi=0.0), r"xi must be in \(0, inf\), got 0.0"),
        (lambda: DiscountedUCB(gamma=0.0), r"gamma must be in \(0, 1\], got 0.0"),
        (lambda: DiscountedUCB(segments=0), "segments must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class KeepsOneStepTooMany(SlidingWindowUCB):
    def _forget(self):
        self.window += 1
        super()._forget()
        self.window -= 1


class DiscountsOnlyTheDrawn(DiscountedUCB):
    def _observe(self, rewards):
        for arm, reward in rewards.items():
            self._sums[arm] = self.gamma * self._sums[arm] + reward
            self._counts[arm] = self.gamma * self._counts[arm] + 1.0


class AStepForEachTask(SlidingWindowUCB):
    def _observe(self, rewards):
        for arm, reward in rewards.items():
            super()._observe({arm: reward})


def check_window(cls):
    check_bounds(fed(cls(window=1), 2, [(0, 1.0), (1, 0.0)]), [math.inf, 0.0])


def check_discount(cls):
    check_bounds(
        fed(cls(gamma=0.5), 2, [(0, 1.0), (1, 0.0), (1, 0.0)]),
        [1 + 4 * math.sqrt(0.5 * math.log(1.75) / 0.25), 4 * math.sqrt(0.5 * math.log(1.75) / 1.5)],
    )


def check_step(cls):
    bandit = cls(window=2)
    bandit.reset(3)
    bandit.update_all([(0, 1.0, 1 / 3), (1, 0.5, 1 / 3), (2, 0.0, 1 / 3)])
    check_bounds(bandit, [1.0, 0.5, 0.0])


@pytest.mark.parametrize(
    ("real", "mutant", "check"),
    [
        (SlidingWindowUCB, KeepsOneStepTooMany, check_window),
        (DiscountedUCB, DiscountsOnlyTheDrawn, check_discount),
        (SlidingWindowUCB, AStepForEachTask, check_step),
    ],
)
def test_the_mutant_is_caught(real, mutant, check):
    check(real)
    with pytest.raises(AssertionError):
        check(mutant)
