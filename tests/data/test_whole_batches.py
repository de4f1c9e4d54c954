"""Batches that are not made of a list of samples: whole ones from the data set, ready ones, and none at all."""

from __future__ import annotations

import logging
import traceback
from collections import Counter

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, Dataset, default_collate

from curricula import CurriculumCallback, CurriculumDataModule, CurriculumLoader, Teacher
from curricula.data import TaskError
from curricula.signals import SelfPredictionGain
from tests.models import Linear, Rows, trainer


class Table(Dataset):
    """Gives many rows at once, as one dict of columns."""

    def __init__(self, size=12, holes=()):
        self.x = torch.arange(float(size))
        self.holes = set(holes)
        self.asked = []

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        raise AssertionError("rows are read together")

    def __getitems__(self, indices):
        self.asked.append(list(indices))
        if self.holes.intersection(indices):
            raise OSError(f"no rows {sorted(self.holes.intersection(indices))}")
        return {"x": self.x[indices], "number": len(indices)}


class Row:
    """One table for all rows, neither a list nor a dict."""

    def __init__(self, rows):
        self.rows = rows


class Frames(Table):
    def __getitems__(self, indices):
        return Row(super().__getitems__(indices)["x"])


def as_it_is(batch):
    return batch


# ---------------------------------------------------------------- what __getitems__ returns


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("make", [Table, Frames])
def test_what_a_dataset_returns_for_many_samples_goes_to_collate_fn_as_with_torch(make, workers):
    options = {"batch_size": 5, "collate_fn": as_it_is, "num_workers": workers, "shuffle": False}
    ours = list(CurriculumLoader({"a": make()}, **options))
    theirs = list(DataLoader(make(), **options))
    assert [type(batch) for batch in ours] == [type(batch) for batch in theirs]
    assert (
        [rows_of(batch) for batch in ours]
        == [rows_of(batch) for batch in theirs]
        == [
            [0, 1, 2, 3, 4],
            [5, 6, 7, 8, 9],
            [10, 11],
        ]
    )


def rows_of(batch):
    return (batch["x"] if isinstance(batch, dict) else batch.rows).int().tolist()


@pytest.mark.parametrize("make", [Table, Frames])
def test_rows_that_cannot_be_read_are_found_one_by_one_and_replaced_in_one_batch(make):
    table = make(12, holes=[1, 2, 11])
    loader = CurriculumLoader({"a": table}, batch_size=4, collate_fn=as_it_is, shuffle=False, on_error="retry")
    assert [rows_of(batch) for batch in loader] == [[0, 3, 3, 3], [4, 5, 6, 7], [8, 9, 10, 0]]
    assert table.asked[-1] == [8, 9, 10, 0], "read once more as one batch"
    assert [1] in table.asked


def test_rows_that_cannot_be_read_at_all_name_the_task():
    loader = CurriculumLoader(
        {"a": Table(24, holes=range(24))}, batch_size=4, collate_fn=as_it_is, shuffle=False, on_error="retry"
    )
    with pytest.raises(TaskError, match=r"task 'a' raised OSError while reading the samples \[0, 1, 2, 3\]: no rows"):
        list(loader)


def test_fresh_batches_are_whole_as_well():
    for task in (Table(), DataLoader(Table(), batch_size=4, collate_fn=as_it_is)):
        loader = CurriculumLoader({"a": task}, batch_size=4, steps_per_epoch=3, collate_fn=as_it_is)
        rows = [row for _ in range(3) for row in rows_of(loader.samples.next("a"))]
        assert sorted(rows) == list(range(12))


# ---------------------------------------------------------------- no batch


class Dropped(Rows):
    """Samples of which some are missing."""

    def __init__(self, size, missing):
        super().__init__(0, size)
        self.missing = set(missing)

    def __getitem__(self, index):
        return None if index in self.missing else index


def without_missing(samples):
    kept = [sample for sample in samples if sample is not None]
    return default_collate(kept) if kept else None


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_of_which_nothing_is_left_is_replaced_by_the_samples_that_follow(workers, caplog):
    loader = CurriculumLoader(
        {"a": Dropped(12, [4, 5, 6, 8])},
        batch_size=2,
        collate_fn=without_missing,
        shuffle=False,
        on_error="retry",
        num_workers=workers,
    )
    with caplog.at_level(logging.WARNING, "curricula"):
        assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [7], [7], [9], [10, 11]]
        list(loader)
    (told,) = [record.getMessage() for record in caplog.records if "other data" in record.getMessage()]
    assert told.startswith("task 'a' got None instead of a batch from collate_fn; other data of the task are taken")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("on_error", "advice"), [("raise", 'on_error="retry" takes other'), ("retry", "and so it did 10 times more")]
)
def test_a_task_that_gives_no_batch_says_what_to_do(on_error, advice, workers):
    loader = CurriculumLoader(
        {"a": Dropped(40, range(40))},
        batch_size=2,
        collate_fn=without_missing,
        shuffle=False,
        on_error=on_error,
        num_workers=workers,
    )
    message = rf"task 'a' got None instead of a batch from collate_fn while reading the samples \[0, 1\]: {advice}"
    with pytest.raises(TaskError, match=message) as caught:
        next(iter(loader))
    traceback.clear_frames(caught.tb)


def test_a_task_that_gives_no_batch_can_be_dropped():
    tasks = {"none": Dropped(40, range(40)), "some": Dropped(40, ())}
    loader = CurriculumLoader(tasks, batch_size=2, steps_per_epoch=9, collate_fn=without_missing, on_error="drop")
    assert all(batch is not None for batch in loader)
    assert loader.teacher.is_removed(0)


class Gaps:
    """Ready batches, with gaps."""

    def __iter__(self):
        yield from (None, 1, None, None, 2, 3)


