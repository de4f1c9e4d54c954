"""FixedPolicy: the baselines."""

from __future__ import annotations

import math

import numpy as np
import pytest

from curricula.bandits import FixedPolicy


def policy_of(bandit, num_arms):
    bandit.reset(num_arms)
    return bandit.probabilities().tolist()


def test_uniform_gives_every_task_the_same():
    assert policy_of(FixedPolicy.uniform(), 4) == [0.25] * 4
    assert policy_of(FixedPolicy(), 4) == [0.25] * 4


def test_weights_are_normalised():
    assert policy_of(FixedPolicy([3, 1, 0]), 3) == [0.75, 0.25, 0.0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 10.0])
def test_proportional_is_the_size_to_the_power_of_one_over_the_temperature(temperature):
    sizes = np.array([900.0, 100.0, 10.0])
    wanted = sizes ** (1 / temperature) / (sizes ** (1 / temperature)).sum()
    np.testing.assert_allclose(
        policy_of(FixedPolicy.proportional(sizes, temperature=temperature), 3), wanted, rtol=1e-12
    )


def test_proportional_at_the_ends_of_the_temperature():
    np.testing.assert_allclose(policy_of(FixedPolicy.proportional([9, 1], temperature=1e9), 2), [0.5, 0.5], rtol=1e-8)
    assert policy_of(FixedPolicy.proportional([9, 1], temperature=1e-3), 2) == [1.0, 0.0]
    assert policy_of(FixedPolicy.proportional([1e300, 1e300], temperature=0.01), 2) == [0.5, 0.5]


def test_rewards_change_nothing():
    bandit = FixedPolicy([3, 1])
    bandit.reset(2)
    for reward in (1.0, -1.0, 0.5):
        bandit.update(1, reward, 0.25)
    assert bandit.probabilities().tolist() == [0.75, 0.25]


def test_a_task_of_weight_0_is_never_drawn():
    bandit = FixedPolicy([0, 1, 0, 1, 0])
    bandit.reset(5)
    rng = np.random.default_rng(0)
    assert {bandit.draw(rng) for _ in range(2000)} == {1, 3}


@pytest.mark.parametrize(
    "weights",
    [[1, -1], [0, 0], [], [1, math.nan], [1, math.inf], [[1, 2]], [1e308, 1e308]],
    ids=str,
)
def test_weights_that_make_no_policy_are_refused(weights):
    with pytest.raises(ValueError, match="weights must be >= 0, not all 0, and their sum finite, got"):
        FixedPolicy(weights)


@pytest.mark.parametrize("sizes", [[], [1, 0], [1, -1], [1, math.inf], [1, math.nan]], ids=str)
def test_sizes_must_be_positive(sizes):
    with pytest.raises(ValueError, match="sizes must be finite and > 0, got"):
        FixedPolicy.proportional(sizes)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_the_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match=r"temperature must be in \(0, inf\), got"):
        FixedPolicy.proportional([1, 2], temperature=temperature)


@pytest.mark.parametrize("num_arms", [1, 3])
def test_weights_for_another_number_of_tasks_are_refused(num_arms):
    with pytest.raises(ValueError, match=f"FixedPolicy has 2 weights for {num_arms} tasks: give one per task"):
        FixedPolicy([1, 2]).reset(num_arms)


def test_the_state_of_another_fixed_policy_is_refused_and_changes_nothing():
    saved, other = FixedPolicy([1, 2]), FixedPolicy([2, 1])
    saved.reset(2)
    other.reset(2)
    with pytest.raises(ValueError, match="made with another FixedPolicy: give the same weights"):
        other.load_state_dict(saved.state_dict())
    assert other.probabilities().tolist() == [2 / 3, 1 / 3]
