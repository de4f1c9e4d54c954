"""Boltzmann: moving averages around a prior."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.bandits import Boltzmann, FixedPolicy
from tests.bandits.checks import mean_regret

SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=40)


@SETTINGS
@given(
    prior=st.lists(st.floats(0.01, 10), min_size=1, max_size=6),
    pulls=st.lists(st.tuples(st.integers(0, 5), st.floats(-1, 1)), max_size=30),
    temperature=st.floats(0.05, 5),
)
def test_the_policy_is_the_prior_times_the_exponential_of_the_moving_average(prior, pulls, temperature):
    bandit = Boltzmann(prior=prior, temperature=temperature, rate=0.3, epsilon=0.1)
    bandit.reset(len(prior))
    values = np.zeros(len(prior))
    for arm, reward in pulls:
        bandit.update(arm % len(prior), reward, 0.5)
        values[arm % len(prior)] += 0.3 * (reward - values[arm % len(prior)])
    weights = np.array(prior) * np.exp(values / temperature)
    np.testing.assert_allclose(bandit.values(), values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        bandit.probabilities(), 0.9 * weights / weights.sum() + 0.1 / len(prior), rtol=1e-9, atol=1e-12
    )


def test_equal_rewards_leave_the_prior_as_it_is():
    bandit, fixed = Boltzmann(prior=[5, 3, 2]), FixedPolicy([5, 3, 2])
    bandit.reset(3)
    fixed.reset(3)
    for _ in range(20):
        bandit.update_all([(arm, 0.7, 0.3) for arm in range(3)])
    np.testing.assert_allclose(bandit.probabilities(), fixed.probabilities(), rtol=1e-12)


def test_among_the_tasks_that_are_left_the_ratios_stay():
    bandit = Boltzmann(prior=[5, 3, 2])
    bandit.reset(3)
    bandit.update(1, 0.8, 0.3)
    policy = bandit.probabilities()
    wanted = [0.0, policy[1] / (policy[1] + policy[2]), policy[2] / (policy[1] + policy[2])]
    np.testing.assert_allclose(bandit.probabilities_among([1, 2]), wanted, rtol=1e-12)


def test_a_new_task_gets_the_mean_of_the_prior_and_of_the_values():
    bandit = Boltzmann(prior=[5, 3, 2], rate=1.0)
    bandit.reset(3)
    bandit.update(0, 0.6, 0.5)
    bandit.rearrange([0, 2, None])
    np.testing.assert_allclose(bandit.prior, np.array([5, 2, 3.5]) / 10.5, rtol=1e-12)
    np.testing.assert_allclose(bandit.values(), [0.6, 0.0, 0.3], rtol=1e-12)


def test_a_state_is_continued_with_the_prior_given_now_and_else_with_its_own():
    saved = Boltzmann(prior=[5, 3, 2])
    saved.reset(3)
    saved.update(0, 0.6, 0.5)
    state = saved.state_dict()
    same, other, none = Boltzmann(prior=[5, 3, 2]), Boltzmann(prior=[1, 1, 2]), Boltzmann()
    for bandit in (same, other, none):
        bandit.load_state_dict(state)
    assert same.probabilities().tolist() == none.probabilities().tolist() == saved.probabilities().tolist()
    assert other.prior.tolist() == [0.25, 0.25, 0.5]
    assert other.values().tolist() == saved.values().tolist()
    two = Boltzmann(prior=[4, 1])
    two.load_state_dict(state, [2, 0])
    assert two.prior.tolist() == [0.8, 0.2]
    assert two.values().tolist() == saved.values()[[2, 0]].tolist()


def test_a_prior_for_other_tasks_is_refused_and_changes_nothing():
    bandit, donor = Boltzmann(prior=[4, 1]), Boltzmann()
    bandit.reset(2)
    donor.reset(3)
    before = bandit.state_dict()
    with pytest.raises(ValueError, match="Boltzmann has a prior of 2 weights for 3 tasks: give one per task"):
        bandit.load_state_dict(donor.state_dict())
    with pytest.raises(ValueError, match="Boltzmann has a prior of 2 weights for 3 tasks: give one per task"):
        Boltzmann(prior=[4, 1]).reset(3)
    with pytest.raises(ValueError, match="the state is of the bandit 'Exp3'"):
        bandit.load_state_dict({**donor.state_dict(), "bandit": "Exp3", "num_arms": 2})
    assert bandit.state_dict() == before
    bandit.reset(2)
    assert bandit.prior.tolist() == [0.8, 0.2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prior": [1, 0]}, "prior must be > 0 for every task"),
        ({"prior": [1, -1]}, "prior must be >= 0, not all 0"),
        ({"temperature": 0.0}, r"temperature must be in \(0, inf\), got 0.0"),
        ({"rate": 1.5}, r"rate must be in \(0, 1\], got 1.5"),
    ],
)
def test_bad_options_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        Boltzmann(**options)


def test_the_regret_is_well_below_uniform():
    horizon, num_arms = 1000, 4
    assert mean_regret(Boltzmann, horizon, num_arms, 3, range(2)) < 0.5 * 1.6 * horizon * (1 - 1 / num_arms)
