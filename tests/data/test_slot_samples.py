"""Fresh batches with slots of several tasks: every slot of its task, in an order of its own, exact on resume."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from curricula import CurriculumLoader
from curricula.data import TaskError
from tests.models import Rows, tasks_of_rows

SLOT = 2
NAMES = ("0", "1", "2", "3")


class Shuffled(IterableDataset):
    """Rows in an order that is drawn anew in every pass."""

    def __init__(self, task, size):
        self.rows = Rows(task, size)

    def __iter__(self):
        return (self.rows[int(row)] for row in torch.randperm(len(self.rows)))


KINDS = {
    "map": Rows,
    "stream": Shuffled,
    "ready": lambda task, size: DataLoader(Rows(task, size), batch_size=SLOT, shuffle=True),
}


def make(kind, size=12, **options):
    tasks = {name: KINDS[kind](number, size) for number, name in enumerate(NAMES)}
    return CurriculumLoader(tasks, batch_size=8, draws_per_batch=4, steps_per_epoch=5, seed=2, **options)


def mixed_kinds():
    kinds = zip(NAMES, (*KINDS, "map"), strict=True)
    tasks = {name: KINDS[kind](number, 12) for number, (name, kind) in enumerate(kinds)}
    return CurriculumLoader(tasks, batch_size=8, draws_per_batch=4, steps_per_epoch=5, seed=2)


def pairs(batch):
    return list(zip(*(part.tolist() for part in batch), strict=True))


ASKED = [("0", "1", "2", "3"), ("3", "3", "0", "1"), ("2", "2", "2", "2"), ("1", "0", "3", "2")] * 3


@pytest.mark.parametrize("kind", [*KINDS, "all kinds"])
def test_every_slot_is_of_its_task_and_every_sample_comes_once_per_pass(kind):
    make_loader = mixed_kinds if kind == "all kinds" else lambda: make(kind)
    loader = make_loader()
    training = [pairs(batch) for batch in make_loader()]
    seen = {name: [] for name in NAMES}
    delivered = []
    batches = iter(loader)
    for number, tasks in enumerate(ASKED):
        found = pairs(loader.samples.next(tasks))
        assert [task for task, _ in found] == [int(name) for name in tasks for _ in range(SLOT)]
        for task, row in found:
            seen[str(task)].append(row)
        if number < 5:
            delivered.append(pairs(next(batches)))
    assert delivered == training, "and the training's own batches are as without"
    for rows in seen.values():
        assert sorted(rows[:12]) == list(range(12))


def test_one_name_is_a_whole_batch_of_it():
    loader = make("map")
    assert [task for task, _ in pairs(loader.samples.next("2"))] == [2] * 8


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_goes_on_with_the_sample_that_follows(kind):
    loader, other = make(kind), make(kind)
    for tasks in ASKED[:5]:
        loader.samples.next(tasks)
    other.samples.load_state(json.loads(json.dumps(loader.samples.state())))
    for tasks in ASKED[5:]:
        assert pairs(other.samples.next(tasks)) == pairs(loader.samples.next(tasks))


@pytest.mark.parametrize("kind", ["map", "stream"])
def test_ranks_have_parts_of_their_own(kind):
    loaders = [make(kind, size=24) for _ in range(2)]
    for rank, loader in enumerate(loaders):
        loader.samples.set_rank(rank, 2)
    taken = [[pair for _ in range(3) for pair in pairs(loader.samples.next("1"))] for loader in loaders]
    counted = Counter(row for _, row in [*taken[0], *taken[1]])
    assert set(counted.values()) == {2}, "48 samples are two passes"
    assert set(taken[0][:8]).isdisjoint(taken[1][:8])


def test_a_sample_that_cannot_be_collated_names_its_task():
    def collate(samples):
        raise KeyError("label")

    tasks = tasks_of_rows(8, 8)
    loader = CurriculumLoader(tasks, batch_size=4, draws_per_batch=2, steps_per_epoch=2, collate_fn=collate)
    with pytest.raises(TaskError, match=r"task '0'.*while a fresh batch was put together"):
        loader.samples.next(("0", "1"))