def test_a_stream_with_gaps_is_read_on_and_found_again(caplog):
    def make():
        return CurriculumLoader({"a": Gaps()}, steps_per_epoch=7, on_error="retry")

    whole = make()
    with caplog.at_level(logging.WARNING, "curricula"):
        assert list(whole) == [1, 2, 3, 1, 2, 3, 1]
    assert sum("yielded None instead of a batch" in record.getMessage() for record in caplog.records) == 1
    for done in range(1, 7):
        first, resumed = make(), make()
        iterator = iter(first)
        for _ in range(done):
            next(iterator)
        resumed.load_state_dict(first.state_dict())
        assert list(resumed) == list(iterator)
    with pytest.raises(TaskError, match="task 'a' yielded None instead of a batch at batch 0 of its pass 0: on_error="):
        list(CurriculumLoader({"a": Gaps()}, steps_per_epoch=7))


@pytest.mark.parametrize(
    "task", [Dropped(40, range(0, 40, 2)), DataLoader(Dropped(40, range(9)), 2, collate_fn=without_missing)]
)
def test_fresh_batches_are_never_none(task):
    loader = CurriculumLoader(
        {"a": task}, batch_size=2, steps_per_epoch=20, collate_fn=without_missing, on_error="retry"
    )
    assert all(loader.samples.next("a") is not None for _ in range(40))


# ---------------------------------------------------------------- ready batches


def ready(count=6, width=2, seed=0):
    numbers = torch.Generator().manual_seed(seed)
    return [(torch.randn(3, width, generator=numbers), torch.full((3, 1), float(number))) for number in range(count)]


def numbers_of(batches):
    return [int(batch[1][0]) for batch in batches]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_list_of_ready_batches_gives_them_one_by_one(workers):
    loader = CurriculumLoader({"a": ready()}, batch_size=None, num_workers=workers)
    assert len(loader) == 6
    for _ in range(2):
        batches = list(loader)
        assert sorted(numbers_of(batches)) == list(range(6))
        assert batches[0][0].shape == (3, 2)
    in_order = CurriculumLoader({"a": ready()}, batch_size=None, num_workers=workers, shuffle=False, drop_last=True)
    assert numbers_of(in_order) == list(range(6))


def test_ready_batches_are_converted_as_torch_does():
    import numpy as np

    items = [{"x": np.zeros(2), "name": "a"}, {"x": np.ones(2), "name": "b"}]
    for options in ({}, {"collate_fn": len}):
        ours = list(CurriculumLoader({"a": items}, batch_size=None, shuffle=False, **options))
        theirs = list(DataLoader(items, batch_size=None, **options))
        assert str(ours) == str(theirs)


def test_ranks_share_ready_batches_and_their_number_may_change():
    def loader_of(rank, world_size, state=None):
        loader = CurriculumLoader({"a": ready(12)}, batch_size=None, steps_per_epoch=12)
        if state is not None:
            loader.load_state_dict(state)
        loader.attach(Teacher(loader.names), rank=rank, world_size=world_size)
        return loader

    pair = [loader_of(rank, 2) for rank in (0, 1)]
    iterators = [iter(loader) for loader in pair]
    first = [numbers_of([next(iterator) for _ in range(3)]) for iterator in iterators]
    alone = iter(loader_of(0, 1, pair[0].state_dict()))
    rest = numbers_of([next(alone) for _ in range(6)])
    assert sorted(first[0] + first[1] + rest) == list(range(12))


def test_fresh_ready_batches_are_others_and_each_comes_once():
    for task in (ready(), DataLoader(ready(), batch_size=None)):
        loader = CurriculumLoader({"a": task}, batch_size=None, steps_per_epoch=6)
        fresh = [loader.samples.next("a") for _ in range(6)]
        assert sorted(numbers_of(fresh)) == list(range(6))
        assert numbers_of(fresh) != numbers_of(loader)


def test_a_ready_batch_that_cannot_be_read_is_replaced():
    class Holes(Rows):
        def __getitem__(self, index):
            if index in (1, 2):
                raise KeyError(index)
            return None if index == 3 else torch.tensor([index])

    loader = CurriculumLoader({"a": Holes(0, 6)}, batch_size=None, shuffle=False, on_error="retry")
    assert [int(batch) for batch in loader] == [0, 4, 4, 4, 4, 5]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_on_ready_batches_is_resumed_exactly(workers, tmp_path):
    def fit(*others, ckpt_path=None):
        pl.seed_everything(0, verbose=False)
        model = Linear()
        tasks = {"a": ready(7), "b": ready(5, seed=1), "c": DataLoader(ready(4, seed=2), batch_size=None, shuffle=True)}
        signal = SelfPredictionGain()
        loader = CurriculumLoader(tasks, batch_size=None, steps_per_epoch=9, num_workers=workers)
        own = CurriculumCallback(signal=signal, seed=2)
        trainer(own, *others, max_steps=20, enable_checkpointing=bool(others)).fit(model, loader, ckpt_path=ckpt_path)
        return own, model

    saver = ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=1, filename="{step}")
    whole, model = fit(saver)
    assert Counter(whole.history.column("arm").tolist()).total() == 20
    for step in range(1, 20, 8 if workers else 2):
        resumed, other = fit(ckpt_path=tmp_path / f"step={step}.ckpt")
        assert str(resumed.history.state_dict()) == str(whole.history.state_dict()), step
        assert torch.equal(other.layer.weight, model.layer.weight)


def test_a_datamodule_validates_on_ready_batches():
    datamodule = CurriculumDataModule({"a": ready()}, val_tasks={"a": ready(3)}, batch_size=None)
    assert len(datamodule.train_dataloader()) == 6
    assert numbers_of(datamodule.val_dataloader()["a"]) == [0, 1, 2]
