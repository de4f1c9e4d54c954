"""The contract of tasks, and of loaders over them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from curricula.bandits.fixed import FixedPolicy
from curricula.data.loader import CurriculumLoader
from curricula.data.tasks import Task, is_map_style
from curricula.teacher import Teacher
from curricula.testing.chance import global_numbers
from curricula.testing.contract import Contract, does_not_apply
from curricula.testing.repeats import alone, digest
from curricula.testing.states import through_torch

STEPS = 6
"""Batches of an epoch."""

Slot = tuple[int, str, tuple[str, ...]]
"""Number of the draw, name of its task, and a digest of each sample."""


class DataContract(Contract):
    """What tasks promise a training that is interrupted or runs in several processes: subclass it and give yours.

    Every sample of a task must be unlike all others, so that it can be known again. The tasks are read as a training
    would read them; without a model.

    Example:
        >>> class TestMyTasks(DataContract):
        ...     def tasks(self):
        ...         return {"low": torch.arange(20), "high": torch.arange(50, 75)}
        >>> TestMyTasks().failures()
        {}
    """

    batch_size: int | None = 8
    """Samples of a batch; ``None`` for tasks of ready batches."""
    draws_per_batch: int = 1
    """Tasks of a batch; the contract is best kept for 1 and for more."""
    num_workers: int = 1
    """Worker processes that must make no difference; 0: they are not tried."""

    def tasks(self) -> Mapping[str, Task]:
        """Return the tasks, made anew: at least two, alike at every call."""
        raise NotImplementedError(f"define {type(self).__name__}.tasks(self), which returns the tasks to test")

    def loader(self, **options: Any) -> CurriculumLoader:
        """Return a loader over the tasks, made anew; override it for one of your own."""
        return CurriculumLoader(
            self.tasks(),
            batch_size=self.batch_size,
            draws_per_batch=self.draws_per_batch,
            steps_per_epoch=STEPS,
            seed=self.seed,
            **options,
        )

    def samples(self, batch: Any) -> list[Any]:
        """Return the samples of a batch, one by one; override it for batches of a kind of your own."""
        return split(batch)

    # ---------------------------------------------------------------- promises

    def test_every_slot_is_of_the_task_that_was_drawn(self) -> None:
        """Every slot has samples of the task that was drawn for it, and every task comes."""
        known = {name: set(self._samples_of(name)) for name in self.tasks()}
        for one, other in combinations(known, 2):
            common = known[one] & known[other]
            assert not common, f"the tasks {one!r} and {other!r} have {len(common)} samples in common"
        seen = set()
        for slots in self._run(self._attached(), 6):
            for number, task, samples in slots:
                own = known[task]
                others = [name for name, found in known.items() if name != task and not found.isdisjoint(samples)]
                assert own.issuperset(samples), (
                    f"draw {number} is of task {task!r} and was given samples of {others or 'no task'}"
                )
                seen.add(task)
        assert seen == set(known), f"tasks {sorted(set(known) - seen)} were never delivered"

    def test_every_sample_comes_once_per_pass(self) -> None:
        """Of a task whose number of samples is known: of a dataset that is read by index, also by a ``DataLoader``."""
        for name, task in self.tasks().items():
            size = self._size(task)
            if size is not None:
                first, second = (self._samples_of(name)[k * size : (k + 1) * size] for k in (0, 1))
                assert len(set(first)) == size, f"task {name!r} gives a sample twice in its first pass"
                assert set(first) == set(second), f"the second pass over task {name!r} has other samples than the first"

    def test_two_loaders_give_the_same_batches(self) -> None:
        """Whatever the global random numbers are: all order comes from the seed of the loader."""
        with alone(1):
            first = self._run(self._attached(), 2)
        with alone(2):
            second = self._run(self._attached(), 2)
        assert first == second, f"two loaders with one seed differ at batch {_first_difference(first, second)}"

    def test_it_leaves_the_global_random_numbers_alone(self) -> None:
        """Of torch, numpy and Python: the model draws from them."""
        with alone(3):
            before = digest([torch.get_rng_state(), *global_numbers()])
            self._run(self._attached(), 1)
            after = digest([torch.get_rng_state(), *global_numbers()])
        assert before == after, "reading moves the global random numbers: give the task a generator of its own"

    def test_a_run_is_resumed_exactly_from_every_batch(self) -> None:
        """Through a file that is read without running code, in the middle of an epoch and at its end."""
        self._check_resumes(micro_batches=1)

    def test_under_accumulation_a_run_is_resumed_exactly(self) -> None:
        """Two batches per step, which share their draws."""
        self._check_resumes(micro_batches=2)

    def test_taking_the_state_changes_nothing(self) -> None:
        """A training that saves after every batch goes on as one that does not."""
        saving, plain = self._attached(), self._attached()
        found = [self._slots(saving, batch) for _ in range(2) for batch in saving if saving.state_dict()]
        expected = self._run(plain, 2)
        assert found == expected, f"after state_dict() batch {_first_difference(found, expected)} is another"

    def test_a_state_stays_as_it_was_taken(self) -> None:
        """It is a copy: it does not change with the loader, nor with one that it was loaded into."""
        loader, other = self._attached(), self.loader()
        iterator = iter(loader)
        self._slots(loader, next(iterator))
        state = loader.state_dict()
        frozen = copy.deepcopy(state)
        for batch in iterator:
            self._slots(loader, batch)
        assert state == frozen, "the state changed with the loader that it was taken from"
        other.load_state_dict(state)
        other.attach(_teacher(other, self.seed))
        self._run(other, 1)
        assert state == frozen, "the state changed with the loader that it was loaded into"

    def test_ranks_share_the_draws_and_have_no_sample_in_common(self) -> None:
        """Two processes: the same tasks in every batch, each with samples of its own."""
        first, second = (self._run(self._attached(rank=rank, world_size=2), 2) for rank in (0, 1))
        for one, other in zip(first, second, strict=True):
            assert [slot[:2] for slot in one] == [slot[:2] for slot in other], "two ranks have other draws"
            assert [len(slot[2]) for slot in one] == [len(slot[2]) for slot in other], (
                "two ranks have batches of different sizes"
            )
        for name in self.tasks():
            visits = [
                next((slot[2] for slots in run for slot in slots if slot[1] == name), ()) for run in (first, second)
            ]
            common = set(visits[0]) & set(visits[1])
            assert not common, f"{len(common)} samples of the first batch of task {name!r} are on both ranks"

    def test_independent_ranks_have_draws_of_their_own(self) -> None:
        """Two processes that each draw from the one policy, and count the batches of both."""
        runs = [self._run(self._attached(rank=rank, world_size=2, independent=True), 2) for rank in (0, 1)]
        for one, other in zip(*runs, strict=True):
            numbers = [number for number, *_ in (*one, *other)]
            assert len(set(numbers)) == len(numbers), "two ranks have a draw in common"
        for name in self.tasks():
            found = [
                samples
                for run in zip(*runs, strict=True)
                for slots in run
                for _, task, samples in slots
                if task == name
            ]
            both = [sample for samples in found[:2] for sample in samples]
            assert len(set(both)) == len(both), f"the first two visits of task {name!r} have samples in common"

    def test_every_rank_is_resumed_exactly(self) -> None:
        """From the state of the first one, which is the only one that is saved."""
        for options in ({"world_size": 2}, {"world_size": 2, "independent": True}):
            state = self._saved(rank=0, **options)[1][3]
            for rank in (0, 1):
                whole = self._run(self._attached(rank=rank, **options), 2)
                rest = self._resumed(state, rank=rank, **options)
                assert rest == whole[4:], f"rank {rank} is resumed at other batches than it would have had"

    def test_worker_processes_change_nothing(self) -> None:
        """Of tasks that are read by index."""
        if not self.num_workers or not any(is_map_style(task) for task in self.tasks().values()):
            does_not_apply("no task is read by worker processes")
        plain, workers = (self._run(self._attached(num_workers=number), 1) for number in (0, self.num_workers))
        assert workers == plain, f"with worker processes batch {_first_difference(workers, plain)} is another"

    # ---------------------------------------------------------------- how they are tried

    def _check_resumes(self, micro_batches: int) -> None:
        whole, states = self._saved(micro_batches=micro_batches)
        for done, state in enumerate(states[:-1], start=1):
            rest = self._resumed(through_torch(state), micro_batches=micro_batches)
            assert rest == whole[done:], (
                f"resumed after {done} batches, batch {done + _first_difference(rest, whole[done:])} is another: "
                "something that decides the samples is not in the state of the task"
            )

    def _attached(self, **options: Any) -> CurriculumLoader:
        loader = self.loader(**{name: options.pop(name) for name in ("num_workers",) if name in options})
        _attach(loader, _teacher(loader, self.seed), **options)
        return loader

    def _saved(self, **options: Any) -> tuple[list[list[Slot]], list[dict[str, Any]]]:
        """Return the batches of two epochs, and the state after each of them."""
        loader = self._attached(**options)
        found, states = [], []
        for _ in range(2):
            for batch in loader:
                found.append(self._slots(loader, batch))
                states.append(copy.deepcopy({"loader": loader.state_dict(), "teacher": loader.teacher.state_dict()}))
        return found, states

    def _resumed(self, state: Mapping[str, Any], **options: Any) -> list[list[Slot]]:
        loader = self.loader()
        teacher = _teacher(loader, self.seed)
        loader.load_state_dict(state["loader"])
        teacher.load_state_dict(state["teacher"])
        _attach(loader, teacher, **options)
        position = state["loader"]["content"]["position"]
        return self._run(loader, 3 - state["loader"]["content"]["epoch"] - (position == STEPS))

    def _run(self, loader: CurriculumLoader, epochs: int) -> list[list[Slot]]:
        return [self._slots(loader, batch) for _ in range(epochs) for batch in loader]

    def _slots(self, loader: CurriculumLoader, batch: Any) -> list[Slot]:
        draws = loader.own_draws(loader.claim())
        samples = [digest(sample) for sample in self.samples(batch)]
        size = len(samples) // len(draws)
        assert size * len(draws) == len(samples), f"a batch of {len(draws)} draws has {len(samples)} samples"
        return [
            (draw.id, draw.task, tuple(samples[place * size : (place + 1) * size])) for place, draw in enumerate(draws)
        ]

    def _samples_of(self, name: str) -> list[str]:
        """Return the samples that a loader gives of one task, of two passes if the task tells its size."""
        loader = self.loader()
        teacher = _teacher(loader, self.seed)
        for other in loader.names:
            if other != name:
                teacher.remove_task(other)
        _attach(loader, teacher)
        size = self._size(loader.tasks[name])
        found: list[str] = []
        for _ in range(50):
            for batch in loader:
                found += [digest(sample) for sample in self.samples(batch)]
                loader.claim()
            if len(found) >= 2 * (size or 100):
                break
        return found

    def _size(self, task: Task) -> int | None:
        if isinstance(task, DataLoader) and is_map_style(task.dataset) and task.batch_size is not None:
            whole = len(task.dataset)
            return whole - whole % task.batch_size if task.drop_last else whole
        return len(task) if is_map_style(task) and self.batch_size is not None else None


def _visits(run: list[list[Slot]], name: str) -> list[tuple[str, ...]]:
    return [samples for slots in run for _, task, samples in slots if task == name]


def _teacher(loader: CurriculumLoader, seed: int) -> Teacher:
    return Teacher(loader.names, bandit=FixedPolicy.uniform(), seed=seed)


def _attach(loader: CurriculumLoader, teacher: Teacher, micro_batches: int = 1, **options: Any) -> None:
    loader.attach(teacher, micro_batches=lambda: micro_batches, **options)


def _first_difference(found: list[Any], expected: list[Any]) -> int:
    pairs = enumerate(zip(found, expected, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(found), len(expected)))


def split(batch: Any) -> list[Any]:
    """Return the samples of a batch: tensors and arrays along their first dimension, lists of text by entry.

    Example:
        >>> split({"x": torch.arange(2), "name": ["a", "b"]})
        [{'x': tensor(0), 'name': 'a'}, {'x': tensor(1), 'name': 'b'}]
    """
    if isinstance(batch, Mapping):
        columns = {key: split(part) for key, part in batch.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if isinstance(batch, (list, tuple)) and batch and isinstance(batch[0], (Tensor, np.ndarray, Mapping, list, tuple)):
        return list(zip(*(split(part) for part in batch), strict=True))
    return list(batch)
