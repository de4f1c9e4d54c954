"""Tasks and loaders with one bug each, and the promises of the contract that must notice it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from curricula import CurriculumLoader
from curricula.testing import DataContract
from tests.models import Counting, Rows, StreamedRows


class Of(DataContract):
    """The contract over tasks, or over a class of loaders."""

    num_workers = 0

    def __init__(self, make=None, kind=CurriculumLoader, draws=1):
        self._make, self._kind = make, kind
        self.draws_per_batch = draws

    def tasks(self):
        return {"rows": Rows(0, 21), "other": Rows(1, 24) if self._make is None else self._make(1, 24)}

    def loader(self, **options):
        draws = self.draws_per_batch
        return self._kind(
            self.tasks(), batch_size=8, draws_per_batch=draws, steps_per_epoch=6, seed=self.seed, **options
        )


GOOD = {
    "map": Rows,
    "list": lambda task, size: [(task, row) for row in range(size)],
    "stream": StreamedRows,
    "place": Counting,
    "ready": lambda task, size: DataLoader(Rows(task, size), batch_size=2, shuffle=True),
}


@pytest.mark.parametrize(("kind", "draws"), [(kind, 4) for kind in GOOD] + [("map", 1), ("place", 1)])
def test_tasks_of_every_kind_keep_the_contract(kind, draws):
    assert Of(GOOD[kind], draws=draws).failures() == {}


class TestWithWorkers(DataContract):
    draws_per_batch = 2

    def tasks(self):
        return {"map": Rows(0, 21), "place": Counting(1, 24), "list": [(2, row) for row in range(9)]}


# Tasks.


class RandomRows(Rows):
    def __getitem__(self, index):
        return self.task, int(torch.randint(self.size, ()))


class OwnGenerator(Rows):
    numbers = np.random.default_rng(0)

    def __getitem__(self, index):
        return self.task, int(self.numbers.integers(self.size))


class OneRowTwice(Rows):
    def __getitem__(self, index):
        return self.task, index - (index == 5)


class RowsOfTheOtherTask(Rows):
    def __getitem__(self, index):
        return (0 if index == 3 else self.task), index


class SeedsEverything(Rows):
    def __getitem__(self, index):
        torch.manual_seed(index)
        return super().__getitem__(index)


class ForgetsItsPlace(Counting):
    def load_state_dict(self, state):
        pass


class OneTooFar(Counting):
    def load_state_dict(self, state):
        self.place = state["place"] + 1


class OnlyPartOfThePlace(Counting):
    """Rows are turned by what was read in all, which is not in the state."""

    total = 0

    def __iter__(self):
        for task, row in super().__iter__():
            self.total += 1
            yield task, (row + self.total // 10) % self.size


class NumbersOfNumpy(Counting):
    def state_dict(self):
        return {"place": {self.place}}


class GoesOnBySaving(Counting):
    def state_dict(self):
        self.place += 1
        return super().state_dict()


class AnotherPassEveryTime(IterableDataset):
    passes = 0

    def __init__(self, task, size):
        self.task, self.size = task, size

    def __iter__(self):
        type(self).passes += 1
        first = type(self).passes
        return ((self.task, (first + row) % self.size) for row in range(self.size))


class GlobalSampler(Sampler):
    def __init__(self, size):
        self.size = size

    def __iter__(self):
        return iter(np.random.permutation(self.size).tolist())  # noqa: NPY002

    def __len__(self):
        return self.size


def global_order(task, size):
    return DataLoader(Rows(task, size), batch_size=2, sampler=GlobalSampler(size))


TASKS = {
    RandomRows: ("test_it_leaves_the_global_random_numbers_alone", "test_two_loaders_give_the_same_batches"),
    OwnGenerator: ("test_two_loaders_give_the_same_batches", "test_a_run_is_resumed_exactly_from_every_batch"),
    OneRowTwice: ("test_every_sample_comes_once_per_pass",),
    RowsOfTheOtherTask: ("test_every_slot_is_of_the_task_that_was_drawn",),
    SeedsEverything: ("test_it_leaves_the_global_random_numbers_alone",),
    ForgetsItsPlace: ("test_a_run_is_resumed_exactly_from_every_batch", "test_every_rank_is_resumed_exactly"),
    OneTooFar: ("test_a_run_is_resumed_exactly_from_every_batch",),
    OnlyPartOfThePlace: ("test_a_run_is_resumed_exactly_from_every_batch",),
    NumbersOfNumpy: ("test_taking_the_state_changes_nothing",),
    GoesOnBySaving: ("test_taking_the_state_changes_nothing",),
    AnotherPassEveryTime: ("test_two_loaders_give_the_same_batches", "test_a_run_is_resumed_exactly_from_every_batch"),
    global_order: ("test_two_loaders_give_the_same_batches", "test_it_leaves_the_global_random_numbers_alone"),
}


@pytest.mark.parametrize("mutant", list(TASKS), ids=lambda mutant: mutant.__name__)
def test_the_mutant_of_a_task_is_caught(mutant):
    for draws in (1, 4):
        assert set(TASKS[mutant]) <= set(Of(mutant, draws=draws).failures(*TASKS[mutant])), draws


# Loaders.


class ShufflesTheBatch(CurriculumLoader):
    def __iter__(self):
        return ([part.flip(0) for part in batch] for batch in super().__iter__())


class ClaimsInAnotherOrder(CurriculumLoader):
    def claim(self):
        return super().claim()[::-1]


class OneRankForAll(CurriculumLoader):
    def attach(self, teacher, *, rank=0, world_size=1, independent=False, **options):
        super().attach(teacher, rank=0, world_size=world_size, independent=independent, **options)


class RanksDrawApart(CurriculumLoader):
    def attach(self, teacher, *, rank=0, world_size=1, independent=False, **options):
        for _ in range(rank):
            teacher.discard(teacher.draw())
        super().attach(teacher, rank=rank, world_size=world_size, independent=independent, **options)


class BeginsAnew(CurriculumLoader):
    def load_state_dict(self, state):
        other = CurriculumLoader.load_state_dict
        other(self, state)
        self._sources.rewind()
        self._plan.cursor.visits = [0] * len(self.names)


class SavesTheNextBatch(CurriculumLoader):
    def state_dict(self):
        self._plan.cursor.visits[0] += 1
        return super().state_dict()


class SharesItsState(CurriculumLoader):
    def state_dict(self):
        state = super().state_dict()
        state["content"]["visits"] = self._plan.cursor.visits
        return state


class LosesDrawsOfTheStep(CurriculumLoader):
    def load_state_dict(self, state):
        super().load_state_dict(state)
        self._plan.cursor.current = None


LOADERS = {
    ShufflesTheBatch: ("test_every_slot_is_of_the_task_that_was_drawn",),
    ClaimsInAnotherOrder: ("test_every_slot_is_of_the_task_that_was_drawn",),
    OneRankForAll: (
        "test_ranks_share_the_draws_and_have_no_sample_in_common",
        "test_independent_ranks_have_draws_of_their_own",
    ),
    RanksDrawApart: ("test_ranks_share_the_draws_and_have_no_sample_in_common",),
    BeginsAnew: ("test_a_run_is_resumed_exactly_from_every_batch", "test_every_rank_is_resumed_exactly"),
    SavesTheNextBatch: ("test_taking_the_state_changes_nothing",),
    SharesItsState: ("test_a_state_stays_as_it_was_taken",),
    LosesDrawsOfTheStep: ("test_under_accumulation_a_run_is_resumed_exactly",),
}


@pytest.mark.parametrize("mutant", list(LOADERS), ids=lambda mutant: mutant.__name__)
def test_the_mutant_of_a_loader_is_caught(mutant):
    contract = Of(kind=mutant, draws=4)
    assert set(LOADERS[mutant]) <= set(contract.failures(*LOADERS[mutant]))


class ReadsOtherwiseInWorkers(Rows):
    def __getitem__(self, index):
        worker = torch.utils.data.get_worker_info()
        return self.task, index if worker is None else (index + 1) % self.size


def test_what_only_worker_processes_do_is_noticed():
    contract = Of(ReadsOtherwiseInWorkers)
    contract.num_workers = 1
    assert list(contract.failures("test_worker_processes_change_nothing")) == ["test_worker_processes_change_nothing"]


def test_every_promise_catches_a_mutant():
    caught = {name for names in [*TASKS.values(), *LOADERS.values()] for name in names}
    assert caught | {"test_worker_processes_change_nothing"} == set(Of().promises())


class Table(Dataset):
    """Ready batches."""

    def __init__(self, task):
        self.task = task

    def __len__(self):
        return 9

    def __getitem__(self, index):
        return {"x": torch.tensor([[self.task, index, row] for row in range(3)]), "name": ["a", "b", "c"]}


class TestReadyBatches(DataContract):
    batch_size = None
    draws_per_batch = 2

    def tasks(self):
        return {"one": Table(0), "two": Table(1)}
