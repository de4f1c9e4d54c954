"""Where a task's batches come from, and which one is next: positions, not random state."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from curricula.data.faults import Failure, TaskError, failure, warn_retried
from curricula.data.tasks import Task
from curricula.data.workers import is_of_workers, names_others, stop_workers
from curricula.randomness import CounterGenerator, Stream, lane_of


class Read(NamedTuple):
    """One batch to read."""

    arm: int
    indices: list[int] | None
    """Samples of a map-style task; ``None`` for the next batch of a streamed one."""
    seed: int | None = None
    """Of the random numbers that the task draws in a worker process."""


_END = object()


class MapSource:
    """The order of a map-style task's samples: which ones make visit ``n``, a function of (seed, name, n, rank).

    Args:
        name: of the task.
        size: number of samples.
        batch_size: samples per batch and rank.
        shuffle: a new order in every pass over the task; else the order of the dataset.
        drop_last: leave out the rest of a pass that fills no batch.
        seed: of the order.
        stream: of the seed's random numbers.
    """

    def __init__(
        self,
        name: str,
        size: int,
        batch_size: int,
        shuffle: bool,
        drop_last: bool,
        seed: int,
        stream: Stream = Stream.TASK_ORDER,
    ) -> None:
        self.name = name
        self._lane = lane_of(name)
        self.size = size
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self._numbers = CounterGenerator(seed, stream)
        self._pass = -1
        self._order: list[int] = []

    def batches_per_pass(self, world_size: int) -> int:
        """Return the number of visits that make one pass over the task."""
        return self._batches(self.batch_size * world_size)

    def _batches(self, total: int) -> int:
        return self.size // total if self.drop_last else -(-self.size // total)

    def visit_at(self, visit: int, total: int, world_size: int) -> int:
        """Return the visit at the place in the data where visit ``visit`` was, with batches of ``total`` samples.

        Where the batches do not fit into one another, it begins somewhat before that place: samples come a second time,
        and none is left out.

        Args:
            visit: counted in batches of ``total`` samples.
            total: samples of one batch of all ranks then, at least 1.
            world_size: number of processes now.
        """
        number, position = divmod(visit, max(1, self._batches(total)))
        return number * self.batches_per_pass(world_size) + position * total // (self.batch_size * world_size)

    def indices(self, visit: int, rank: int, world_size: int) -> list[int]:
        """Return the samples of this rank's part of the batch of visit ``visit``.

        The ranks' parts are disjoint. Where a pass does not divide by the number of ranks, its last batch is filled up
        from the pass's beginning, so that every rank has equally many samples.
        """
        number, position = divmod(visit, self.batches_per_pass(world_size))
        if number != self._pass:
            self._pass = number
            self._order = self._make_order(number)
        total = self.batch_size * world_size
        rows = self._order[position * total : (position + 1) * total]
        missing = -len(rows) % world_size
        rows += [self._order[k % self.size] for k in range(missing)]
        return rows[rank::world_size]

    def _make_order(self, number: int) -> list[int]:
        if not self.shuffle:
            return list(range(self.size))
        order: list[int] = self._numbers.at(number, lane=self._lane).permutation(self.size).tolist()
        return order


class StreamSource:
    """The batches of an iterable task, one after the other, over and over.

    Args:
        name: of the task.
        batches: re-iterable of batches.
        seed: of the order in which a ``DataLoader`` shuffles.
        stream: of the seed's random numbers.
        retries: how many further batches are asked for, one after the other, when the task raises.
    """

    def __init__(
        self,
        name: str,
        batches: Any,
        seed: int,
        stream: Stream = Stream.TASK_ITERATOR,
        retries: int = 0,
    ) -> None:
        self.name = name
        self.batches = batches
        self._lane = lane_of(name)
        self._retries = retries
        self._warned = False
        self._numbers = CounterGenerator(seed, stream)
        self._iterator: Any = None
        self._sleeps = False
        self._taken = 0
        self._pass = 0

    def close(self) -> None:
        """Let go of the running iterator (and its workers)."""
        self._iterator = None

    def shut_down(self) -> None:
        """Stop the worker processes of the task's own loader; the next batch starts them anew and reads on."""
        if isinstance(self.batches, DataLoader) and hasattr(self._iterator, "_shutdown_workers"):
            self._iterator._shutdown_workers()
            self._forget_workers()

    def _forget_workers(self) -> None:
        self.batches._iterator = None
        self._iterator = None
        self._sleeps = True

    def ends(self, error: BaseException) -> bool:
        """Tell whether an error is of a worker process of the task's own loader, and let go of these if so."""
        if not is_of_workers(error, self._iterator):
            return False
        stop_workers(self._iterator)
        self._forget_workers()
        return True

    def position(self) -> list[int]:
        """Return the number of the pass, the batches taken from it over all ranks, and the size of one (0: unknown)."""
        return [self._pass, self._taken, self._batch_size()]

    def _batch_size(self) -> int:
        size = getattr(self.batches, "batch_size", None)
        return size if isinstance(size, int) else 0

    def seek(self, position: list[int]) -> None:
        """Go to what :meth:`position` told: start that pass anew and read past what had been taken.

        Where batches were of another size then, as many samples are read past, rounded down to whole batches.

        Raises:
            TaskError: if the pass is shorter now.
        """
        self.close()
        self._sleeps = False
        self._pass, target = position[:2]
        before, now = position[2] if len(position) > 2 else 0, self._batch_size()
        if before and now:
            target = target * before // now
        self._taken = 0
        for taken in range(target):
            self._read()
            if self._taken != taken + 1:
                raise TaskError(
                    f"task {self.name!r} has {taken} batches now, and {target} had been taken from its pass "
                    f"{position[0]}: give the same data, or start the curriculum anew"
                )

    def next(self, turn: int | None, turns: int, limit: int | None = None) -> Any:
        """Return this process's next batch: of the next ``turns`` batches, the one at ``turn``.

        Args:
            turn: of this process; ``None``: it has none and reads past what the others take.
            turns: number of batches that the processes take, one each.
            limit: start over after so many batches.

        Raises:
            TaskError: if the task yields no batch at all, yields ``None``, or raises.
        """
        mine = None
        for number in range(turns):
            if limit is not None and self._taken >= limit:
                self.seek([self._pass, 0])
            batch = self._read()
            if number == turn:
                mine = batch
        if mine is None and turn is not None:
            raise TaskError(f"task {self.name!r} yielded None instead of a batch")
        return mine

    def _read(self) -> Any:
        if self._sleeps:
            self.seek(self.position())
        failed: list[Failure] = []
        while True:
            batch = self._next_or_failure()
            if isinstance(batch, Failure):
                failed.append(batch)
                if batch.final or len(failed) > self._retries:
                    raise batch.raised(self.name)
                if not self._warned:
                    self._warned = True
                    warn_retried(self.name, batch.error)
            elif batch is not _END:
                self._taken += 1
                return batch
            elif self._taken:
                self._iterator = None
                self._pass += 1
                self._taken = 0
            elif failed:  # a generator that has raised is over
                raise failed[-1].raised(self.name)
            elif self._pass:
                raise TaskError(
                    f"task {self.name!r} yields no batch in its pass {self._pass}: it must start over each time that "
                    "it is iterated, and was at its end after the one before"
                )
            else:
                raise TaskError(f"task {self.name!r} yields no batch: leave it out, or give it data")

    def _next_or_failure(self) -> Any:
        try:
            return self._start() if self._iterator is None else next(self._iterator, _END)
        except Exception as error:
            where = f"at batch {self._taken} of its pass {self._pass}"
            if names_others(error, self._iterator):
                raise  # torch raises it wherever the main process is
            return Failure(where, error, final=True) if self.ends(error) else failure(error, where)

    def _start(self) -> Any:
        # A DataLoader takes the seed of its shuffling from torch's global stream, with the first batch. It is given one
        # of this pass's own, so that the order can be found again and the user's stream is left alone. So are its
        # samplers' generators, if they have their own.
        seed = int(self._numbers.at(self._pass, lane=self._lane).integers(2**63))
        if not isinstance(self.batches, DataLoader):
            self._iterator = iter(self.batches)
            return next(self._iterator, _END)
        set_epoch(self.batches, self._pass)
        for part in samplers_of(self.batches):
            if isinstance(getattr(part, "generator", None), torch.Generator):
                part.generator.manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed the accelerators as well
            if self.batches.persistent_workers and getattr(self.batches, "_iterator", None) is not None:
                # New workers take their seed from the stream before the sampler does; those that are there have one.
                torch.empty((), dtype=torch.int64).random_(generator=self.batches.generator)
            self._iterator = iter(self.batches)
            return next(self._iterator, _END)


