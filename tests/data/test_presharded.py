"""Streams that split themselves by rank: every rank trains on all that it is given, in step with the others."""

from __future__ import annotations

import itertools
import json
import logging
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from curricula import CurriculumCallback, CurriculumLoader, Teacher
from curricula.bandits import Exp3S, FixedPolicy
from curricula.data.sources.stream import StreamSource
from curricula.signals import PredictionGain, SelfPredictionGain
from tests.models import Rows, StreamedRows, rows_of
from tests.ranks import on_ranks
from tests.test_ranks import Hashes, Recorder, collate, make_trainer

SIZES = (21, 32, 24)


class Shard(IterableDataset):
    """The rows of one rank, which need be as many as those of the others not even in batches."""

    def __init__(self, task, size, rank=None, world_size=None):
        self.task = task
        self.size = size
        self.place = rank, world_size
        self.reads = 0

    def __iter__(self):
        rank, world_size = (dist.get_rank(), dist.get_world_size()) if self.place[0] is None else self.place
        for index in range(rank, self.size, world_size):
            self.reads += 1
            yield self.task, index


def own_rows(rank, task, world_size=2):
    return list(range(rank, SIZES[task], world_size))


# ---------------------------------------------------------------- real trainers on two ranks


def tasks_for(kind):
    if kind == "streams":
        return {"a": Shard(0, SIZES[0]), "b": Shard(1, SIZES[1]), "c": StreamedRows(2, SIZES[2])}

    def sampled(task):
        rows = Rows(task, SIZES[task])
        return DataLoader(rows, 2, sampler=DistributedSampler(rows, shuffle=True), collate_fn=collate)

    return {"a": sampled(0), "b": sampled(1), "c": Rows(2, SIZES[2])}


def train(folder, kind, steps, independent=False, resume=None, save=None):
    pl.seed_everything(0, verbose=False)
    signal = PredictionGain() if independent else None
    callback = CurriculumCallback(Exp3S(eta=0.05, epsilon=0.2), signal, seed=4, independent_ranks=independent)
    hashes, model = Hashes(callback), Recorder()
    fitter = make_trainer(callback, hashes, max_steps=steps)
    loaders = []

    class Data(pl.LightningDataModule):
        def train_dataloader(self):  # a DistributedSampler asks for the processes when it is made
            options = {"batch_size": 2, "steps_per_epoch": 30, "collate_fn": collate, "presharded": ["a", "b"]}
            loaders.append(CurriculumLoader(tasks_for(kind), seed=4, **options))
            return loaders[-1]

    fitter.fit(model, datamodule=Data(), ckpt_path=None if resume is None else folder / resume)
    if save is not None:
        fitter.save_checkpoint(folder / save)
    return {
        "digests": hashes.digests,
        "samples": model.samples,
        "weights": [value.tolist() for value in model.state_dict().values()],
        "state": json.dumps(loaders[-1].state_dict()),
        "arms": callback.history.column("arm").astype(int).tolist(),
    }


@pytest.mark.parametrize("kind", ["streams", "loaders"])
def test_every_rank_trains_on_all_of_its_part_and_a_resume_is_exact(kind, tmp_path):
    whole, part, rest = on_ranks(
        train, tmp_path, (2, [kind, 60]), (2, [kind, 37, False, None, "37.ckpt"]), (2, [kind, 60, False, "37.ckpt"])
    )
    assert whole[0]["digests"] == whole[1]["digests"]
    assert whole[0]["state"] == whole[1]["state"]
    for number, rank in enumerate(whole):
        assert [task for task, _ in rank["samples"]] == rank["arms"], "all ranks train on the task that was drawn"
        for task in (0, 1):
            rows = list(itertools.chain(*(rows for arm, rows in rank["samples"] if arm == task)))
            own = own_rows(number, task)
            assert len(rows) > 2 * len(own)
            if kind == "streams":
                assert rows == (own * 9)[: len(rows)], "nothing of its part is left out"
        assert part[number]["samples"] == rank["samples"][:37]
        assert rest[number]["samples"] == rank["samples"][37:]
        assert rest[number]["weights"] == rank["weights"]
    if kind == "loaders":  # the parts of a pass are disjoint, and together they are all
        parts = [list(itertools.chain(*(rows for arm, rows in rank["samples"] if arm == 1)))[:16] for rank in whole]
        assert sorted(parts[0] + parts[1]) == list(range(32))


