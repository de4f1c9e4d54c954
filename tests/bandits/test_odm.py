"""Online Data Mixing: what is wrong with the published estimator, and that ours is right."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from curricula.bandits import OnlineDataMixing
from tests.bandits.checks import mean_regret

POLICY = np.array([0.5, 0.3, 0.2])
EARNED = np.array([[0.8, -0.4, 0.5], [0.2, 0.6, 0.5], [-0.7, 0.1, 0.5], [0.9, -0.2, 0.5]])  # step, arm
RATE = 0.05


def moving_average(rewards):
    """Return the moving average of what every arm would have earned."""
    average = np.zeros(3)
    for step in rewards:
        average += RATE * (step - average)
    return average


def ours(arms):
    bandit = OnlineDataMixing(epsilon=3 * RATE)
    bandit.reset(3)
    for step, arm in enumerate(arms):
        bandit.update(arm, EARNED[step, arm], POLICY[arm])
    return bandit.estimates()


def published(arms, rewards=EARNED, rate=RATE):
    """Average the rewards over the probabilities when the task was drawn, as in the paper."""
    average = np.zeros(3)
    for step, arm in enumerate(arms):
        average[arm] = (1 - rate) * average[arm] + rate * rewards[step, arm] / POLICY[arm]
    return average


def expected(estimate):
    """Return the mean over all 81 ways to draw."""
    ways = list(product(range(3), repeat=len(EARNED)))
    assert sum(np.prod(POLICY[list(arms)]) for arms in ways) == pytest.approx(1.0)
    return sum(np.prod(POLICY[list(arms)]) * estimate(arms) for arms in ways)


def test_over_all_ways_to_draw_the_estimate_is_the_moving_average_of_what_could_have_been_earned():
    np.testing.assert_allclose(expected(ours), moving_average(EARNED), rtol=0, atol=1e-14)


def test_the_published_estimate_is_not():
    """The third arm earns 0.5 always, the least at the start; it tends to 0.5 / 0.2."""
    assert np.abs(expected(published) - moving_average(EARNED)).max() > 0.003
    numbers = np.random.default_rng(0)
    arms = numbers.choice(3, size=4000, p=POLICY)
    equal = np.full((4000, 3), 0.5)
    np.testing.assert_allclose(published(arms, equal), 0.5 / POLICY, rtol=1e-9)
    bandit = OnlineDataMixing(epsilon=3 * RATE)
    bandit.reset(3)
    for arm in arms:
        bandit.update(int(arm), 0.5, POLICY[arm])
    np.testing.assert_allclose(bandit.estimates(), 0.5, rtol=1e-6)


def test_several_draws_of_a_step_are_without_bias_too():
    def estimate(arms):
        bandit = OnlineDataMixing(epsilon=3 * RATE)
        bandit.reset(3)
        bandit.update_all([(arm, EARNED[0, arm], POLICY[arm]) for arm in arms])
        return bandit.estimates()

    np.testing.assert_allclose(expected(estimate), RATE * EARNED[0], rtol=0, atol=1e-14)


def test_a_draw_without_a_reward_says_nothing():
    bandit = OnlineDataMixing(epsilon=3 * RATE)
    bandit.reset(3)
    bandit.update_all([(0, 0.8, 0.5)], draws=2)
    np.testing.assert_allclose(bandit.estimates(), [0.8 * RATE / 0.5 / 2, 0.0, 0.0], rtol=1e-12)


def test_the_policy_is_softmax_with_the_exploration_that_falls_to_the_least_one():
    bandit = OnlineDataMixing(epsilon=0.2, temperature=0.5)
    bandit.reset(4)
    assert bandit.epsilon == 1.0
    for step in range(1, 400):
        bandit.update(step % 4, 1.0 if step % 4 == 1 else -0.5, 0.25)
        epsilon = max(0.2, min(1.0, np.sqrt(4 * np.log(4) / (step + 1))))
        weights = np.exp(bandit.estimates() / 0.5)
        wanted = (1 - epsilon) * weights / weights.sum() + epsilon / 4
        np.testing.assert_allclose(bandit.probabilities(), wanted, rtol=1e-12)
    assert bandit.epsilon == 0.2
    np.testing.assert_allclose(bandit.estimates(), [-0.5, 1.0, -0.5, -0.5], atol=1e-6)


def test_estimates_stay_within_the_rewards_whatever_the_probability():
    bandit = OnlineDataMixing()
    bandit.reset(2)
    for probability in (5e-324, 1e-9, 0.04):
        bandit.update(0, 1.0, probability)
        assert bandit.estimates().tolist() == [1.0, 0.0]


def test_the_rate_must_be_one_that_exploration_bears():
    with pytest.raises(ValueError, match=r"rate must be at most epsilon / number of tasks = 0.025, got 0.03: leave it"):
        OnlineDataMixing(epsilon=0.1, rate=0.03).reset(4)
    bandit = OnlineDataMixing(epsilon=0.1, rate=0.03)
    bandit.reset(3)
    before = bandit.state_dict()
    with pytest.raises(ValueError, match="rate must be at most"):
        bandit.rearrange([0, 1, 2, None])
    assert bandit.state_dict() == before
    with pytest.raises(ValueError, match=r"epsilon must be in \(0, 1\], got 0.0"):
        OnlineDataMixing(epsilon=0.0)


def test_the_regret_is_well_below_uniform():
    horizon, num_arms = 1000, 4
    assert mean_regret(OnlineDataMixing, horizon, num_arms, 3, range(2)) < 0.6 * 1.6 * horizon * (1 - 1 / num_arms)
