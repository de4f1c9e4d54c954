"""The order of a task's batches is a function of the seed, the task, the visit and the rank, and of nothing else."""

from __future__ import annotations

import copy
import itertools
import multiprocessing
import pickle
import random
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, WeightedRandomSampler

from curricula import CurriculumLoader
from curricula.data.faults import TaskError
from curricula.data.sources.loaders import batches_of
from curricula.data.sources.map_order import MapSource
from curricula.data.sources.stream import StreamSource
from curricula.data.sources.task_dataset import Read, TaskDataset
from curricula.randomness import Stream, lane_of
from tests.models import Rows, StreamedRows

SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=150)

shapes = st.fixed_dictionaries(
    {
        "size": st.integers(1, 60),
        "batch_size": st.integers(1, 12),
        "world_size": st.integers(1, 5),
        "number": st.integers(0, 3),
        "seed": st.integers(0, 2**64 - 1),
        "shuffle": st.booleans(),
        "drop_last": st.booleans(),
    }
)


def source(size=10, batch_size=3, arm=0, shuffle=True, drop_last=False, seed=0):
    return MapSource(f"task {arm}", size, batch_size, shuffle, drop_last, seed)


# ---------------------------------------------------------------- map-style tasks


@SETTINGS
@given(shapes)
def test_a_pass_covers_every_sample_once_over_all_ranks(shape):
    size, world_size, number = shape["size"], shape["world_size"], shape["number"]
    one = source(size, shape["batch_size"], 0, shape["shuffle"], shape["drop_last"], shape["seed"])
    visits = one.batches_per_pass(world_size)
    counts = Counter()
    for visit in range(number * visits, (number + 1) * visits):
        parts = [one.indices(visit, rank, world_size) for rank in range(world_size)]
        assert len({len(part) for part in parts}) == 1, "every rank has equally many samples"
        assert 1 <= len(parts[0]) <= shape["batch_size"]
        counts.update(row for part in parts for row in part)
    assert counts.keys() <= set(range(size))
    if shape["drop_last"]:
        assert (
            counts.total()
            == len(counts)
            == size // (world_size * shape["batch_size"]) * world_size * shape["batch_size"]
        )
    else:
        assert counts.keys() == set(range(size))
        assert counts.total() - size == -size % world_size
        assert max(counts.values()) <= 1 + -(-(world_size - 1) // size)


@SETTINGS
@given(shapes, st.lists(st.integers(0, 40), min_size=1, max_size=12))
def test_what_a_visit_reads_does_not_depend_on_the_visits_before(shape, visits):
    arguments = (shape["size"], shape["batch_size"], 3, shape["shuffle"], shape["drop_last"], shape["seed"])
    walked = source(*arguments)
    if walked.batches_per_pass(shape["world_size"]) == 0:
        return
    for visit in visits:
        fresh = source(*arguments)
        assert walked.indices(visit, 0, shape["world_size"]) == fresh.indices(visit, 0, shape["world_size"])


def test_seeds_arms_and_passes_have_orders_of_their_own():
    orders = [
        tuple(source(30, 30, arm=arm, seed=seed).indices(visit, 0, 1))
        for arm in range(3)
        for seed in range(3)
        for visit in range(3)
    ]
    assert len(set(orders)) == 27


def test_every_order_is_equally_likely():
    orders = Counter(tuple(source(3, 3).indices(visit, 0, 1)) for visit in range(6000))
    # chi-squared with 5 degrees of freedom: above 35.9 once in 10^6 seeds; the seed is fixed
    assert len(orders) == 6
    assert sum((count - 1000) ** 2 / 1000 for count in orders.values()) < 35.9


def test_the_ranks_together_read_what_one_process_with_a_larger_batch_reads():
    alone = source(24, 6)
    for visit in range(8):
        parts = [source(24, 2).indices(visit, rank, 3) for rank in range(3)]
        assert sorted(itertools.chain.from_iterable(parts)) == sorted(alone.indices(visit, 0, 1))


@pytest.mark.parametrize("stream", [Stream.TASK_ORDER, Stream.PROBE_ORDER])
def test_the_order_of_a_pass_is_the_permutation_of_seed_task_and_pass(stream):
    one = MapSource("a task", 11, 11, True, False, 2**64 - 1, stream)
    for number in (0, 1, 5, 0):
        key = np.array([2**64 - 1, stream], dtype=np.uint64)
        counter = np.array([0, 0, lane_of("a task"), number], dtype=np.uint64)
        bits = np.random.Philox(key=key, counter=counter)
        assert one.indices(number, 0, 1) == np.random.Generator(bits).permutation(11).tolist()


def test_orders_that_take_turns_do_not_disturb_one_another():
    many = [source(7, 2, arm, seed=arm % 3) for arm in range(20)]
    apart = [[source(7, 2, arm, seed=arm % 3).indices(visit, 0, 1) for visit in range(12)] for arm in range(20)]
    in_turn = [[one.indices(visit, 0, 1) for one in many] for visit in range(12)]
    assert [list(of_task) for of_task in zip(*in_turn, strict=True)] == apart


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_has_the_same_order(shuffle, duplicate):
    one = source(7, 2, shuffle=shuffle)
    one.indices(1, 0, 1)
    other = duplicate(one)
    assert [other.indices(visit, 0, 1) for visit in range(9)] == [one.indices(visit, 0, 1) for visit in range(9)]


def test_what_is_given_can_be_changed_and_the_order_stays():
    for shuffle in (True, False):
        one = source(6, 3, shuffle=shuffle)
        before = list(one.indices(0, 0, 1))
        one.indices(0, 0, 1).clear()
        assert one.indices(0, 0, 1) == before
        assert all(type(index) is int for index in before)


@pytest.mark.parametrize("make", [lambda k: Rows(k, 4), lambda k: StreamedRows(k, 4)], ids=["map", "stream"])
def test_no_task_makes_a_generator_of_its_own(make, monkeypatch):
    made = []
    philox = np.random.Philox

    def count(*arguments, **options):
        made.append(1)
        return philox(*arguments, **options)

    monkeypatch.setattr(np.random, "Philox", count)
    numbers = []
    for num_tasks in (3, 300):
        made.clear()
        loader = CurriculumLoader(
            {str(k): make(k) for k in range(num_tasks)}, batch_size=2, steps_per_epoch=2 * num_tasks
        )
        for _ in loader:
            pass
        numbers.append(len(made))
    assert numbers[1] <= numbers[0] < 10


def test_a_map_style_task_takes_less_than_500_bytes_beside_its_data():
    tasks = {f"task {k}": [1, 2, 3] for k in range(2000)}
    CurriculumLoader(tasks, batch_size=2, steps_per_epoch=1)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    loader = CurriculumLoader(tasks, batch_size=2, steps_per_epoch=1)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / len(loader.names) < 500


# ---------------------------------------------------------------- streamed tasks


def stream(batches, arm=0, seed=0):
    return StreamSource("task" if arm == 0 else f"task {arm}", batches, seed)


def shuffled(size=7, **options):
    return DataLoader(Rows(0, size), **{"batch_size": 2, "shuffle": True, **options})


def take(one, number, rank=0, world_size=1):
    return [one.next(rank, world_size)[1].tolist() for _ in range(number)]


class Wrapped:
    """A loader inside of another object."""

    def __init__(self, inner):
        self.inner = inner

    def __iter__(self):
        yield from self.inner


LOADERS = {
    "shuffle": shuffled,
    "sampler": lambda: shuffled(shuffle=None, sampler=RandomSampler(Rows(0, 7))),
    "with replacement": lambda: shuffled(
        shuffle=None, sampler=RandomSampler(Rows(0, 7), replacement=True, num_samples=70)
    ),
    "weighted": lambda: shuffled(shuffle=None, sampler=WeightedRandomSampler([1.0, 2.0] * 3 + [1.0], num_samples=7)),
    "distributed": lambda: shuffled(shuffle=None, sampler=DistributedSampler(Rows(0, 7), num_replicas=1, rank=0)),
    "workers": lambda: shuffled(num_workers=1),
    "inside of another object": lambda: Wrapped(shuffled()),
    "generator": lambda: shuffled(generator=torch.Generator().manual_seed(3)),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_a_shuffling_loader_has_the_order_of_the_seed(kind):
    make = LOADERS[kind]
    torch.manual_seed(1)
    first = take(stream(make(), seed=5), 40)
    torch.manual_seed(2)
    assert take(stream(make(), seed=5), 40) == first
    if kind != "distributed":  # it has a seed of its own
        assert take(stream(make(), seed=6), 40) != first


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS.keys())
def test_a_shuffling_loader_is_found_again_at_every_position(make):
    whole = stream(make())
    positions, batches = [], []
    for _ in range(12):  # three passes of four batches
        positions.append(whole.position())
        batches += take(whole, 1)
    for done in (0, 1, 4, 6, 8, 11):
        resumed = stream(make())
        resumed.seek(positions[done])
        assert resumed.position() == positions[done]
        assert take(resumed, 12 - done) == batches[done:]


def test_every_pass_has_an_order_of_its_own():
    batches = take(stream(shuffled(20, batch_size=20)), 4)
    assert len({tuple(batch) for batch in batches}) == 4


def test_tasks_have_orders_of_their_own():
    assert take(stream(shuffled(20), arm=0), 3) != take(stream(shuffled(20), arm=1), 3)


def test_samplers_and_datasets_that_ask_are_told_the_pass():
    told = []

    class Asking(Rows):
        def set_epoch(self, number):
            told.append(number)

    loader = DataLoader(Asking(0, 4), batch_size=2, sampler=DistributedSampler(Rows(0, 4), num_replicas=1, rank=0))
    batches = take(stream(loader), 6)
    assert told == [0, 1, 2]
    assert len({str(batches[k : k + 2]) for k in (0, 2, 4)}) > 1, "a DistributedSampler shuffles by the pass alone"


def test_ranks_take_turns_over_the_ends_of_passes():
    taken = [take(stream(StreamedLoader(5)), 4, rank, 2) for rank in range(2)]
    assert taken == [[[0], [2], [4], [1]], [[1], [3], [0], [2]]]


class StreamedLoader:
    def __init__(self, size):
        self.size = size

    def __iter__(self):
        return iter(DataLoader(StreamedRows(0, self.size)))


def test_the_position_counts_the_batches_of_all_ranks():
    one = stream(StreamedLoader(7))
    one.next(turn=1, turns=3)
    assert one.position() == [0, 3, 0]


def test_a_limit_starts_the_same_pass_over():
    one = stream(shuffled())
    batches = [one.next(0, 1, limit=2)[1].tolist() for _ in range(6)]
    assert batches == batches[:2] * 3
    assert one.position() == [0, 2, 2]


def test_a_position_beyond_the_end_is_refused_instead_of_searched_for_ever():
    one = stream(StreamedLoader(3))
    one.seek([2, 5])
    with pytest.raises(TaskError, match="task 'task' has 3 batches now, and 5 had been taken from its pass 2"):
        one.next(0, 1)


def test_reading_leaves_the_streams_of_the_user_alone(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("it seeds the accelerators"))
    before = torch.get_rng_state(), random.getstate()
    take(stream(shuffled()), 9)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_of_a_tasks_own_loader_can_be_stopped_between_two_batches(persistent):
    def make():
        return stream(DataLoader(Rows(0, 20), 2, shuffle=True, num_workers=1, persistent_workers=persistent))

    expected, stopped = make(), make()
    for _ in range(4):
        assert take(expected, 3) == take(stopped, 3)
        position = stopped.position()
        stopped.shut_down()
        stopped.shut_down()
        assert stopped.position() == position
    expected.shut_down()
    assert multiprocessing.active_children() == []


# ---------------------------------------------------------------- the shared dataset


def test_the_shared_dataset_reads_one_task_and_passes_over_streams():
    tasks = TaskDataset(("a", "b"), [Rows(0, 4), Rows(1, 4)], list)
    assert tasks.__getitems__(Read(1, [3, 0]))[:2] == ([(1, 3), (1, 0)], None)
    assert tasks.__getitems__(Read(0, None))[:2] == (None, None)


def test_only_iterable_datasets_are_batched():
    batches = batches_of(StreamedRows(0, 3), 2, False, None)
    assert [batch[1].tolist() for batch in batches] == [[0, 1], [2]]
    loader = shuffled()
    assert batches_of(loader, 2, False, None) is loader
