"""What runs inside a worker process: one dataset that reads the batches of all map-style tasks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any

from torch.utils.data import Dataset, default_collate, default_convert, get_worker_info

from curricula.data.faults import Failure, NoBatchError, failure, no_batch
from curricula.data.reads import Read
from curricula.data.sources.modes import grad_modes, restore_grad_modes
from curricula.data.sources.seeding import seed_process
from curricula.data.tasks import Task


class TaskDataset(Dataset[Any]):
    """All map-style tasks as one dataset of batches to read, so that one DataLoader serves them all.

    An error of a task is returned, not raised: it is for the process that knows the draw to say where it happened. In a
    worker process every batch has random numbers of its own, a function of the seed, the task and the visit: a resumed
    run makes the same ones, whichever worker makes them.

    Args:
        names: of the tasks.
        tasks: one per name.
        collate_fn: list of samples, or whatever a task's ``__getitems__`` returns, to batch; ``None``:
            ``default_collate``, or ``default_convert`` for ready batches.
        retries: how many samples that follow one that cannot be read are tried in its place.
        ready: the items of the tasks are batches; there is one index to read, and ``collate_fn`` is given its item.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        tasks: list[Task],
        collate_fn: Callable[[Any], Any] | None = None,
        retries: int = 0,
        ready: bool = False,
    ) -> None:
        self._names = names
        self._tasks = tasks
        self._collate_fn = collate_fn or (default_convert if ready else default_collate)
        self._retries = retries
        self._ready = ready

    def __getitems__(self, read: Read) -> tuple[Any, Failure | None, float]:
        """Return one batch (``None`` for a streamed task), the first error, if any, and the seconds that it took.

        A batch beside an error has other samples in the place of those that could not be read.
        """
        start = perf_counter()
        if read.indices is None:
            return None, None, 0.0
        modes = grad_modes()
        try:
            batch, error = self._batch(read, read.indices)
        finally:
            restore_grad_modes(modes)
        return batch, error, perf_counter() - start

    def _batch(self, read: Read, indices: list[int]) -> tuple[Any, Failure | None]:
        if read.seed is not None and get_worker_info() is not None:
            seed_process(read.seed)
        task = self._tasks[read.arm]
        first = None
        try:
            batch = self._collate_fn(self._read(task, indices))
            if batch is not None:
                return batch, None
        except Exception as error:  # noqa: BLE001 - of the user's data, and told with the name of the task
            first = failure(error, where_of(indices))
        where = where_of(indices)
        first = first or self._none(where)
        if self._retries == 0:
            return None, first
        try:
            batch = self._other(task, indices, skip=int(isinstance(first.error, NoBatchError)))
        except Exception as error:  # noqa: BLE001 - as above
            return None, failure(error, where)
        return batch, self._none(where) if batch is None else first

    def _read(self, task: Any, indices: list[int]) -> Any:
        """Return what ``collate_fn`` is given, which torch's ``DataLoader`` would give it."""
        if self._ready:
            return task[indices[0]]
        many = getattr(task, "__getitems__", None)
        return many(indices) if callable(many) else [task[index] for index in indices]

    def _other(self, task: Any, indices: list[int], skip: int) -> Any:
        """Return a batch of samples that can be read, ``skip`` places further on or more; ``None`` if there is none."""
        for further in range(skip, self._retries + 1):
            batch = self._collate_fn(self._readable(task, [(index + further) % len(task) for index in indices]))
            if batch is not None:
                return batch
        return None

    def _readable(self, task: Any, indices: list[int]) -> Any:
        found = [self._next_readable(task, index) for index in indices]
        if callable(getattr(task, "__getitems__", None)) and not self._ready:  # its batch need be no list of samples
            return self._read(task, [index for index, _ in found])
        return found[0][1] if self._ready else [sample[0] for _, sample in found]

    def _next_readable(self, task: Any, index: int) -> tuple[int, Any]:
        for further in range(self._retries):
            following = (index + further) % len(task)
            with suppress(Exception):
                return following, self._read(task, [following])
        following = (index + self._retries) % len(task)
        return following, self._read(task, [following])

    def _none(self, where: str) -> Failure:
        return Failure(where, no_batch("got None instead of a batch from collate_fn", self._retries))

    def read(self, read: Read) -> Any:
        """Return one batch of one task.

        Raises:
            TaskError: if it cannot be read.
        """
        batch, error, _ = self.__getitems__(read)
        if batch is None and error is not None:
            raise error.raised(self._names[read.arm])
        return batch


def where_of(indices: list[int]) -> str:
    """Return what an error says of the samples that were read."""
    return f"while reading the samples {indices}"


def as_it_is(batch: Any) -> Any:
    """Return the batch: the dataset has collated it."""
    return batch
