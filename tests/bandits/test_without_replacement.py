"""WithoutReplacement: exact numbers of draws in random order, with exact probabilities."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula import Teacher
from curricula.bandits import WithoutReplacement

SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=30)
decks = st.lists(st.integers(0, 6), min_size=1, max_size=5).filter(any)


def teacher_of(counts, seed=0, **options):
    return Teacher(
        [f"task {arm}" for arm in range(len(counts))], bandit=WithoutReplacement(counts), seed=seed, **options
    )


@SETTINGS
@given(decks, st.integers(0, 1000), st.integers(1, 20), st.integers(1, 3))
def test_every_deck_has_exactly_its_counts_and_every_probability_is_what_is_left(counts, seed, count, decks):
    teacher, total = teacher_of(counts, seed), sum(counts)
    draws = []
    while len(draws) < decks * total:
        draws += [teacher.draw()] if count == 1 else teacher.draw_all(count)
    for start in range(0, decks * total, total):
        left = list(counts)
        for draw in draws[start : start + total]:
            assert draw.probability == left[draw.arm] / sum(left)
            left[draw.arm] -= 1
        assert not any(left)


def test_every_order_of_the_deck_is_as_likely_as_any_other():
    numbers = np.random.default_rng(0)
    seen = Counter()
    for _ in range(3000):
        bandit = WithoutReplacement([2, 1, 1])
        bandit.reset(3)
        seen[tuple(bandit.draw_all(numbers, 4))] += 1
    assert len(seen) == math.factorial(4) / math.factorial(2)
    chi_squared = sum((number - 250) ** 2 / 250 for number in seen.values())
    assert chi_squared < 45  # of 11 degrees of freedom: exceeded by chance once in 2e5


def test_the_probability_of_an_order_is_the_product_of_those_of_its_draws():
    counts = [3, 2, 1]
    orders = math.factorial(6) // (math.factorial(3) * math.factorial(2))
    for seed in range(20):
        likelihood = math.prod(
            Fraction(draw.probability).limit_denominator(100) for draw in teacher_of(counts, seed).draw_all(6)
        )
        assert likelihood == Fraction(1, orders)


@SETTINGS
@given(decks, st.integers(0, 30), st.integers(1, 4))
def test_a_resumed_run_draws_what_it_would_have_drawn(counts, at, count):
    one = teacher_of(counts)
    for _ in range(at):
        one.draw_all(count)
    other = teacher_of(counts)
    other.load_state_dict(one.state_dict())
    assert [one.draw_all(count) for _ in range(20)] == [other.draw_all(count) for _ in range(20)]


def test_discarded_draws_have_taken_their_cards():
    teacher = teacher_of([5, 3])
    draws = [teacher.draw() for _ in range(8)]
    for draw in draws[::2]:
        teacher.discard(draw)
    for draw in draws[1::2]:
        teacher.reward(draw, 1.0)
    assert [draw.arm for draw in draws].count(0) == 5


def test_quotas_take_the_cards_too():
    teacher = teacher_of([24, 12, 4])
    drawn = [draw.arm for _ in range(5) for draw in teacher.draw_all(8, quotas=True)]
    assert np.bincount(drawn).tolist() == [24, 12, 4]


def test_where_others_draw_the_cards_of_a_new_deck_are_added():
    teacher = teacher_of([4, 2, 0])
    teacher.remove_task("task 0")
    drawn = [teacher.draw().arm for _ in range(50)]
    assert drawn == [1] * 50
    teacher.restore_task("task 0")
    assert teacher.probabilities()[0] > 0.5
    assert teacher.probabilities()[2] == 0.0


def test_other_counts_and_damaged_states_are_refused():
    bandit, other = WithoutReplacement([2, 1]), WithoutReplacement([1, 2])
    bandit.reset(2)
    other.reset(2)
    with pytest.raises(ValueError, match="made with other counts of WithoutReplacement: give the same"):
        other.load_state_dict(bandit.state_dict())
    with pytest.raises(ValueError, match=r"the state is damaged: of the draws is left \[0, 0\]"):
        bandit.load_state_dict({**bandit.state_dict(), "left": [0, 0]})


@pytest.mark.parametrize("counts", [[], [0, 0], [3, -1]], ids=str)
def test_counts_that_make_no_deck_are_refused(counts):
    with pytest.raises(ValueError, match="counts must be >= 0, and not all 0, got"):
        WithoutReplacement(counts)


@pytest.mark.parametrize("counts", [[1.5], [True], "12", 3, [[1]], None], ids=str)
def test_counts_that_are_no_whole_numbers_are_refused(counts):
    with pytest.raises(TypeError, match="counts must be one whole number per task, got"):
        WithoutReplacement(counts)


def test_another_number_of_tasks_is_refused():
    with pytest.raises(ValueError, match="WithoutReplacement has 2 counts for 3 tasks: give one per task"):
        WithoutReplacement([1, 2]).reset(3)
