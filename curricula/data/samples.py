"""Fresh batches of every task for the signals, from streams of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import torch
from torch.utils.data import DataLoader

from curricula.batches import alike
from curricula.data.generators import generators_of, left_alone
from curricula.data.sizes import follow_size
from curricula.data.sources.loaders import batches_of, iterates_plainly, samplers_of, samples_plainly, second_of
from curricula.data.sources.map_order import MapSource
from curricula.data.sources.place import keeper_of
from curricula.data.sources.stream import StreamSource
from curricula.data.sources.task_dataset import Read, TaskDataset
from curricula.data.tasks import Task, check_tasks, is_map_style
from curricula.randomness import Stream

HELD_OUT_TARGET = "(held-out target)"
"""Name under which a target that is no task is sampled."""


class Samples:
    """Draws batches that are independent of those trained on, and never touches the training streams.

    Map-style tasks, and ``DataLoader`` tasks over such with a plain sampler, are sampled by index in an order of their
    own. Other tasks are iterated a second time; where that would give the very batches that are trained on, a task of
    its own has to be given.

    Args:
        tasks: name to training task.
        probe_tasks: name to the task to sample instead, for any of them.
        batch_size: samples per batch and rank.
        collate_fn: list of samples to batch; ``None``: ``default_collate``.
        seed: of the orders.
        retries: how many other samples, or further batches, are tried when a task raises.
        presharded: names of tasks of which each process reads batches of its own.

    Raises:
        ValueError: if ``probe_tasks`` has a name that ``tasks`` has not.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        probe_tasks: Mapping[str, Task] | None,
        *,
        batch_size: int | None,
        collate_fn: Callable[[list[Any]], Any] | None,
        seed: int,
        retries: int = 0,
        presharded: frozenset[str] = frozenset(),
    ) -> None:
        self._retries = retries
        self._presharded = presharded
        self._training = dict(tasks)
        self._tasks = dict(tasks)
        if probe_tasks:
            check_tasks(probe_tasks)
            unknown = [name for name in probe_tasks if name not in tasks]
            if unknown:
                raise ValueError(f"probe_tasks has {unknown}, which are no tasks: the tasks are {list(tasks)}")
            self._tasks.update(probe_tasks)
        self._batch_size = batch_size
        self._collate_fn = collate_fn
        self._seed = seed
        self._sources: dict[str, _ByIndex | StreamSource] = {}
        self._positions: dict[str, Any] = {}
        self._rank, self._world_size = 0, 1

    def set_rank(self, rank: int, world_size: int) -> None:
        """Share every batch's samples among ``world_size`` processes, of which this is ``rank``."""
        self._rank, self._world_size = rank, world_size
        for source in self._sources.values():
            source.processes = world_size

    def follow_sizes(self, *, shrink_only: bool = False) -> None:
        """Begin a new pass over tasks that have grown or shrunk; see :func:`~curricula.data.sizes.follow_size`.

        Raises:
            ValueError: if one has become empty.
        """
        for name in list(self._positions):
            task = self._tasks.get(name)  # a target may not be known yet
            if task is not None and (is_map_style(task) or _is_plain(task)):
                self._sources[name] = self._open(name)
        for source in self._sources.values():
            if isinstance(source, _ByIndex):
                source.follow_size(shrink_only, self._world_size)

    def add_target(self, task: Task) -> None:
        """Sample a target that is none of the tasks, under the name ``HELD_OUT_TARGET``.

        Raises:
            TypeError: if it can be neither indexed nor iterated.
            ValueError: if it is empty or cannot start over.
        """
        check_tasks({HELD_OUT_TARGET: task})
        self._tasks[HELD_OUT_TARGET] = task

    def add_task(self, name: str, task: Task, probe_task: Task | None, *, presharded: bool = False) -> None:
        """Sample one more task: ``probe_task``, or else the training task itself.

        Raises:
            TypeError: if ``probe_task`` can be neither indexed nor iterated.
            ValueError: if it is empty or cannot start over.
        """
        if probe_task is not None:
            check_tasks({name: probe_task})
        if presharded:
            self._presharded |= {name}
        self._training[name] = task
        self._tasks[name] = task if probe_task is None else probe_task

    def next(self, name: str) -> Any:
        """Return the next fresh batch of a task, as the task made it.

        Raises:
            TaskError: if the task cannot be read.
            ValueError: if a second iteration over the task gives the batches that are trained on.
        """
        if name not in self._sources:
            self._sources[name] = self._open(name)
        if name in self._presharded and isinstance(self._sources[name], StreamSource):
            return self._sources[name].next(0, 1)
        return self._sources[name].next(self._rank, self._world_size)

    def shut_down(self) -> None:
        """Stop the worker processes of the tasks' own loaders until further batches are asked for."""
        for source in self._sources.values():
            source.shut_down()

    def state(self) -> list[list[Any]]:
        """Return the position in every stream that was used, as plain lists."""
        positions = {**self._positions, **{name: source.position() for name, source in self._sources.items()}}
        return [[name, position] for name, position in positions.items()]

    def load_state(self, state: list[list[Any]]) -> None:
        """Continue where :meth:`state` was taken; tasks that are no more are left out."""
        self._sources.clear()
        known = {*self._tasks, HELD_OUT_TARGET}
        self._positions = {name: position for name, position in state if name in known}

    def take_over(self, before: Samples, *, same: bool) -> None:
        """Go on from the samples of a loader that is replaced.

        Args:
            before: of that loader.
            same: whether both read a task in the same way.
        """
        self._positions = {}
        for name in (*before._positions, *before._sources):
            if name not in self._tasks:
                continue
            source = before._sources.get(name)
            if same and source is not None and self._tasks[name] is before._tasks[name]:
                self._sources[name] = source
            elif source is not None:
                self._positions[name] = source.next_pass() if isinstance(source, StreamSource) else source.position()
            elif same and self._tasks[name] is before._tasks[name]:
                self._positions[name] = before._positions[name]

    def _open(self, name: str) -> _ByIndex | StreamSource:
        task = self._tasks[name]
        source: _ByIndex | StreamSource
        if is_map_style(task):
            source = _ByIndex(name, task, self._batch_size, self._collate_fn, self._seed, self._retries)
        elif _is_plain(task) and name not in self._presharded:
            source = _ByIndex(name, task.dataset, task.batch_size, task.collate_fn, self._seed, self._retries)
        else:
            source = self._second_iteration(name, task)
            source.processes = self._world_size
        if name in self._positions:
            source.seek(self._positions.pop(name))
        return source

    def _second_iteration(self, name: str, task: Task) -> StreamSource:
        batches = batches_of(task, self._batch_size, False, self._collate_fn)
        if task is not self._training.get(name):
            return self._stream(name, batches)
        hint = f"give CurriculumLoader(probe_tasks={{{name!r}: <the same task with another seed>}})"
        if isinstance(task, DataLoader) and any(
            isinstance(getattr(part, "generator", None), torch.Generator) for part in samplers_of(task)
        ):
            raise ValueError(
                f"the sampler of task {name!r} has a generator, which a second iteration would move: {hint}"
            )
        if keeper_of(batches) is not None:
            raise ValueError(
                f"task {name!r} keeps its place in the data by itself (state_dict), and a second iteration would move "
                f"it: {hint}"
            )
        fresh = StreamSource(name, second_of(batches), self._seed, Stream.PROBE_ITERATOR, self._retries)
        trained = StreamSource(name, second_of(batches), self._seed, retries=self._retries)
        if alike(fresh.next(0, 1), trained.next(0, 1)):
            raise ValueError(
                f"task {name!r} gives the same batches every time that it is iterated, so that the signal would be "
                f"measured on the batches that were trained on: {hint}"
            )
        fresh.shut_down()
        trained.shut_down()
        return self._stream(name, second_of(batches))

    def _stream(self, name: str, batches: Any) -> StreamSource:
        presharded = name in self._presharded
        return StreamSource(name, batches, self._seed, Stream.PROBE_ITERATOR, self._retries, presharded)


