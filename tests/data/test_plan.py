"""The plan by itself, by the hundred thousand draws: slots, visits, ranks, and what is on its way."""

from __future__ import annotations

import random
from collections import Counter, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula import Teacher
from curricula.bandits import FixedPolicy
from curricula.data.cursor import Cursor
from curricula.data.hooks import Hooks
from curricula.data.plan import Plan
from curricula.data.reads import MixedRead, Read, Share
from curricula.data.sources.map_order import MapSource
from curricula.data.sources.slot_order import SlotOrder, visit_after

SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=100)


def plan_of(sizes, draws, slot=2, streams=0, share=None, **options):
    names = [str(arm) for arm in range(len(sizes) + streams)]
    kind = SlotOrder if draws > 1 else MapSource
    orders = {arm: kind(names[arm], size, slot, True, False, 5) for arm, size in enumerate(sizes)}
    plan = Plan(orders, len(names), Teacher(names, bandit=FixedPolicy.uniform(), seed=1), draws, **options)
    plan.share = share or Share()
    return plan


def slots_of(read):
    return read.slots if isinstance(read, MixedRead) else [read]


# ---------------------------------------------------------------- the order of slots

orders = st.tuples(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4), st.booleans(), st.integers(0, 2**64 - 1))


@SETTINGS
@given(orders, st.integers(0, 200))
def test_every_visit_is_full_and_every_sample_comes_once_per_pass(shape, first):
    size, slot, ranks, shuffle, seed = shape
    order = SlotOrder("task", size, slot, shuffle, True, seed)
    total = slot * ranks
    visits = range(-(-3 * size // total))
    parts = [[order.indices(visit, rank, ranks) for rank in range(ranks)] for visit in visits]
    assert {len(part) for visit in parts for part in visit} == {slot}
    rows = [row for visit in parts for row in (row for rows in zip(*visit, strict=True) for row in rows)]
    assert [sorted(rows[k * size : (k + 1) * size]) for k in range(3)] == [list(range(size))] * 3
    later = SlotOrder("task", size, slot, shuffle, True, seed)
    assert later.indices(first, 0, ranks) == order.indices(first, 0, ranks), "a visit needs no visit before it"


@SETTINGS
@given(orders, st.integers(0, 60), st.integers(1, 12), st.integers(1, 12), st.booleans(), st.booleans())
def test_a_place_counted_in_other_visits_leaves_nothing_out(shape, visit, before, now, slots_before, slots_now):
    size, *_, seed = shape
    kinds = {True: SlotOrder, False: MapSource}
    old, new = (
        kinds[kind]("task", size, count, True, False, seed)
        for kind, count in ((slots_before, before), (slots_now, now))
    )
    seen = sum(len(old.indices(number, 0, 1)) for number in range(visit))
    after = visit_after(new, visit, before, 1, slots=slots_before)
    again = sum(len(new.indices(number, 0, 1)) for number in range(after))
    assert seen - now < again <= seen, "it begins at the same sample, or less than a visit before"


@SETTINGS
@given(orders, st.integers(0, 60), st.integers(1, 6), st.integers(1, 6))
def test_what_a_pass_leaves_out_is_no_place_that_is_gone_back_to(shape, visit, before, now):
    size, *_, seed = shape
    size += 12  # a batch at least
    old, new = MapSource("task", size, before, True, True, seed), SlotOrder("task", size, now, True, True, seed)
    passes = visit // (size // before)
    samples = visit % (size // before) * before
    assert visit_after(new, visit, before, 1, slots=False) == (passes * size + samples) // now
    back = visit_after(old, visit, now, 1, slots=True)
    assert back // (size // before) in (visit * now // size, visit * now // size + 1)


def test_a_task_of_another_size_begins_its_next_pass():
    order = SlotOrder("task", 5, 2, False, False, 0)
    assert [order.indices(visit, 0, 1) for visit in range(3)] == [[0, 1], [2, 3], [4, 0]]
    order.resize(3, 3, 1)
    assert [order.indices(visit, 0, 1) for visit in range(3, 6)] == [[0, 1], [2, 0], [1, 2]]
    assert order.place() == [3, 3, 2]


# ---------------------------------------------------------------- from draws to reads


@pytest.mark.parametrize("quotas", [False, True])
def test_by_the_hundred_thousand_draws_every_task_is_read_in_order_and_evenly(quotas):
    plan = plan_of([7, 100, 1], 32, slot=3, streams=1, quotas=quotas)
    numbers, rows, counts = [], {arm: [] for arm in range(3)}, Counter()
    for read in plan.reads(3200, Hooks()):
        draws = plan.deliver()
        numbers += [draw.id for draw in draws]
        counts.update(draw.arm for draw in draws)
        for draw, slot in zip(draws, slots_of(read), strict=True):
            assert (draw.arm, slot.indices is None) == (slot.arm, slot.arm == 3)
            if slot.indices is not None:
                rows[slot.arm] += slot.indices
    assert numbers == list(range(102_400))
    assert plan.cursor.visits == [counts[arm] for arm in range(4)]
    assert max(abs(count - 25_600) for count in counts.values()) < (32 if quotas else 1000)
    for arm, size in enumerate((7, 100, 1)):
        assert len(rows[arm]) == 3 * counts[arm]
        passes = Counter(rows[arm][: len(rows[arm]) // size * size])
        assert set(passes.values()) == {len(rows[arm]) // size}
    assert not plan.cursor.in_flight
    assert plan.teacher.open_draws() == []


@pytest.mark.parametrize("places", [False, True])
def test_all_ranks_count_the_visits_of_all_draws(places):
    def of_rank(rank):
        share = Share(place=rank, places=3) if places else Share(rank, 3)
        plan = plan_of([50, 60], 4, share=share)
        return plan, list(plan.reads(40, Hooks()))

    plans, reads = zip(*map(of_rank, range(3)), strict=True)
    in_flight = [list(plan.cursor.in_flight) for plan in plans]
    assert in_flight[0] == in_flight[1] == in_flight[2]
    assert {len(draws) for draws in in_flight[0]} == {12 if places else 4}
    for rank, plan in enumerate(plans):
        for draws, read in zip(in_flight[0], reads[rank], strict=True):
            assert [draw.arm for draw in plan.own(draws)] == [slot.arm for slot in read.slots]
    for arm, size in enumerate((50, 60)):
        rows = Counter(
            row for one in reads for read in one for slot in read.slots if slot.arm == arm for row in slot.indices
        )
        assert max(rows.values()) - min(rows.values()) <= 1
        assert len(rows) == size


def test_reading_ahead_and_stopping_anywhere_changes_nothing():
    chance = random.Random(0)
    plan, expected = plan_of([11, 13], 3, streams=1), plan_of([11, 13], 3, streams=1)
    whole = [slots_of(read) for read in expected.reads(3000, Hooks())]
    found, waiting, reads = [], deque(), plan.reads(3000, Hooks())
    while plan.cursor.position < 3000:
        while len(waiting) < chance.randrange(1, 6):
            read = next(reads, None)
            if read is None:
                break
            waiting.append(slots_of(read))
        plan.deliver()
        found.append(waiting.popleft())
        if chance.random() < 0.1:  # stopped, saved and gone on with
            saved = plan.cursor.state()
            teacher = plan.teacher.state_dict()
            plan = plan_of([11, 13], 3, streams=1)
            plan.teacher.load_state_dict(teacher)
            plan.cursor = Cursor.loaded(saved, ["0", "1", "2"], ["0", "1", "2"])
            reads, waiting = plan.reads(3000, Hooks()), deque()
    assert found == whole


def test_with_one_draw_a_read_is_of_one_task_as_ever():
    plan = plan_of([9], 1, streams=1)
    assert all(isinstance(read, Read) for read in plan.reads(5, Hooks()))
    assert "draws_per_batch" not in plan.cursor.state()
    assert plan_of([9], 2).cursor.state()["draws_per_batch"] == 2


def test_draws_of_a_removed_task_that_are_on_their_way_are_closed():
    plan = plan_of([9, 9, 9], 4)
    plan.rewarded = True
    reads = plan.reads(20, Hooks())
    for _ in range(6):
        next(reads)
    plan.deliver()
    plan.teacher.remove_task("1")
    assert plan.is_outdated()
    plan.put_back()
    rest = list(plan.reads(20, Hooks()))
    assert all(slot.arm != 1 for read in rest for slot in read.slots)
    planned = {draw.id for draws in plan.cursor.in_flight for draw in draws}
    assert {draw.id for draw in plan.teacher.open_draws()} == planned | {0, 1, 2, 3}
