"""What runs inside a worker process: one dataset that reads the batches of all map-style tasks."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from curricula.data.faults import Failure, failure
from curricula.data.tasks import Task


class Read(NamedTuple):
    """One batch to read."""

    arm: int
    indices: list[int] | None
    """Samples of a map-style task; ``None`` for the next batch of a streamed one."""
    seed: int | None = None
    """Of the random numbers that the task draws in a worker process."""


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