def next_pass(position: list[int]) -> list[int]:
    """Return the beginning of the pass after a position that :meth:`StreamSource.position` told.

    Example:
        >>> next_pass([2, 5, 8]), next_pass([2, 0, 8])
        ([3, 0], [2, 0])
    """
    number, taken = position[:2]
    return [number + 1 if taken else number, 0]


def set_epoch(loader: DataLoader[Any], number: int) -> None:
    """Tell a loader's samplers and dataset which pass this is, where they ask for it."""
    for part in [*samplers_of(loader), loader.dataset]:
        method = getattr(part, "set_epoch", None)
        if callable(method):
            method(number)


def samplers_of(loader: DataLoader[Any]) -> list[Any]:
    """Return the samplers of a loader, each once."""
    parts = [loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None), loader.sampler]
    return list({id(part): part for part in parts if part is not None}.values())


class TaskDataset(Dataset[Any]):
    """All map-style tasks as one dataset of batches to read, so that one DataLoader serves them all.

    An error of a task is returned, not raised: it is for the process that knows the draw to say where it happened. In a
    worker process every batch has random numbers of its own, a function of the seed, the task and the visit: a resumed
    run makes the same ones, whichever worker makes them.

    Args:
        names: of the tasks.
        tasks: one per name.
        collate_fn: list of samples to batch.
        retries: how many samples that follow one that cannot be read are tried in its place.
    """

    def __init__(
        self, names: tuple[str, ...], tasks: list[Task], collate_fn: Callable[[list[Any]], Any], retries: int = 0
    ) -> None:
        self._names = names
        self._tasks = tasks
        self._collate_fn = collate_fn
        self._retries = retries

    def __getitems__(self, read: Read) -> tuple[Any, Failure | None, float]:
        """Return one batch (``None`` for a streamed task), the first error, if any, and the seconds that it took.

        A batch beside an error has other samples in the place of those that could not be read.
        """
        start = perf_counter()
        batch, error = (None, None) if read.indices is None else self._batch(read, read.indices)
        return batch, error, perf_counter() - start

    def _batch(self, read: Read, indices: list[int]) -> tuple[Any, Failure | None]:
        if read.seed is not None and get_worker_info() is not None:
            _seed_process(read.seed)
        task = self._tasks[read.arm]
        where = f"while reading the samples {indices}"
        try:
            return self._collate_fn(_samples(task, indices)), None
        except Exception as error:  # noqa: BLE001 - of the user's data, and told with the name of the task
            first = failure(error, where)
        if self._retries == 0:
            return None, first
        try:
            return self._collate_fn([self._sample(task, index) for index in indices]), first
        except Exception as error:  # noqa: BLE001 - as above
            return None, failure(error, where)

    def _sample(self, task: Any, index: int) -> Any:
        for further in range(self._retries):
            with suppress(Exception):
                return _samples(task, [(index + further) % len(task)])[0]
        return _samples(task, [(index + self._retries) % len(task)])[0]

    def read(self, read: Read) -> Any:
        """Return one batch of one task.

        Raises:
            TaskError: if it cannot be read.
        """
        batch, error, _ = self.__getitems__(read)
        if batch is None and error is not None:
            raise error.raised(self._names[read.arm])
        return batch


def _seed_process(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the stream that tasks draw from


def _samples(task: Any, indices: list[int]) -> list[Any]:
    many = getattr(task, "__getitems__", None)
    return list(many(indices)) if callable(many) else [task[index] for index in indices]


def as_it_is(batch: Any) -> Any:
    """Return the batch: the dataset has collated it."""
    return batch


def batches_of(
    task: Task, batch_size: int | None, drop_last: bool, collate_fn: Callable[[list[Any]], Any] | None
) -> Any:
    """Return the re-iterable of batches of an iterable task: itself, unless it is an ``IterableDataset``."""
    if isinstance(task, IterableDataset):
        return DataLoader(task, batch_size=batch_size, drop_last=drop_last, collate_fn=collate_fn)
    return task
