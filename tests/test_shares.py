"""Shares between floors and caps: what is asked for holds, and nothing else is moved."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.shares import bounded, tilted

unit = st.floats(0.0, 1.0)


@st.composite
def problems(draw):
    """Shares, and floors and caps that can all be kept."""
    number = draw(st.integers(1, 7))
    raw = np.array(draw(st.lists(unit, min_size=number, max_size=number))) ** 3
    shares = raw / raw.sum() if raw.sum() > 0.0 else np.full(number, 1.0 / number)
    floors = np.array(draw(st.lists(unit, min_size=number, max_size=number)))
    floors *= draw(unit) / max(1.0, float(floors.sum()))
    room = np.array(draw(st.lists(unit, min_size=number, max_size=number)))
    caps = np.minimum(1.0, floors + room)
    if caps.sum() < 1.0:
        caps += (1.0 - caps.sum()) * (1.0 - caps) / (1.0 - caps).sum()
    return shares, floors, np.maximum(floors, np.minimum(caps, 1.0))


@settings(max_examples=300)
@given(problems())
def test_bounds_hold_shares_sum_to_one_and_those_between_the_bounds_keep_their_ratios(problem):
    shares, floors, caps = problem
    found = bounded(shares, floors, caps)
    assert found.sum() == pytest.approx(1.0, abs=1e-9)
    assert (found >= floors - 1e-12).all()
    assert (found <= caps + 1e-9).all()
    free = (found > floors + 1e-9) & (found < caps - 1e-9) & (shares > 1e-9)
    if free.any():
        factors = found[free] / shares[free]
        assert factors.max() == pytest.approx(factors.min(), rel=1e-6)
        open_ = caps - floors > 1e-6
        at_floor, at_cap = (found <= floors + 1e-12) & open_, (found >= caps - 1e-12) & open_
        assert (factors.max() * shares[at_floor] <= floors[at_floor] + 1e-6).all()  # it would have less otherwise,
        assert (factors.max() * shares[at_cap] >= caps[at_cap] - 1e-6).all()  # and more here


def test_shares_within_their_bounds_stay_as_they_are_to_the_last_bit():
    shares = np.array([0.1, 0.2, 0.7])
    assert bounded(shares, np.full(3, 0.05), np.full(3, 0.8)) is shares


@pytest.mark.parametrize(
    ("shares", "floors", "caps", "expected"),
    [
        ([0.9, 0.05, 0.05], [0.1, 0.1, 0.1], [1, 1, 1], [0.8, 0.1, 0.1]),
        ([0.9, 0.06, 0.04], [0, 0, 0], [0.5, 1, 1], [0.5, 0.3, 0.2]),
        ([0.6, 0.3, 0.1], [0, 0, 0.25], [0.5, 1, 1], [0.5, 0.25, 0.25]),
        ([1.0, 0.0, 0.0], [0, 0, 0], [0.5, 1, 0.125], [0.5, 0.375, 0.125]),
        ([1.0, 0.0, 0.0], [0, 0.2, 0], [0.5, 1, 1], [0.5, 0.25, 0.25]),
    ],
)
def test_closed_forms(shares, floors, caps, expected):
    found = bounded(*(np.array(values, dtype=float) for values in (shares, floors, caps)))
    assert found == pytest.approx(np.array(expected))


def test_what_caps_leave_over_goes_to_the_rest_in_the_ratios_of_the_prior():
    rest = np.array([0.5, 0.375, 0.125])
    found = bounded(np.array([1.0, 0.0, 0.0]), np.zeros(3), np.array([0.2, 1.0, 1.0]), rest)
    assert found == pytest.approx(np.array([0.2, 0.6, 0.2]))


def test_a_prior_is_tilted_in_proportion_to_the_policy_and_a_uniform_policy_leaves_it():
    prior, policy = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])
    product = prior * policy / (prior * policy).sum()
    assert tilted(prior, policy, 1.0) == pytest.approx(product)
    assert tilted(prior, policy, 0.25) == pytest.approx(0.75 * prior + 0.25 * product)
    assert tilted(prior, np.full(3, 1 / 3), 1.0) == pytest.approx(prior)
    assert tilted(prior, policy, 0.0) is prior
    assert tilted(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 1.0).tolist() == [1.0, 0.0]
