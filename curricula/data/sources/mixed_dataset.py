"""What runs inside a worker process where the slots of a batch are of several tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from curricula.data.faults import Failure, NoBatchError, failure, no_batch
from curricula.data.mixing import Filled, SlotError, mixed
from curricula.data.reads import MixedRead, Read
from curricula.data.sources.modes import grad_modes, restore_grad_modes
from curricula.data.sources.seeding import seed_process
from curricula.data.sources.task_dataset import TaskDataset, where_of
from curricula.data.tasks import Task


class MixedResult(NamedTuple):
    """What came of a read; both ``batch`` and ``slots`` are ``None`` if the last failure is the end of it."""

    batch: Any
    """The whole batch, where it could be made."""
    slots: list[Any] | None
    """Else what was read for every slot; ``None`` in the place of a streamed one."""
    failures: list[tuple[int | None, Failure]]
    """Place of the slot, ``None`` for two that do not fit together, and what was raised."""
    seconds: list[float]
    """That every slot took to be read."""
    read: MixedRead
    """What was to be read; nothing where the whole batch was made at once."""


_NOTHING = MixedRead([])


class MixedDataset(TaskDataset):
    """All map-style tasks as one dataset of mixed batches to read.

    Args:
        names, tasks, collate_fn, retries, ready: as in :class:`~curricula.data.sources.task_dataset.TaskDataset`.
        slot_size: samples of a slot; ``None`` for ready batches.
        num_workers: worker processes that read from copies of it.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        tasks: list[Task],
        collate_fn: Callable[[Any], Any] | None = None,
        retries: int = 0,
        ready: bool = False,
        *,
        slot_size: int | None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(names, tasks, collate_fn, retries, ready)
        self._slot_size = slot_size
        self._in_hand: Tensor | None = None  # number of the read and arm of the slot, per worker
        if num_workers:
            self._in_hand = torch.full((num_workers, 2), -1, dtype=torch.int64)
            self._in_hand.share_memory_()  # type: ignore[no-untyped-call]

    def in_hand(self) -> dict[int, str]:
        """Return the task that each worker process was reading last, by the number of the read."""
        rows = [] if self._in_hand is None else self._in_hand.tolist()
        return {read: self._names[arm] for read, arm in rows if read >= 0}

    def __getitems__(self, read: MixedRead) -> MixedResult:  # type: ignore[override]
        """Read the slots of map-style tasks, and make the batch if there are no others."""
        modes = grad_modes()
        try:
            return self._result(read)
        finally:
            restore_grad_modes(modes)

    def _result(self, read: MixedRead) -> MixedResult:
        worker = get_worker_info()
        if worker is not None and read.seed is not None:
            seed_process(read.seed)
        slots: list[Any] = []
        failures: list[tuple[int | None, Failure]] = []
        seconds: list[float] = []
        in_hand = None if worker is None or self._in_hand is None else self._in_hand.numpy()[worker.id]
        before = perf_counter()
        for place, slot in enumerate(read.slots):
            if in_hand is not None:
                in_hand[:] = read.number, slot.arm
            data, error = (None, None) if slot.indices is None else self._fill(self._tasks[slot.arm], slot.indices)
            now = perf_counter()
            seconds.append(now - before)
            before = now
            if error is not None:
                failures.append((place, error))
                if data is None:
                    return MixedResult(None, None, failures, seconds, read)
            slots.append(data)
        result = MixedResult(None, slots, failures, seconds, read)
        if None in [slot.indices for slot in read.slots]:
            return result
        return self._at_once(result) or self.collated(result, [self._ready] * len(slots))

    def _at_once(self, result: MixedResult) -> MixedResult | None:
        """Make the batch as it is made when nothing is amiss; ``None`` where somebody must look who is at fault."""
        if self._ready:
            return None
        with suppress(Exception):
            batch = self._collate_fn([sample for samples in result.slots or () for sample in samples])
            # Nobody asks for the read of a batch that is whole, and a worker process takes long to send it.
            return None if batch is None else MixedResult(batch, None, result.failures, result.seconds, _NOTHING)
        return None

    def collated(
        self, result: MixedResult, ready: Sequence[bool], refill: Callable[[int, int], Any] | None = None
    ) -> MixedResult:
        """Make the batch of what fills the slots.

        Args:
            result: with what fills each of them.
            ready: whether that is a ready batch, for each slot.
            refill: from the place of a slot and the number of the attempt to other data of its task, ``None`` if there
                are none; by default :meth:`further`.
        """
        reads, slots, failures = result.read.slots, list(result.slots or ()), list(result.failures)
        other = refill or (lambda place, attempt: self.further(reads[place], attempt))
        lost = result._replace(slots=None, failures=failures)
        attempts = 0
        while True:
            filled = [
                Filled(self._names[read.arm], data, is_ready)
                for read, data, is_ready in zip(reads, slots, ready, strict=True)
            ]
            try:
                batch = mixed(filled, self._collate_fn, self._slot_size)
            except SlotError as error:
                read = reads[error.place]
                failures.append((error.place, self._failure(error.error, read)))
                attempts += 1
                if attempts > self._retries:
                    return lost
                try:
                    slots[error.place] = other(error.place, attempts)
                except Exception as again:  # noqa: BLE001 - of the user's data
                    failures.append((error.place, self._failure(again, read)))
                    return lost
                if slots[error.place] is None:
                    return lost
            except Exception as error:  # noqa: BLE001 - told by the process that knows the draws
                failures.append((None, failure(error, "where slots were put together")))
                return lost
            else:
                return lost._replace(batch=batch)

    def _failure(self, error: Exception, read: Read) -> Failure:
        where = where_of(read.indices) if read.indices else "while its samples were put together"
        if isinstance(error, NoBatchError):
            return Failure(where, no_batch(error.what, self._retries))
        return failure(error, where)

    def further(self, read: Read, attempt: int) -> Any:
        """Return samples that follow those of a read, ``attempt`` places further on or more."""
        task: Any = self._tasks[read.arm]
        assert read.indices is not None
        return self._data(task, [(index + attempt) % len(task) for index in read.indices], self._readable)

    def _fill(self, task: Any, indices: list[int]) -> tuple[Any, Failure | None]:
        try:
            if self._ready or hasattr(task, "__getitems__"):
                return self._data(task, indices, self._read), None
            return [task[index] for index in indices], None
        except Exception as error:  # noqa: BLE001 - of the user's data, and told with the name of the task
            where = where_of(indices)
            first = failure(error, where)
        if self._retries == 0:
            return None, first
        try:
            return self._data(task, indices, self._readable), first
        except Exception as error:  # noqa: BLE001 - as above
            return None, failure(error, where)

    def _data(self, task: Any, indices: list[int], read: Callable[[Any, list[int]], Any]) -> Any:
        found = read(task, indices)
        if self._ready:
            return self._collate_fn(found)
        if not isinstance(found, (list, tuple)) or len(found) != len(indices):
            what = f"{len(found)}" if isinstance(found, (list, tuple)) else f"a {type(found).__name__}"
            raise TypeError(
                f"__getitems__ must return a list of {len(indices)} samples where several tasks share a batch, and "
                f"returned {what}: return one entry per index, or set draws_per_batch=1"
            )
        return found