def test_ranks_that_draw_tasks_of_their_own_stay_in_step(tmp_path):
    whole, part, rest = on_ranks(
        train,
        tmp_path,
        (2, ["streams", 60, True]),
        (2, ["streams", 37, True, None, "37.ckpt"]),
        (2, ["streams", 60, True, "37.ckpt"]),
    )
    assert whole[0]["state"] == whole[1]["state"]
    assert any(ours[0] != theirs[0] for ours, theirs in zip(whole[0]["samples"], whole[1]["samples"], strict=True))
    for number, rank in enumerate(whole):
        # Of its own part a rank takes as many batches as the step has draws of the task, and keeps its own.
        streams = {task: StreamSource(str(task), batches(task, number), 0) for task in (0, 1)}
        for step, (task, rows) in enumerate(rank["samples"]):
            draws = [ranks["samples"][step][0] for ranks in whole]
            for arm in {0, 1}.intersection(draws):
                read = [streams[arm].next(0, 1)[1].tolist() for _ in range(draws.count(arm))]
                if arm == task:
                    assert rows == read[draws[:number].count(task)]
        assert part[number]["samples"] == rank["samples"][:37]
        assert rest[number]["samples"] == rank["samples"][37:]
        assert rest[number]["weights"] == rank["weights"]


def batches(task, rank):
    return DataLoader(Shard(task, SIZES[task], rank, 2), batch_size=2)


# ---------------------------------------------------------------- one process at a time


def loader_of(rank, world_size=2, **options):
    loader = CurriculumLoader(
        {"a": Shard(0, 21, rank, world_size), "b": Rows(1, 40)},
        **{"batch_size": 2, "steps_per_epoch": 40, "presharded": ["a"], **options},
    )
    loader.attach(Teacher(loader.names, bandit=FixedPolicy([0.8, 0.2])), rank=rank, world_size=world_size)
    return loader


def test_the_state_of_one_rank_is_that_of_all_although_their_passes_differ():
    loaders = [loader_of(rank) for rank in (0, 1)]
    iterators = [iter(loader) for loader in loaders]
    for done in range(30):
        for iterator in iterators:
            next(iterator)
        states = [json.dumps(loader.state_dict()["content"]["streams"]) for loader in loaders]
        totals = [json.loads(state)[0][1]["total"] for state in states]
        assert totals[0] == totals[1]
        if done % 7 == 0:
            for rank, loader in enumerate(loaders):
                resumed = loader_of(rank)
                resumed.load_state_dict(loaders[0].state_dict())  # as Lightning saves it, on the first rank
                resumed.attach(Teacher(loader.names, bandit=FixedPolicy([0.8, 0.2])), rank=rank, world_size=2)
                ours, theirs = resumed._streams[0], loader._streams[0]
                following = StreamSource("a", batches(0, rank), 0)
                for _ in range(theirs._total):
                    following.next(0, 1)
                assert rows_of(ours.next(0, 1)) == rows_of(following.next(0, 1))


def test_another_number_of_ranks_goes_on_after_as_many_batches_of_all():
    source = StreamSource("a", batches(0, 0), 0, presharded=True)
    source.processes = 2
    for _ in range(9):
        source.next(0, 1)
    alone = StreamSource("a", DataLoader(Shard(0, 21, 0, 1), batch_size=2), 0, presharded=True)
    alone.seek(source.position())
    expected = StreamSource("a", DataLoader(Shard(0, 21, 0, 1), batch_size=2), 0)
    for _ in range(18):
        expected.next(0, 1)
    assert rows_of(alone.next(0, 1)) == rows_of(expected.next(0, 1))


def test_whole_passes_of_a_loader_with_a_length_are_not_read_again():
    class Counted(Rows):
        reads = 0

        def __getitem__(self, index):
            self.reads += 1
            return super().__getitem__(index)

    rows = Counted(0, 10)
    source = StreamSource("a", DataLoader(rows, batch_size=2), 0, presharded=True)
    source.processes = 2
    source.seek({"counted": [0, 0, 2], "total": 353, "processes": 2})
    assert rows_of(source.next(0, 1)) == (0, [6, 7])
    assert rows.reads == 8


def test_a_limit_counts_the_batches_of_every_rank():
    for rank in (0, 1):
        loader = CurriculumLoader(
            {"a": Shard(0, 21, rank, 2)}, batch_size=2, steps_per_epoch=6, presharded=True, drop_last=True
        )
        loader.attach(Teacher(loader.names), rank=rank, world_size=2, limit=2)
        assert [rows_of(batch)[1] for batch in loader] == [[rank, rank + 2], [rank + 4, rank + 6]] * 3


def test_fresh_batches_are_of_the_ranks_own_part():
    class Sampled(Shard):
        def __iter__(self):
            rows = list(super().__iter__())
            return iter([rows[k] for k in torch.randperm(len(rows))])

    for rank in (0, 1):
        loader = CurriculumLoader({"a": Sampled(0, 32, rank, 2)}, batch_size=2, steps_per_epoch=6, presharded=True)
        loader.attach(Teacher(loader.names), rank=rank, world_size=2)
        found = list(itertools.chain(*(rows_of(loader.samples.next("a"))[1] for _ in range(8))))
        assert sorted(found) == list(range(rank, 32, 2))


