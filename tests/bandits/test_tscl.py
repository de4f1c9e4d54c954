"""TSCL's four algorithms: closed forms, exact probabilities, blocks, and the tasks that are left."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.bandits import TSCLNaive, TSCLOnline, TSCLSampling, TSCLWindow
from curricula.bandits.tscl import slope
from curricula.bandits.tscl_sampling import probabilities_of_the_largest
from curricula.teacher import Teacher
from tests.bandits.checks import contract, mean_regret

SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=40)
rewards = st.floats(-1, 1)
TSCL = [TSCLOnline, TSCLNaive, TSCLWindow, TSCLSampling]


def fed(bandit, num_arms, pulls):
    """Return the bandit after these arms earned these rewards, one a step."""
    bandit.reset(num_arms)
    for arm, reward in pulls:
        bandit.update(arm, reward, 0.5)
    return bandit


def test_online_is_a_moving_average_of_the_rewards_of_the_task_alone():
    bandit = fed(TSCLOnline(rate=0.25, epsilon=0.2), 3, [(0, 1.0), (1, -0.6), (0, 0.2), (0, 0.5)])
    wanted = [((0.25 * 0.75) + 0.25 * 0.2) * 0.75 + 0.25 * 0.5, -0.15, 0.0]
    np.testing.assert_allclose(bandit.values(), wanted, rtol=1e-14)
    np.testing.assert_allclose(bandit.probabilities(), [0.8 + 0.2 / 3, 0.2 / 3, 0.2 / 3], rtol=1e-14)


def test_with_a_temperature_the_odds_are_the_exponential_of_the_difference():
    bandit = fed(TSCLOnline(rate=0.5, epsilon=0.0, temperature=0.1), 3, [(0, 0.4), (2, -0.2)])
    policy = bandit.probabilities()
    np.testing.assert_allclose(policy[0] / policy[1], np.exp(2.0), rtol=1e-13)
    np.testing.assert_allclose(policy[1] / policy[2], np.exp(1.0), rtol=1e-13)


@pytest.mark.parametrize("make", [TSCLOnline, lambda **o: TSCLNaive(repeats=1, **o), TSCLWindow, TSCLSampling])
def test_a_task_that_gets_worse_is_practised_where_the_absolute_value_counts(make):
    pulls = [(arm, 0.0 if arm else -0.5) for arm in range(3) for _ in range(2)]
    assert fed(make(epsilon=0.0, absolute=True), 3, pulls).probabilities().tolist() == [1.0, 0.0, 0.0]
    assert fed(make(epsilon=0.0), 3, pulls).probabilities().tolist() == [0.0, 0.5, 0.5]


@SETTINGS
@given(earned=st.lists(rewards, min_size=1, max_size=12))
def test_the_slope_of_a_row_of_rewards_is_their_weighted_mean(earned):
    points = len(earned) + 1
    weights = [6 * k * (points - k) / (points * (points**2 - 1)) for k in range(1, points)]
    assert sum(weights) == pytest.approx(1.0)
    curve = np.concatenate([[0.0], np.cumsum(earned)])
    found = slope(range(points), [0.0, *earned])
    assert found == pytest.approx(float(np.dot(weights, earned)), abs=1e-12)
    assert found == pytest.approx(float(np.polyfit(np.arange(points), curve, 1)[0]), abs=1e-9)
    bandit = fed(TSCLNaive(repeats=len(earned), rate=1.0), 2, [(1, reward) for reward in earned])
    assert bandit.values().tolist() == [0.0, found]


def test_naive_draws_a_task_until_it_has_its_rewards():
    bandit, numbers = TSCLNaive(repeats=3, epsilon=0.3), np.random.default_rng(0)
    bandit.reset(4)
    arms = []
    for _ in range(60):
        arms.append(bandit.draw(numbers))
        bandit.update(arms[-1], float(numbers.uniform(-1, 1)), bandit.probability(arms[-1]))
    assert all(len(set(arms[k : k + 3])) == 1 for k in range(0, 60, 3))
    assert len(set(arms)) == 4


def test_tasks_that_were_begun_together_are_drawn_alike_until_each_has_its_rewards():
    bandit = TSCLNaive(repeats=2, rate=1.0, epsilon=0.0)
    bandit.reset(3)
    bandit.update_all([(0, 0.2, 1 / 3), (2, 0.4, 1 / 3)])
    assert bandit.probabilities().tolist() == [0.5, 0.0, 0.5]
    bandit.update(2, 0.4, 0.5)
    assert bandit.probabilities().tolist() == [1.0, 0.0, 0.0]
    bandit.update(0, 0.2, 1.0)
    assert bandit.probabilities().tolist() == [0.0, 0.0, 1.0]


def test_naive_with_one_repeat_is_online():
    one, other, numbers = TSCLNaive(repeats=1), TSCLOnline(), np.random.default_rng(1)
    one.reset(3)
    other.reset(3)
    for _ in range(50):
        arm, reward = int(numbers.integers(3)), float(numbers.uniform(-1, 1))
        one.update(arm, reward, 0.5)
        other.update(arm, reward, 0.5)
        assert one.values().tolist() == pytest.approx(other.values().tolist(), abs=1e-14)


@SETTINGS
@given(pulls=st.lists(st.tuples(st.integers(0, 2), rewards), max_size=40), window=st.integers(2, 6))
def test_a_window_has_the_slope_of_the_last_points_against_the_number_of_the_step(pulls, window):
    bandit = fed(TSCLWindow(window=window), 3, pulls)
    for arm in range(3):
        steps = [step for step, (drawn, _) in enumerate(pulls) if drawn == arm]
        curve = np.cumsum([pulls[step][1] for step in steps])
        wanted = 1.0 if len(steps) < 2 else np.polyfit(steps[-window:], curve[-window:], 1)[0]
        assert bandit.values()[arm] == pytest.approx(wanted, abs=1e-9)
    assert np.abs(bandit.values()).max() <= 1.0 + 1e-12


def test_the_draws_of_a_step_are_one_step_of_time():
    bandit = TSCLWindow()
    bandit.reset(2)
    for _ in range(2):
        bandit.update_all([(0, 0.5, 0.5), (0, 0.1, 0.5), (1, 0.2, 0.5)])
    np.testing.assert_allclose(bandit.values(), [0.3, 0.2], rtol=1e-12)


def enumerated(samples):
    """Return the probabilities by going through every outcome."""
    found = [Fraction(0)] * len(samples)
    for outcome in product(*samples):
        best = [arm for arm, number in enumerate(outcome) if number == max(outcome)]
        for arm in best:
            found[arm] += Fraction(1, len(best))
    total = sum(found)
    return [float(part / total) for part in found]


few = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.3, 1.0]), min_size=1, max_size=4)


@SETTINGS
@given(samples=st.lists(few, min_size=1, max_size=5))
def test_the_probability_of_the_largest_is_that_of_all_outcomes_with_ties(samples):
    found = probabilities_of_the_largest([np.array(own) for own in samples])
    np.testing.assert_allclose(found, enumerated(samples), rtol=0, atol=1e-14)


def test_it_stays_exact_with_many_arms_and_many_ties():
    found = probabilities_of_the_largest([np.ones(10)] * 300 + [np.zeros(10)] * 100)
    np.testing.assert_allclose(found, [1 / 300] * 300 + [0.0] * 100, rtol=1e-12)
    half = probabilities_of_the_largest([np.array([0.0, 1.0])] * 64)
    np.testing.assert_allclose(half, [1 / 64] * 64, rtol=1e-12)


def test_sampling_draws_as_often_as_drawing_a_reward_of_each_and_taking_the_largest():
    numbers = np.random.default_rng(2)
    kept = [numbers.uniform(-1, 1, 10).round(1) for _ in range(4)]
    bandit = fed(TSCLSampling(), 4, [(arm, float(reward)) for arm in range(4) for reward in kept[arm]])
    drawn = np.stack([own[numbers.integers(10, size=200_000)] for own in kept], axis=1)
    best = drawn == drawn.max(axis=1, keepdims=True)
    frequencies = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(bandit.probabilities(), frequencies, rtol=0, atol=0.006)


def test_sampling_forgets_all_but_the_last_rewards_and_takes_new_tasks_for_good_ones():
    bandit = fed(TSCLSampling(window=2), 3, [(0, 0.9), (0, 0.1), (0, 0.2), (1, 0.15)])
    assert bandit.probabilities().tolist() == [0.0, 0.0, 1.0]
    bandit.update(2, -1.0, 1.0)
    assert bandit.probabilities().tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("cls", TSCL)
def test_where_the_chosen_task_was_removed_the_best_of_the_others_is_chosen(cls):
    bandit = cls(epsilon=0.0) if cls is not TSCLNaive else cls(epsilon=0.0, repeats=2)
    teacher = Teacher(["a", "b", "c"], bandit=bandit)
    for arm, reward in ((0, 0.9), (0, 0.9), (1, 0.5), (1, 0.5), (2, -0.5), (2, -0.5)):
        bandit.update(arm, reward, 0.5)
    assert teacher.probabilities().tolist() == [1.0, 0.0, 0.0]
    teacher.remove_task("a")
    assert teacher.probabilities().tolist() == [0.0, 1.0, 0.0]
    assert teacher.draw().probability == 1.0


@pytest.mark.parametrize("cls", TSCL)
def test_the_regret_is_well_below_uniform(cls):
    horizon, num_arms = 1000, 4
    uniform = 1.6 * horizon * (1 - 1 / num_arms)  # the best arm earns 0.8 a step, the others -0.8
    assert mean_regret(cls, horizon, num_arms, 3, range(2)) < 0.6 * uniform


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TSCLOnline(rate=0.0), r"rate must be in \(0, 1\], got 0.0"),
        (lambda: TSCLOnline(temperature=-1.0), r"temperature must be in \[0, inf\), got -1.0"),
        (lambda: TSCLSampling(epsilon=2.0), r"epsilon must be in \[0, 1\], got 2.0"),
        (lambda: TSCLNaive(repeats=0), "repeats must be at least 1, got 0"),
        (lambda: TSCLWindow(window=1), "window must be at least 2, got 1"),
        (lambda: TSCLSampling(window=0), "window must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_options_of_another_kind_are_refused():
    with pytest.raises(TypeError, match=r"window must be an int, got 2\.5"):
        TSCLWindow(window=2.5)
    with pytest.raises(TypeError, match="absolute must be True or False, got 'no'"):
        TSCLOnline(absolute="no")


class DrawsInsteadOfAveraging(TSCLSampling):
    """Thompson's way, literally: the probability is not that of the draw."""

    def draw(self, rng):
        return int(np.argmax([rng.choice(own) for own in self._samples(range(self.num_arms))]))


class FirstOfTies(TSCLOnline):
    def _choose(self, arms):
        return np.eye(len(arms))[int(self._values[arms].argmax())]


class ForgetsTheStep(TSCLWindow):
    def _load_state(self, state):
        super()._load_state(state)
        self._updates = 0


class OneUpdateForEachDraw(TSCLOnline):
    def _learn_all(self, pulls, draws):
        for pull in pulls:
            self._observe({pull.arm: pull.reward})
        self._policy = None


@pytest.mark.parametrize(
    ("mutant", "promise"),
    [
        (DrawsInsteadOfAveraging, "test_a_draw_takes_one_number_and_changes_nothing"),
        (DrawsInsteadOfAveraging, "test_a_number_draws_the_arm_in_whose_stretch_it_lies"),
        (FirstOfTies, "test_renumbering_the_arms_renumbers_the_policy"),
        (ForgetsTheStep, "test_a_state_goes_through_a_file_and_on_bit_for_bit"),
        (lambda: OneUpdateForEachDraw(temperature=0.1), "test_draws_of_one_arm_are_one_update_by_their_mean"),
    ],
)
def test_the_mutant_is_caught(mutant, promise):
    assert contract(mutant).failures(promise)
