"""The weights in a tree are those of the equations, written out: whatever the rewards, and however long."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.bandits import Exp3S, shared_weights
from curricula.bandits.exp3 import mix
from curricula.bandits.shared_weights import SharedWeights, share
from tests.bandits.dense import DenseExp3S

SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=200)


def rewarded(weights, arm, step, alpha):
    """Return the weights after a step, written out."""
    raised = weights * math.exp(-max(step, 0.0))
    raised[arm] = weights[arm] * math.exp(min(step, 0.0))
    return share(raised, alpha)


def agree(shared, weights):
    np.testing.assert_allclose(shared.to_array(), weights, rtol=1e-9, atol=1e-13)
    assert math.isclose(math.fsum(shared.to_array()), 1.0, abs_tol=1e-12)


def test_three_arms_by_hand():
    shared = SharedWeights(np.array([0.2, 0.3, 0.5]))
    shared.reward(1, math.log(2.0), 0.5)  # 0.2, 0.6, 0.5 over 1.3; then half is given, a quarter to each of the others
    np.testing.assert_allclose(
        shared.to_array(), [0.25 + 0.05 / 1.3, 0.25 + 0.15 / 1.3, 0.25 + 0.125 / 1.3], rtol=1e-14
    )
    assert [shared[arm] for arm in range(3)] == shared.to_array().tolist()


@pytest.mark.parametrize("num_arms", [2, 3, 7, 64, 169])
@pytest.mark.parametrize("alpha", [None, 1e-3, 0.3])
@pytest.mark.parametrize("size", [0.05, 0.5, 5.0])
def test_long_runs_stay_with_the_weights_written_out(num_arms, alpha, size):
    rng = np.random.default_rng(num_arms)
    shared, weights = SharedWeights(np.full(num_arms, 1 / num_arms)), np.full(num_arms, 1 / num_arms)
    for step in range(2, 3000):
        arm, move = int(rng.integers(num_arms)), float(rng.normal(0, size))
        given = min(alpha or 1 / step, (num_arms - 1) / num_arms)
        shared.reward(arm, move, given)
        weights = rewarded(weights, arm, move, given)
        if step % 100 == 0:
            agree(shared, weights)


moves = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.one_of(st.sampled_from([0.0, -800.0, 800.0, 29.9, 30.1, -40.0]), st.floats(-60, 60)),
        st.one_of(st.sampled_from([1e-300, 1e-9, 0.5]), st.floats(1e-12, 0.5)),
    ),
    max_size=60,
)


@SETTINGS
@given(num_arms=st.integers(2, 9), moves=moves)
def test_hostile_rewards_stay_with_the_weights_written_out(num_arms, moves):
    shared, weights = SharedWeights(np.full(num_arms, 1 / num_arms)), np.full(num_arms, 1 / num_arms)
    for arm, move, alpha in moves:
        shared.reward(arm % num_arms, move, alpha)
        weights = rewarded(weights, arm % num_arms, move, alpha)
        agree(shared, weights)


@pytest.mark.parametrize("num_arms", [1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize("epsilon", [0.0, 0.2, 1.0])
def test_an_arm_is_found_where_the_distribution_function_reaches_the_number(num_arms, epsilon):
    rng = np.random.default_rng(1)
    shared = SharedWeights(np.full(num_arms, 1 / num_arms))
    for step in range(2, 60 if num_arms > 1 else 2):
        shared.reward(int(rng.integers(num_arms)), float(rng.normal()), 1 / step)
    policy = mix(shared.to_array(), epsilon)
    ends = np.cumsum(policy)
    for arm in range(num_arms):
        for part in (1e-6, 0.5, 1 - 1e-6):
            assert shared.find(float(ends[arm] - (1 - part) * policy[arm]), epsilon) == arm
    assert shared.find(0.0, epsilon) == 0
    assert shared.find(1.0, epsilon) == num_arms - 1


def test_the_tree_holds_sums_of_its_leaves_and_never_differences():
    rng = np.random.default_rng(2)
    shared = SharedWeights(np.full(13, 1 / 13))
    for step in range(2, 500):
        shared.reward(int(rng.integers(13)), float(rng.normal(0, 3)), 1 / step)
        nodes = shared._nodes or shared._grow()
        assert all(nodes[k] == nodes[2 * k] + nodes[2 * k + 1] for k in range(1, 16))
        assert shared.scale >= shared_weights.LEAST_SCALE
        assert shared.offset * 13 <= shared_weights.MOST_OFFSET


def test_what_is_saved_goes_on_bit_for_bit():
    rng = np.random.default_rng(3)
    shared = SharedWeights(np.full(20, 1 / 20))
    for step in range(2, 300):
        shared.reward(int(rng.integers(20)), float(rng.normal()), 1 / step)
    values, scale, offset = json.loads(json.dumps([shared.values, shared.scale, shared.offset]))
    other = SharedWeights(np.array(values), scale, offset)
    for step in range(300, 900):
        arm, move, number = int(rng.integers(20)), float(rng.normal()), float(rng.random())
        assert shared.find(number, 0.1) == other.find(number, 0.1)
        shared.reward(arm, move, 1 / step)
        other.reward(arm, move, 1 / step)
        assert [shared.values, shared.scale, shared.offset] == [other.values, other.scale, other.offset]


@pytest.mark.parametrize("options", [{}, {"alpha": 1e-3}, {"epsilon": 0.0, "eta": 0.05}, {"eta": 1.0, "epsilon": 0.1}])
@pytest.mark.parametrize("num_arms", [2, 5, 200])
def test_the_bandit_draws_and_learns_as_the_one_without_a_tree(options, num_arms):
    bandit, dense = Exp3S(**options), DenseExp3S(**options)
    rewards = np.random.default_rng(4)
    for each in (bandit, dense):
        each.reset(num_arms, 3000)
    for step in range(3000):
        arm = bandit.draw(np.random.default_rng(step))
        assert arm == dense.draw(np.random.default_rng(step))
        probability, reward = bandit.probability(arm), float(rewards.uniform(-1, 1)) + 0.3 * (arm == 1)
        assert probability == bandit.probabilities()[arm]
        assert math.isclose(probability, dense.probability(arm), rel_tol=1e-12)
        for each in (bandit, dense):
            each.update(arm, max(-1.0, min(1.0, reward)), each.probability(arm))
    np.testing.assert_allclose(bandit.probabilities(), dense.probabilities(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(bandit.log_weights(), dense.log_weights(), rtol=0, atol=1e-10)


class SumsNotAddedUp(SharedWeights):
    def reward_all(self, steps, alpha):
        before = list(self._nodes or self._grow())
        super().reward_all(steps, alpha)
        if self._nodes:
            self._nodes[2 : self._leaves] = before[2 : self._leaves]


class OffsetForgotten(SharedWeights):
    def reward_all(self, steps, alpha):
        super().reward_all(steps, alpha)
        self.offset = 0.0


class OffsetOfOneLeafPerNode(SharedWeights):
    def find(self, number, epsilon=0.0):
        node, first, half = 1, 0, self._leaves
        while half > 1:
            half >>= 1
            node *= 2
            left = (1 - epsilon) * (
                self.scale * (self._nodes or self._grow())[node] + self.offset
            ) + epsilon / self.num_arms
            if first + half < self.num_arms and number >= left:
                number -= left
                first += half
                node += 1
        return first


class NumberNotReduced(SharedWeights):
    def find(self, number, epsilon=0.0):
        return min(self.num_arms - 1, super().find(min(1.0, number * 1.3), epsilon))


class GivesToItself(SharedWeights):
    def reward_all(self, steps, alpha):
        super().reward_all(steps, alpha * (self.num_arms - 1) / self.num_arms)


@pytest.mark.parametrize(
    "mutant", [SumsNotAddedUp, OffsetForgotten, OffsetOfOneLeafPerNode, NumberNotReduced, GivesToItself]
)
def test_mutants_of_the_tree_are_caught(mutant, monkeypatch):
    monkeypatch.setattr("curricula.bandits.exp3s.SharedWeights", mutant)
    with pytest.raises((AssertionError, ZeroDivisionError, ValueError)):
        test_the_bandit_draws_and_learns_as_the_one_without_a_tree({}, 5)
