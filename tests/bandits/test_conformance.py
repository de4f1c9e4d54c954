"""What every bandit must do. A bandit exported from ``curricula.bandits`` is tested here from the moment it exists."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.testing.bandits.hooks import feed, snapshot
from curricula.testing.states import text
from tests.bandits.checks import OurBandit, bandit_classes, cases, new

CASES = list(cases())
every_bandit = pytest.mark.parametrize("case", CASES)
every_class = pytest.mark.parametrize("cls", bandit_classes())
SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=100)

extreme_probability = st.one_of(
    st.sampled_from([5e-324, 1e-300, 1e-12, 1.0]), st.floats(1e-300, 1.0), st.floats(-300, 0).map(lambda x: 10.0**x)
)
update = st.tuples(
    st.integers(0, 9), st.one_of(st.sampled_from([-1.0, 0.0, 1.0]), st.floats(-1, 1)), extreme_probability
)


class TestEveryBandit(OurBandit):
    """The contract, over all of ours."""

    @pytest.fixture(autouse=True, params=CASES)
    def _of_the_case(self, request, any_seed):
        self.case, self.seed = request.param, any_seed


def of(case):
    """Return the contract over a case."""
    contract = OurBandit()
    contract.case = case
    return contract


def test_the_known_bandits_are_found():
    assert {"Exp3", "Exp3S", "FixedPolicy"} <= {cls.__name__ for cls in bandit_classes()}
    assert {f"{cls.__name__}()" for cls in bandit_classes()} <= set(CASES)


# What the contract leaves open, and ours promise: the words of errors, and more examples.


@every_bandit
@SETTINGS
@given(num_arms=st.integers(1, 6), updates=st.lists(update, max_size=40), scale=st.floats(0, 1))
def test_no_probability_or_reward_makes_a_number_that_is_not_finite(case, num_arms, updates, scale):
    bandit = of(case).started(num_arms)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for arm, reward, probability in updates:
            policy = np.full(num_arms, scale * probability)
            policy[arm % num_arms] = probability
            bandit.update(arm % num_arms, reward, probability, policy)
            of(case).check_policy(bandit)
    text(bandit.state_dict())


@every_bandit
def test_the_state_of_another_bandit_is_refused_in_these_words(case):
    bandit = of(case).trained(3)
    before = snapshot(bandit)
    with pytest.raises(ValueError, match=rf"'Ucb', this one is '{type(bandit).__name__}': make the same bandit"):
        bandit.load_state_dict({**bandit.state_dict(), "bandit": "Ucb"})
    assert snapshot(bandit) == before


@every_bandit
def test_a_state_without_its_name_or_size_is_refused(case):
    bandit, donor = of(case).trained(3), of(case).trained(3, 40)
    before = snapshot(bandit)
    for key in ("bandit", "num_arms", "horizon"):
        state = donor.state_dict()
        del state[key]
        with pytest.raises((KeyError, ValueError)):
            bandit.load_state_dict(state)
        assert snapshot(bandit) == before


@every_bandit
def test_one_arm_has_all_of_the_probability_exactly(case):
    bandit = of(case).started(1)
    feed(bandit, 10, np.random.default_rng(0))
    assert bandit.probabilities().tolist() == [1.0]


@every_class
def test_nothing_is_drawn_or_learned_before_reset(cls):
    with pytest.raises(RuntimeError, match=rf"call {cls.__name__}\.reset\(num_arms\) before draw\(\)"):
        new(cls).draw(np.random.default_rng(0))
    with pytest.raises(RuntimeError, match=rf"call {cls.__name__}\.reset\(num_arms\) before update\(\)"):
        new(cls).update(0, 0.5, 0.5)


@every_class
@pytest.mark.parametrize("num_arms", [0, -1])
def test_no_arms_are_refused(cls, num_arms):
    with pytest.raises(ValueError, match=f"at least one arm, got num_arms={num_arms}"):
        new(cls).reset(num_arms)


@every_class
@pytest.mark.parametrize("horizon", [0, -1])
def test_no_horizon_is_refused(cls, horizon):
    with pytest.raises(ValueError, match=f"horizon must be at least 1 update or None, got {horizon}"):
        new(cls).reset(3, horizon)


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
def test_a_bad_update_is_refused_in_these_words(case, arm, reward, probability, message):
    bandit = of(case).trained(3, 10)
    with pytest.raises(ValueError, match=message):
        bandit.update(arm, reward, probability, np.full(3, 1 / 3))


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
def test_the_policy_at_the_draw_is_refused_in_these_words_by_those_who_need_it(case, policy, message):
    bandit = of(case).started(3)
    if bandit.needs_policy:
        with pytest.raises(ValueError, match=message):
            bandit.update(0, 0.5, 0.5, policy)
    else:
        bandit.update(0, 0.5, 0.5, policy)