def test_a_place_that_the_task_knows_is_its_own_only_where_there_is_one_process():
    class Placed(Shard):
        place_in_data = 0

        def __iter__(self):
            for row in list(super().__iter__())[self.place_in_data :]:
                self.place_in_data += 1
                yield row
            self.place_in_data = 0

        def state_dict(self):
            return {"place": self.place_in_data}

        def load_state_dict(self, state):
            self.place_in_data = state["place"]

    def make(rank, world_size):
        source = StreamSource("a", DataLoader(Placed(0, 21, rank, world_size), 2), 0, presharded=True)
        source.processes = world_size
        return source

    for world_size, has_state in ((1, True), (2, False)):
        source = make(0, world_size)
        for _ in range(8):
            source.next(0, 1)
        assert ("state" in source.position()) is has_state
        for rank in range(world_size):
            resumed, expected = make(rank, world_size), make(rank, world_size)
            resumed.seek(source.position())
            for _ in range(8):
                expected.next(0, 1)
            assert rows_of(resumed.next(0, 1)) == rows_of(expected.next(0, 1))


def test_tasks_that_are_added_can_be_split_by_themselves():
    loader = CurriculumLoader({"a": Shard(0, 21, 1, 2)}, batch_size=2, steps_per_epoch=40, presharded=True)
    loader.attach(Teacher(loader.names), rank=1, world_size=2)
    loader.add_task("b", Shard(1, 32, 1, 2))
    loader.add_task("c", StreamedRows(2, 24), presharded=False)
    with pytest.raises(ValueError, match=r"presharded has \['d'\], which are read by index"):
        loader.add_task("d", Rows(3, 8), presharded=True)
    rows = {}
    for batch in loader:
        task, numbers = rows_of(batch)
        rows.setdefault(task, []).extend(numbers)
    assert rows[1] == (own_rows(1, 1) * 9)[: len(rows[1])]
    assert rows[2] == ([row for row in range(24) if row % 4 >= 2] * 9)[: len(rows[2])]


# ---------------------------------------------------------------- what would be split twice


def given_a_rank():
    stream = StreamedRows(0, 8)
    stream._distributed = SimpleNamespace(rank=0, world_size=2)
    return stream


def split_by_node(rows):
    return rows


def pipeline():
    stream = StreamedRows(0, 8)
    stream.pipeline = [iter, split_by_node]
    return stream


def sampled():
    return DataLoader(Rows(0, 8), 2, sampler=DistributedSampler(Rows(0, 8), num_replicas=2, rank=0))


class OfALibrary(StreamedRows):
    """As datasets of such libraries are."""


OfALibrary.__module__ = "streaming.base"


@pytest.mark.parametrize(
    ("make", "sign"),
    [
        (sampled, "DistributedSampler"),
        (given_a_rank, "its dataset was given a rank"),
        (pipeline, "split_by_node"),
        (lambda: OfALibrary(0, 8), "streaming.base.OfALibrary"),
        (lambda: DataLoader(given_a_rank(), batch_size=2, num_workers=1), "its dataset was given a rank"),
    ],
)
def test_a_task_that_would_be_split_twice_is_warned_of_once_by_name(make, sign, caplog):
    def attach(world_size, rank=0, **options):
        caplog.clear()
        loader = CurriculumLoader({"web": make(), "plain": Rows(1, 8)}, batch_size=2, steps_per_epoch=9, **options)
        for _ in range(2):
            loader.attach(Teacher(loader.names), rank=rank, world_size=world_size)
        loader.add_task("more", StreamedRows(2, 8))
        return [record.getMessage() for record in caplog.records if "split itself" in record.getMessage()]

    with caplog.at_level(logging.WARNING, "curricula"):
        (told,) = attach(2)
        assert "task 'web'" in told
        assert sign in told
        assert "presharded=['web']" in told
        assert attach(1) == []
        assert attach(2, rank=1) == [], "the first rank has said so"
        assert attach(2, presharded=["web"]) == []
        assert attach(2, presharded=True) == []


def test_a_probe_signal_trains_on_presharded_tasks(tmp_path):
    (ranks,) = on_ranks(probe, tmp_path, (2, [20]))
    assert ranks[0] == ranks[1]


def probe(folder, steps):
    callback = CurriculumCallback(signal=SelfPredictionGain(), seed=4)
    hashes = Hashes(callback)
    loader = CurriculumLoader(
        {"a": Shard(0, 21), "b": Shard(1, 32)},
        probe_tasks={"a": Shard(0, 99), "b": Shard(1, 99)},
        batch_size=2,
        steps_per_epoch=30,
        collate_fn=collate,
        presharded=True,
    )
    make_trainer(callback, hashes, max_steps=steps).fit(Recorder(), loader)
    return hashes.digests