class _ByIndex:
    """A map-style task read by index, in an order of its own."""

    def __init__(
        self,
        name: str,
        dataset: Any,
        batch_size: int | None,
        collate_fn: Callable[[list[Any]], Any] | None,
        seed: int,
        retries: int,
    ) -> None:
        self._order = MapSource(name, len(dataset), batch_size or 1, True, False, seed, Stream.PROBE_ORDER)
        self._task = dataset
        self._dataset = TaskDataset((name,), [dataset], collate_fn, retries, ready=batch_size is None)
        self._generators = generators_of(dataset, collate_fn)
        self._visits = 0
        self._total = batch_size or 1
        self.processes = 1

    def next(self, rank: int, world_size: int) -> Any:
        total = self._order.batch_size * world_size
        if total != self._total:
            self._visits, self._total = self._order.visit_at(self._visits, self._total, world_size), total
        indices = self._order.indices(self._visits, rank, world_size)
        self._visits += 1
        with left_alone(self._generators):
            return self._dataset.read(Read(0, indices))

    def shut_down(self) -> None:
        """There are none."""

    def follow_size(self, shrink_only: bool, world_size: int) -> None:
        follow_size(self._order, self._task, self._visits, world_size, shrink_only=shrink_only)

    def position(self) -> list[int]:
        return [self._visits, self._total, *self._order.place()]

    def seek(self, position: list[int]) -> None:
        self._visits, self._total, *place = position
        if place:  # older states have none
            self._order.restore(place)


def _is_plain(task: Task) -> TypeGuard[DataLoader[Any]]:
    return isinstance(task, DataLoader) and iterates_plainly(task) and samples_plainly(task)
