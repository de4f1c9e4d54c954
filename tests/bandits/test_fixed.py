"""FixedPolicy: the baselines."""

from __future__ import annotations

import copy
import math
import pickle
from bisect import bisect_right
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.mark.parametrize(
    ("sizes", "budget", "max_epochs", "wanted"),
    [
        ([100, 100], 50, 4, [0.5, 0.5]),
        ([1000, 10, 20], 300, 2, [0.8, 1 / 15, 2 / 15]),  # 20 and 40 are two passes, and 240 are left
        ([1000, 10, 20], 30, 2, [1 / 3, 1 / 3, 1 / 3]),
        ([30, 10, 20], 120, 2, [0.5, 1 / 6, 1 / 3]),  # two passes over everything
        ([5], 1, 4, [1.0]),
    ],
)
def test_unimax_is_as_even_as_the_passes_allow(sizes, budget, max_epochs, wanted):
    np.testing.assert_allclose(policy_of(FixedPolicy.unimax(sizes, budget, max_epochs), len(sizes)), wanted, rtol=1e-12)


@given(
    st.lists(st.floats(1, 1e6), min_size=1, max_size=8),
    st.floats(1e-3, 1),
    st.floats(0.1, 10),
)
@settings(derandomize=True, deadline=None, database=None, max_examples=60)
def test_unimax_fills_the_smallest_tasks_and_is_even_over_the_others(sizes, part, max_epochs):
    budget = part * max_epochs * sum(sizes)
    read = np.array(policy_of(FixedPolicy.unimax(sizes, budget, max_epochs), len(sizes))) * budget
    most = max_epochs * np.array(sizes)
    assert (read <= most * (1 + 1e-9)).all()
    rest = read < most * (1 - 1e-9)
    if rest.any():
        np.testing.assert_allclose(read[rest], read.max(), rtol=1e-9)


def test_unimax_refuses_a_budget_that_the_passes_cannot_fill():
    message = (
        r"2 passes over all tasks are 60, and the budget is 90: give max_epochs of at least 3, or a smaller budget"
    )
    with pytest.raises(ValueError, match=message):
        FixedPolicy.unimax([10, 20], 90, max_epochs=2)
    with pytest.raises(ValueError, match=r"budget must be in \(0, inf\), got 0.0"):
        FixedPolicy.unimax([10, 20], 0.0)
    with pytest.raises(ValueError, match="sizes must be finite and > 0"):
        FixedPolicy.unimax([10, 0], 5)


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


class Given:
    """A generator that gives the numbers it was made with, in the place of random ones."""

    def __init__(self, numbers):
        self.numbers = iter(numbers)

    def random(self):
        return next(self.numbers)


def arms_of(policy, numbers):
    """Return the arms that inverting the policy anew for every number gives, by plain Python."""
    sums = list(accumulate(policy.tolist()))
    last = max(arm for arm, probability in enumerate(policy) if probability)
    arms = [bisect_right(sums, number) for number in numbers]
    return [last if arm == len(sums) else arm for arm in arms]


def numbers_for(policy):
    """Return numbers in [0, 1): of a grid, and at and beside every place where the distribution function steps."""
    steps = np.add.accumulate(policy)
    near = np.concatenate([steps, np.nextafter(steps, 0.0), np.nextafter(steps, 1.0), np.linspace(0, 1, 17)])
    return [float(number) for number in near if 0.0 <= number < 1.0] + [0.0, math.nextafter(1.0, 0.0)]


@settings(derandomize=True, deadline=None, database=None)
@given(
    weights=st.lists(st.just(0.0) | st.floats(1e-12, 1e6), min_size=1, max_size=200).filter(lambda some: sum(some) > 0)
)
def test_every_number_falls_to_the_arm_that_inverting_the_policy_anew_gives(weights):
    bandit = FixedPolicy(weights)
    bandit.reset(len(weights))
    policy = bandit.probabilities()
    numbers = numbers_for(policy)
    rng = Given(numbers)
    assert [bandit.draw(rng) for _ in numbers] == arms_of(policy, numbers)


@pytest.mark.parametrize("num_arms", [1, 2, 10, 169, 1000, 10_000])
@pytest.mark.parametrize("temperature", [None, 1.0, 5.0])
def test_large_policies_are_inverted_alike(num_arms, temperature):
    sizes = np.random.default_rng(num_arms).integers(1, 1000, num_arms)
    bandit = FixedPolicy() if temperature is None else FixedPolicy.proportional(sizes, temperature=temperature)
    bandit.reset(num_arms)
    policy = bandit.probabilities()
    numbers = numbers_for(policy)[:: 1 + num_arms // 100]
    rng = Given(numbers)
    assert [bandit.draw(rng) for _ in numbers] == arms_of(policy, numbers)


def test_the_policy_is_added_up_once_and_again_where_the_arms_change(monkeypatch):
    calls = []
    add = np.add

    class Counted:
        def accumulate(self, policy):
            calls.append(len(policy))
            return add.accumulate(policy)

    bandit = FixedPolicy([3.0, 1.0])
    bandit.reset(2)
    monkeypatch.setattr(np, "add", Counted())
    rng = np.random.default_rng(0)
    for _ in range(100):
        bandit.draw(rng)
    assert calls == [2]
    bandit.rearrange([1, None, 0])
    for _ in range(100):
        bandit.draw(rng)
    assert calls == [2, 3]


def test_a_copy_and_a_loaded_policy_draw_alike():
    bandit = FixedPolicy([3.0, 1.0, 2.0])
    bandit.reset(3)
    bandit.draw(np.random.default_rng(0))
    loaded = FixedPolicy([3.0, 1.0, 2.0])
    loaded.load_state_dict(bandit.state_dict())
    for other in (copy.deepcopy(bandit), pickle.loads(pickle.dumps(bandit)), loaded):
        one, two = np.random.default_rng(1), np.random.default_rng(1)
        assert [bandit.draw(one) for _ in range(50)] == [other.draw(two) for _ in range(50)]


def test_a_subclass_with_a_policy_that_moves_draws_from_it():
    class Moving(FixedPolicy):
        def probabilities(self):
            self.turn = getattr(self, "turn", 0) + 1
            return np.eye(3)[self.turn % 3]

    bandit = Moving()
    bandit.reset(3)
    assert [bandit.draw(np.random.default_rng(0)) for _ in range(4)] == [1, 2, 0, 1]


def test_nothing_is_drawn_before_reset():
    with pytest.raises(RuntimeError, match=r"call FixedPolicy.reset\(num_arms\) before draw"):
        FixedPolicy([1.0]).draw(np.random.default_rng(0))
