"""Tasks that grow or shrink: followed when an epoch begins, pass by pass, and resumed exactly."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning.callbacks import ModelCheckpoint

from curricula import CurriculumCallback, CurriculumLoader, Teacher
from curricula.bandits import FixedPolicy
from curricula.data.sources.map_order import MapSource
from curricula.signals import SelfPredictionGain
from tests.models import Linear, Rows, rows_of, tasks_of_rows, trainer

SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=150)


def passes(loader, epochs=1):
    """Return the rows of every batch of some epochs."""
    return [rows_of(batch)[1] for _ in range(epochs) for batch in loader]


# ---------------------------------------------------------------- the order


@SETTINGS
@given(
    sizes=st.lists(st.integers(1, 30), min_size=2, max_size=5),
    steps=st.integers(1, 15),
    batch_size=st.integers(1, 7),
    world_size=st.integers(1, 3),
)
def test_a_changed_size_begins_the_next_pass_and_no_sample_comes_twice_in_one(sizes, steps, batch_size, world_size):
    source = MapSource("a", sizes[0], batch_size, True, False, 0)
    visit, seen, numbers = 0, Counter(), []
    for size in sizes:
        if size != source.size:
            source.resize(size, visit, world_size)
            seen = Counter()
        per_pass = source.batches_per_pass(world_size)
        for _ in range(steps):
            rows = [row for rank in range(world_size) for row in source.indices(visit, rank, world_size)]
            assert set(rows) <= set(range(size))
            seen.update(rows)
            numbers.append(source._pass)
            visit += 1
            if (visit - source.place()[1]) % per_pass == 0:
                assert seen.keys() == set(range(size)), "a pass has every sample of its size"
                seen = Counter()
            else:
                assert sum(seen.values()) == len(seen)
    assert all(after - before in (0, 1) for before, after in itertools.pairwise(numbers)), "passes are counted on"
    again = MapSource("a", 5, batch_size, True, False, 0)
    again.restore(source.place())
    assert again.indices(visit, 0, world_size) == source.indices(visit, 0, world_size)


def test_an_order_that_never_changed_its_size_is_what_it_was():
    source = MapSource("a", 10, 3, True, False, 0)
    source.resize(7, 0, 1)
    assert source.place() == [7, 0, 0]
    assert [source.indices(visit, 0, 1) for visit in range(9)] == [
        MapSource("a", 7, 3, True, False, 0).indices(visit, 0, 1) for visit in range(9)
    ]


# ---------------------------------------------------------------- the loader


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_what_a_task_has_more_is_read_from_the_next_epoch_on(workers, persistent):
    task = Rows(0, 8)
    loader = CurriculumLoader(
        {"a": task}, batch_size=4, steps_per_epoch=3, num_workers=workers, persistent_workers=persistent
    )
    first = []
    for batch in loader:
        first.append(rows_of(batch)[1])
        task.size = 12
    assert sorted(first[0] + first[1]) == list(range(8))
    assert set(first[2]) <= set(range(8)), "within an epoch the size stays"
    assert sorted(itertools.chain(*passes(loader))) == list(range(12)), "and the next begins a pass"
    task.size = 5
    third = passes(loader)
    assert sorted(third[0] + third[1]) == list(range(5))
    loader._iterator = None


def test_persistent_workers_read_what_was_put_in_after_they_were_started():
    samples = [(0, 1)] * 4
    loader = CurriculumLoader({"a": samples}, batch_size=4, steps_per_epoch=2, num_workers=1, persistent_workers=True)
    assert passes(loader) == [[1] * 4] * 2
    samples += [(0, 2)] * 4
    assert sorted(itertools.chain(*passes(loader))) == [1] * 4 + [2] * 4
    loader._iterator = None


def test_other_tasks_go_on_where_they_were():
    changing, still = tasks_of_rows(6, 9), tasks_of_rows(6, 9)
    one, two = (CurriculumLoader(tasks, batch_size=2, steps_per_epoch=5) for tasks in (changing, still))
    for _ in range(4):
        ours, theirs = ([rows_of(batch) for batch in loader] for loader in (one, two))
        assert [entry for entry in ours if entry[0]] == [entry for entry in theirs if entry[0]]
        changing["0"].size += 1


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_task_that_became_empty_is_told_by_its_name(drop_last):
    tasks = tasks_of_rows(8, 8)
    loader = CurriculumLoader(tasks, batch_size=4, steps_per_epoch=3, drop_last=drop_last)
    passes(loader)
    tasks["1"].size = 0
    with pytest.raises(ValueError, match=r"task '1' had 8 samples and has none now: .*remove_task\('1'\)"):
        next(iter(loader))
    tasks["1"].size = 8
    passes(loader)


def test_a_task_of_less_than_a_batch_is_told_by_its_name_where_nothing_is_left():
    task = Rows(0, 8)
    loader = CurriculumLoader({"a": task}, batch_size=4, steps_per_epoch=3, drop_last=True)
    task.size = 3
    for _ in range(2):
        with pytest.raises(ValueError, match=r"task 'a' had 8 samples and has 3 now, fewer than one batch of 4 x 1"):
            next(iter(loader))
    loader = CurriculumLoader({"a": task}, batch_size=4, steps_per_epoch=3)
    assert [len(rows) for rows in passes(loader)] == [3, 3, 3]


def test_a_task_that_was_taken_out_may_be_empty():
    tasks = tasks_of_rows(8, 8)
    loader = CurriculumLoader(tasks, batch_size=4, steps_per_epoch=8)
    teacher = Teacher(loader.names, bandit=FixedPolicy.uniform())
    loader.attach(teacher)
    teacher.remove_task("1")
    tasks["1"].size = 0
    assert {rows_of(batch)[0] for batch in loader} == {0}


def test_without_steps_the_length_of_an_epoch_follows():
    task = Rows(0, 8)
    loader = CurriculumLoader({"a": task}, batch_size=4)
    assert len(passes(loader)) == 2
    task.size = 20
    assert len(passes(loader)) == 5


def test_fresh_batches_follow_as_well():
    task = Rows(0, 8)
    loader = CurriculumLoader({"a": task}, batch_size=4, steps_per_epoch=3)
    for size in (8, 12, 5):
        task.size = size
        passes(loader)
        rows = [rows_of(loader.samples.next("a"))[1] for _ in range(-(-size // 4))]
        assert sorted(itertools.chain(*rows)) == list(range(size))


# ---------------------------------------------------------------- resuming


class Buffer(Rows):
    """Samples of which there are more or fewer in every epoch."""

    def __init__(self, task, sizes):
        super().__init__(task, sizes[0])
        self.sizes = sizes

    def __getitem__(self, index):
        assert index < self.size
        numbers = torch.Generator().manual_seed(1000 * self.task + index)
        return torch.randn(2, generator=numbers), torch.randn(1, generator=numbers)


class Filling(pl.Callback):
    """Changes the buffers in the middle of every epoch, and finds their sizes again."""

    def __init__(self, tasks):
        self.tasks = tasks
        self.times = 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 2:
            self.times += 1
            self.fill()

    def fill(self):
        for task in self.tasks.values():
            task.size = task.sizes[self.times % len(task.sizes)]

    def state_dict(self):
        return {"times": self.times}

    def load_state_dict(self, state):
        self.times = state["times"]
        self.fill()


@pytest.mark.parametrize(
    ("options", "signal"),
    [
        ({}, None),
        ({"shuffle": False, "drop_last": True}, None),
        ({"num_workers": 2, "persistent_workers": True}, None),
        ({}, SelfPredictionGain),
    ],
    ids=["default", "in order", "workers", "fresh batches"],
)
def test_a_resumed_run_is_exact_from_every_step(options, signal, tmp_path):
    def fit(*others, ckpt_path=None):
        pl.seed_everything(0, verbose=False)
        model = Linear(2)
        sizes = {"a": [9, 14, 22, 30], "b": [16], "c": [12, 13, 40]}
        tasks = {name: Buffer(number, entry) for number, (name, entry) in enumerate(sizes.items())}
        own = CurriculumCallback(signal=None if signal is None else signal(), seed=1)
        loader = CurriculumLoader(tasks, batch_size=4, steps_per_epoch=6, **options)
        fitter = trainer(own, Filling(tasks), *others, max_steps=22, enable_checkpointing=bool(others))
        fitter.fit(model, loader, ckpt_path=ckpt_path)
        return own, model, loader

    saver = ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=1, filename="{step}")
    whole, model, loader = fit(saver)
    assert loader.state_dict()["content"]["restarts"]
    for step in range(1, 22, 6 if "num_workers" in options else 1):
        resumed, other, _ = fit(ckpt_path=tmp_path / f"step={step}.ckpt")
        assert str(resumed.history.state_dict()) == str(whole.history.state_dict()), step
        for ours, theirs in zip(other.state_dict().values(), model.state_dict().values(), strict=True):
            assert torch.equal(ours, theirs), step


def test_a_resumed_epoch_that_cannot_keep_its_size_goes_on_with_the_new_one():
    loader, shrunk, grown = (
        CurriculumLoader({"a": Rows(0, size)}, batch_size=4, steps_per_epoch=6) for size in (20, 8, 99)
    )
    iterator = iter(loader)
    first = [rows_of(next(iterator))[1] for _ in range(2)]
    state = loader.state_dict()
    shrunk.load_state_dict(state)
    rest = passes(shrunk)
    assert sorted(rest[0] + rest[1]) == list(range(8))
    grown.load_state_dict(state)
    assert sorted(itertools.chain(*first, *passes(grown)[:3])) == list(range(20)), "the pass is read to its end"


def test_states_without_sizes_are_those_of_tasks_that_never_changed():
    tasks = tasks_of_rows(9, 5)
    loader = CurriculumLoader(tasks, batch_size=2, steps_per_epoch=9)
    iterator = iter(loader)
    next(iterator)
    content = loader.state_dict()["content"]
    rest = [rows_of(batch) for batch in iterator]
    for key in ("sizes", "restarts"):
        del content[key]
    from curricula.state import seal

    resumed = CurriculumLoader(tasks, batch_size=2, steps_per_epoch=9)
    resumed.load_state_dict(seal("loader", content))
    assert [rows_of(batch) for batch in resumed] == rest
