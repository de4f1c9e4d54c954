"""The rates: the least of their bounds, and never too large."""

from __future__ import annotations

import math

import pytest

from curricula.bandits.rates import DEFAULT_HORIZON, exp3_rates, exp3s_rates


@pytest.mark.parametrize(
    ("horizon", "num_arms", "segments", "eta", "epsilon"),
    [(5000, 4, 3, 0.02262, 0.0905), (10_000, 5, 1, 0.00888, 0.0444), (20_000, 10, 5, 0.01017, 0.1017)],
)
def test_the_rates_of_exp3s_in_numbers(horizon, num_arms, segments, eta, epsilon):
    rates = exp3s_rates(num_arms, horizon, segments)
    assert rates.eta == pytest.approx(eta, rel=1e-3)
    assert rates.epsilon == pytest.approx(epsilon, rel=1e-3)


@pytest.mark.parametrize(("num_arms", "horizon"), [(2, 1000), (10, 10_000), (100, 10**6)])
def test_the_rates_of_exp3_are_the_least_of_the_bound(num_arms, horizon):
    def bound(eta):
        return 3 * eta * num_arms * horizon + math.log(num_arms) / eta

    eta = exp3_rates(num_arms, horizon).eta
    assert bound(eta) < min(bound(0.99 * eta), bound(1.01 * eta))


@pytest.mark.parametrize("segments", [1, 4])
@pytest.mark.parametrize(("num_arms", "horizon"), [(2, 1000), (10, 10_000), (100, 10**6)])
def test_the_rates_of_exp3s_are_within_a_tenth_of_the_least_of_the_bound(num_arms, horizon, segments):
    def bound(eta):
        sharing = segments * math.log(num_arms * horizon) + math.log(horizon)
        return 3 * eta * num_arms * horizon + sharing / eta

    eta = exp3s_rates(num_arms, horizon, segments).eta
    assert bound(eta) <= 1.1 * min(bound(eta * factor) for factor in (0.5, 0.7, 0.9, 1, 1.1, 1.4, 2.0))


@pytest.mark.parametrize("rule", [exp3_rates, lambda n, t: exp3s_rates(n, t, 4)])
@pytest.mark.parametrize("num_arms", [1, 2, 3, 50, 10_000])
@pytest.mark.parametrize("horizon", [None, 1, 2, 100, 10**9])
def test_one_reward_never_moves_a_log_weight_by_more_than_1(rule, num_arms, horizon):
    eta, epsilon = rule(num_arms, horizon)
    assert 0 < epsilon <= 1
    assert 0 < eta <= epsilon / num_arms * (1 + 1e-12)


@pytest.mark.parametrize("rule", [exp3_rates, lambda n, t: exp3s_rates(n, t, 4)])
def test_longer_runs_take_smaller_steps(rule):
    etas = [rule(10, horizon).eta for horizon in (10**3, 10**4, 10**5, 10**6)]
    assert etas == sorted(etas, reverse=True)
    assert len(set(etas)) == 4


def test_more_switches_take_larger_steps():
    assert exp3s_rates(10, 10_000, 8).eta > exp3s_rates(10, 10_000, 2).eta


def test_an_unknown_horizon_is_the_default_one():
    assert exp3_rates(5, None) == exp3_rates(5, DEFAULT_HORIZON)
    assert exp3s_rates(5, None, 4) == exp3s_rates(5, DEFAULT_HORIZON, 4)
