"""What every bandit must do. A bandit exported from ``curricula.bandits`` is tested here from the moment it exists."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bandits.checks import (
    bandit_classes,
    cases,
    check_draw_frequencies,
    check_draw_index,
    check_permutation,
    check_round_trip,
    check_simplex,
    feed,
    started,
)

CASES = cases()
every_bandit = pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())
every_class = pytest.mark.parametrize("cls", bandit_classes())
SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=100)

extreme_probability = st.one_of(
    st.sampled_from([5e-324, 1e-300, 1e-12, 1.0]), st.floats(1e-300, 1.0), st.floats(-300, 0).map(lambda x: 10.0**x)
)
update = st.tuples(
    st.integers(0, 9), st.one_of(st.sampled_from([-1.0, 0.0, 1.0]), st.floats(-1, 1)), extreme_probability
)


def through_json(state):
    return json.loads(json.dumps(state, allow_nan=False))


def through_torch(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_the_known_bandits_are_found():
    assert {"Exp3", "Exp3S", "FixedPolicy"} <= {cls.__name__ for cls in bandit_classes()}


@every_bandit
@pytest.mark.parametrize("num_arms", [1, 2, 7, 100])
def test_the_first_policy_is_a_distribution(make, num_arms):
    check_simplex(started(make, num_arms))


@every_bandit
@pytest.mark.parametrize("num_arms", [2, 5])
def test_the_policy_stays_a_distribution_while_it_learns(make, num_arms):
    bandit = started(make, num_arms)
    rng = np.random.default_rng(0)
    for _ in range(30):
        feed(bandit, 20, rng, delay=3)
        check_simplex(bandit)


@every_bandit
@SETTINGS
@given(num_arms=st.integers(1, 6), updates=st.lists(update, max_size=40), scale=st.floats(0, 1))
def test_no_probability_or_reward_makes_a_number_that_is_not_finite(make, num_arms, updates, scale):
    bandit = started(make, num_arms)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for arm, reward, probability in updates:
            policy = np.full(num_arms, scale * probability)
            policy[arm % num_arms] = probability
            bandit.update(arm % num_arms, reward, probability, policy)
            check_simplex(bandit)
    json.dumps(bandit.state_dict(), allow_nan=False)


@every_bandit
@pytest.mark.parametrize("num_arms", [1, 2, 5])
def test_a_state_goes_through_json_and_on_bit_for_bit(make, num_arms):
    check_round_trip(make, num_arms, through_json)


@every_bandit
def test_a_state_goes_through_torch_load_weights_only(make):
    check_round_trip(make, 4, through_torch)


@every_bandit
def test_a_state_does_not_change_with_the_bandit_it_was_taken_from(make):
    bandit = started(make, 3)
    feed(bandit, 10, np.random.default_rng(0))
    state = bandit.state_dict()
    frozen = json.dumps(state)
    feed(bandit, 10, np.random.default_rng(1))
    assert json.dumps(state) == frozen


@every_bandit
def test_the_state_of_another_bandit_is_refused_and_changes_nothing(make):
    bandit = started(make, 3)
    feed(bandit, 10, np.random.default_rng(0))
    before = bandit.state_dict()
    with pytest.raises(ValueError, match=rf"'Ucb', this one is '{type(bandit).__name__}': make the same bandit"):
        bandit.load_state_dict({**before, "bandit": "Ucb"})
    assert bandit.state_dict() == before


@every_bandit
def test_a_state_with_a_part_missing_is_refused_and_changes_nothing(make):
    bandit, donor = started(make, 3), started(make, 3)
    feed(bandit, 10, np.random.default_rng(0))
    feed(donor, 10, np.random.default_rng(1))
    before, policy = bandit.state_dict(), bandit.probabilities().copy()
    for key in ("bandit", "num_arms", "horizon"):
        state = donor.state_dict()
        del state[key]
        with pytest.raises((KeyError, ValueError)):
            bandit.load_state_dict(state)
        assert bandit.state_dict() == before
        assert bandit.probabilities().tolist() == policy.tolist()


@every_bandit
def test_reset_forgets_everything(make):
    bandit = started(make, 3)
    fresh = bandit.state_dict()
    feed(bandit, 30, np.random.default_rng(0))
    bandit.reset(3, 1000)
    assert bandit.state_dict() == fresh


@every_bandit
def test_one_arm_is_always_drawn(make):
    bandit = started(make, 1)
    rng = np.random.default_rng(0)
    for reward in (1.0, -1.0, 0.0):
        assert bandit.draw(rng) == 0
        bandit.update(0, reward, 1.0, np.ones(1))
        assert bandit.probabilities().tolist() == [1.0]


@every_bandit
def test_renumbering_the_arms_renumbers_the_policy(make):
    check_permutation(make)


@every_bandit
def test_a_number_draws_the_arm_in_whose_stretch_it_lies(make):
    bandit = started(make, 5)
    check_draw_index(bandit)
    feed(bandit, 100, np.random.default_rng(0))
    check_draw_index(bandit)


@every_bandit
def test_arms_are_drawn_as_often_as_their_probability_says(make):
    bandit = started(make, 4)
    feed(bandit, 200, np.random.default_rng(0))
    check_draw_frequencies(bandit)


@every_bandit
def test_a_draw_takes_one_number_and_changes_nothing(make):
    bandit = started(make, 4)
    feed(bandit, 20, np.random.default_rng(0))
    before = bandit.state_dict()
    rng, twin = np.random.default_rng(1), np.random.default_rng(1)
    bandit.draw(rng)
    twin.random()
    assert rng.random() == twin.random()
    assert bandit.state_dict() == before


@every_bandit
def test_numpy_numbers_are_as_good_as_python_ones(make):
    bandit, twin = started(make, 3), started(make, 3)
    bandit.update(np.int64(1), np.float32(0.5), np.float64(0.25), np.array([0.5, 0.25, 0.25]))
    twin.update(1, 0.5, 0.25, [0.5, 0.25, 0.25])
    assert json.dumps(bandit.state_dict()) == json.dumps(twin.state_dict())


@every_bandit
def test_the_bandit_tells_its_name_and_arms_in_one_line(make):
    bandit = started(make, 3)
    line = bandit.describe()
    assert type(bandit).__name__ in line
    assert "3" in line
    assert "\n" not in line


@every_class
def test_nothing_is_drawn_or_learned_before_reset(cls):
    with pytest.raises(RuntimeError, match=rf"call {cls.__name__}\.reset\(num_arms\) before draw\(\)"):
        cls().draw(np.random.default_rng(0))
    with pytest.raises(RuntimeError, match=rf"call {cls.__name__}\.reset\(num_arms\) before update\(\)"):
        cls().update(0, 0.5, 0.5)


@every_class
@pytest.mark.parametrize("num_arms", [0, -1])
def test_no_arms_are_refused(cls, num_arms):
    with pytest.raises(ValueError, match=f"at least one arm, got num_arms={num_arms}"):
        cls().reset(num_arms)


@every_class
@pytest.mark.parametrize("horizon", [0, -1])
def test_no_horizon_is_refused(cls, horizon):
    with pytest.raises(ValueError, match=f"horizon must be at least 1 update or None, got {horizon}"):
        cls().reset(3, horizon)


@every_bandit
@pytest.mark.parametrize(
    ("arm", "reward", "probability", "message"),
    [
        (-1, 0.0, 0.5, r"arm must be in \[0, 3\), got -1"),
        (3, 0.0, 0.5, r"arm must be in \[0, 3\), got 3"),
        (0, 1.5, 0.5, r"reward must be in \[-1, 1\], got 1.5: scale it first"),
        (0, -1.0000001, 0.5, r"reward must be in \[-1, 1\]"),
        (0, math.nan, 0.5, r"reward must be in \[-1, 1\], got nan"),
        (0, math.inf, 0.5, r"reward must be in \[-1, 1\], got inf"),
        (0, 0.0, 0.0, r"probability of the draw must be in \(0, 1\], got 0.0"),
        (0, 0.0, -0.1, r"probability of the draw must be in \(0, 1\], got -0.1"),
        (0, 0.0, 1.1, r"probability of the draw must be in \(0, 1\], got 1.1"),
        (0, 0.0, math.nan, r"probability of the draw must be in \(0, 1\], got nan"),
    ],
)
def test_a_bad_update_is_refused_and_changes_nothing(make, arm, reward, probability, message):
    bandit = started(make, 3)
    feed(bandit, 10, np.random.default_rng(0))
    before = bandit.state_dict()
    with pytest.raises(ValueError, match=message):
        bandit.update(arm, reward, probability, np.full(3, 1 / 3))
    assert bandit.state_dict() == before


@every_bandit
@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (None, r"needs the policy at the draw, shape \(3,\), got None"),
        ([0.5, 0.5], r"needs the policy at the draw, shape \(3,\), got \(2,\)"),
        ([0.5, -0.5, 1.0], r"must be of probabilities in \[0, 1\], got \[0.5, -0.5, 1.0\]"),
        ([0.5, math.nan, 0.5], r"must be of probabilities in \[0, 1\], got \[0.5, nan, 0.5\]"),
    ],
)
def test_the_policy_at_the_draw_is_checked_by_those_who_need_it(make, policy, message):
    bandit = started(make, 3)
    before = bandit.state_dict()
    if bandit.needs_policy:
        with pytest.raises(ValueError, match=message):
            bandit.update(0, 0.5, 0.5, policy)
        assert bandit.state_dict() == before
    else:
        bandit.update(0, 0.5, 0.5, policy)
        check_simplex(bandit)
