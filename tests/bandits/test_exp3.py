"""Exp3: closed forms, the printed equations at 30 digits, and the regret bound."""

from __future__ import annotations

import math

import numpy as np
import pytest

from curricula.bandits import Exp3, FixedPolicy
from curricula.bandits.exp3 import mix
from curricula.bandits.rates import exp3_rates
from tests.bandits.checks import (
    check_follows_paper,
    check_optimism,
    check_survives,
    check_weights,
    mean_regret,
    piecewise_rewards,
)


def test_mix_gives_every_arm_its_part_of_the_exploration():
    np.testing.assert_allclose(mix(np.array([1.0, 0.0, 0.0, 0.0]), 0.2), [0.85, 0.05, 0.05, 0.05], rtol=1e-15)
    assert mix(np.array([0.9, 0.1]), 0.0).tolist() == [0.9, 0.1]
    assert mix(np.array([0.9, 0.1]), 1.0).tolist() == [0.5, 0.5]


def test_one_reward_moves_one_weight_by_eta_r_over_pi():
    bandit = Exp3(eta=0.1, epsilon=0.05)
    bandit.reset(2)
    bandit.update(0, 1.0, 0.5)
    check_weights(bandit, [math.exp(0.2), 1.0], 0.05)
    bandit.update(1, -0.5, 0.25)
    check_weights(bandit, [math.exp(0.2), math.exp(-0.2)], 0.05)


def test_rewards_add_up_in_the_exponent():
    bandit = Exp3(eta=0.01, epsilon=0.0)
    bandit.reset(4)
    for arm, reward, probability in [(0, 1.0, 0.25), (1, 0.5, 0.2), (0, -1.0, 0.5), (3, 0.3, 0.1)]:
        bandit.update(arm, reward, probability)
    check_weights(bandit, [math.exp(0.04 - 0.02), math.exp(0.025), 1.0, math.exp(0.03)], 0.0)


def test_the_estimate_is_unbiased():
    rewards, policy, eta = [0.7, -0.2, 0.4], [0.5, 0.3, 0.2], 0.01
    change = np.zeros(3)
    for arm in range(3):
        bandit = Exp3(eta=eta, epsilon=0.1)
        bandit.reset(3)
        bandit.update(arm, rewards[arm], policy[arm])
        moved = bandit.log_weights()
        change += policy[arm] * (moved - moved[arm - 1])  # the arm before is not rewarded: it shows the common shift
    np.testing.assert_allclose(change / eta, rewards, rtol=1e-12)


def test_optimism_goes_to_every_arm_over_its_own_probability():
    check_optimism(Exp3)


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_it_follows_the_printed_equations(beta, epsilon, any_seed):
    check_follows_paper(Exp3, shared=False, beta=beta, epsilon=epsilon, steps=500, eta=0.02, seed=any_seed)


def test_the_order_of_late_rewards_does_not_matter():
    updates = [(0, 0.5, 0.3), (1, -1.0, 0.2), (2, 0.25, 0.5), (0, 1.0, 0.9)]
    policies = []
    for order in (updates, updates[::-1]):
        bandit = Exp3(eta=0.1, epsilon=0.1)
        bandit.reset(3)
        for update in order:
            bandit.update(*update)
        policies.append(bandit.probabilities())
    np.testing.assert_allclose(policies[0], policies[1], rtol=1e-14)


@pytest.mark.parametrize("reward", [1.0, -1.0])
def test_equal_rewards_without_an_end_leave_every_number_finite(reward):
    check_survives(Exp3(eta=0.1, epsilon=0.5), reward, 100_000)


def test_an_arm_whose_probability_underflowed_can_come_back():
    bandit = Exp3(eta=0.1, epsilon=0.0, beta=0.1)
    bandit.reset(2)
    bandit.update(0, -1.0, 1e-5, np.array([1e-5, 1 - 1e-5]))
    assert bandit.probabilities().tolist() == [0.0, 1.0]
    bandit.update(1, 1.0, 1.0, bandit.probabilities().copy())
    assert bandit.probabilities().tolist() == [1.0, 0.0]


def test_log_weights_are_a_copy():
    bandit = Exp3()
    bandit.reset(3)
    bandit.log_weights()[:] = 5.0
    np.testing.assert_allclose(bandit.log_weights(), -math.log(3), rtol=1e-15)


def test_given_constants_are_used_and_the_others_come_from_the_rates():
    rates = exp3_rates(4, 2000)
    for given, eta, epsilon in [({}, *rates), ({"eta": 0.5}, 0.5, rates.epsilon), ({"epsilon": 0.5}, rates.eta, 0.5)]:
        bandit = Exp3(**given)
        bandit.reset(4, 2000)
        assert (bandit.eta, bandit.epsilon) == (eta, epsilon)


def test_a_resumed_run_keeps_its_constants_but_for_those_set_by_hand():
    first = Exp3()
    first.reset(4, horizon=123)
    resumed, changed = Exp3(), Exp3(eta=0.5)
    resumed.reset(4, horizon=99_999)
    for bandit in (resumed, changed):
        bandit.load_state_dict(first.state_dict())
    assert (resumed.eta, resumed.epsilon, resumed.horizon) == (first.eta, first.epsilon, 123)
    assert (changed.eta, changed.epsilon) == (0.5, first.epsilon)


def test_a_state_whose_parts_do_not_fit_is_refused():
    bandit = Exp3()
    bandit.reset(3)
    with pytest.raises(ValueError, match="of 3 arms, but has 2 log_weights: it is damaged"):
        bandit.load_state_dict({**bandit.state_dict(), "log_weights": [0.0, 0.0]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eta": 0.0}, r"eta must be in \(0, inf\), got 0.0"),
        ({"eta": math.inf}, r"eta must be in \(0, inf\), got inf"),
        ({"eta": math.nan}, r"eta must be in \(0, inf\), got nan"),
        ({"epsilon": -0.1}, r"epsilon must be in \[0, 1\], got -0.1"),
        ({"epsilon": 1.1}, r"epsilon must be in \[0, 1\], got 1.1"),
        ({"beta": -1.0}, r"beta must be in \[0, inf\), got -1.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Exp3(**options)


@pytest.mark.parametrize("value", ["0.1", True, [0.1]])
def test_options_that_are_not_numbers_are_refused(value):
    with pytest.raises(TypeError, match="eta must be a number, got"):
        Exp3(eta=value)


def test_the_regret_to_the_best_single_arm_is_within_the_bound(any_seed):
    horizon, num_arms, seeds = 5000, 4, range(5 * any_seed, 5 * any_seed + 5)
    rates = exp3_rates(num_arms, horizon)
    regret = mean_regret(lambda: Exp3(eta=rates.eta, epsilon=rates.epsilon), horizon, num_arms, 1, seeds)
    uniform = mean_regret(FixedPolicy, horizon, num_arms, 1, seeds)
    # As regret_bound, without the two terms of sharing: the best arm starts with 1 / N of the weight.
    bound = 2 * rates.epsilon * horizon + math.log(num_arms) / rates.eta + rates.eta * num_arms * horizon
    assert regret <= bound
    assert regret <= 0.3 * uniform  # Bernoulli .9 against .1 leaves it no excuse


def test_the_planted_rewards_do_not_depend_on_the_draws():
    rewards, best = piecewise_rewards(1000, 4, 2, seed=0)
    again, _ = piecewise_rewards(1000, 4, 2, seed=0)
    assert rewards.tolist() == again.tolist()
    assert best[[0, 499, 500, 999]].tolist() == [0, 0, 1, 1]
    assert set(np.unique(rewards)) == {-1.0, 1.0}
