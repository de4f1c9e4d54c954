"""Fresh batches for the signals where a batch has slots of several tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.utils.data import IterableDataset, default_collate

from curricula.data.faults import failure
from curricula.data.mixing import Filled, SlotError, mixed
from curricula.data.samples import ByIndex, Samples, is_plain
from curricula.data.sources.loaders import samples_of
from curricula.data.sources.slot_order import SlotOrder
from curricula.data.sources.stream import StreamSource
from curricula.data.sources.task_dataset import as_it_is
from curricula.data.tasks import Task, gives_samples, is_map_style


class SlotSamples(Samples):
    """Draws batches as those that are trained on are: with as many slots, of which each has its task.

    Args:
        tasks, probe_tasks, batch_size, collate_fn, seed, retries, presharded: as in
            :class:`~curricula.data.samples.Samples`.
        draws_per_batch: slots of a batch.
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
        draws_per_batch: int,
    ) -> None:
        super().__init__(
            tasks,
            probe_tasks,
            batch_size=batch_size,
            collate_fn=collate_fn,
            seed=seed,
            retries=retries,
            presharded=presharded,
        )
        self._slots = draws_per_batch
        self._slot_size = None if batch_size is None else batch_size // draws_per_batch
        self._collate = collate_fn or default_collate

    def next(self, tasks: str | tuple[str, ...]) -> Any:
        """Return the next fresh batch.

        Args:
            tasks: of the slots, or the one of all of them.

        Raises:
            TaskError: if a task cannot be read.
            ValueError: if a second iteration over a task gives the batches that are trained on, or two tasks do not
                make one batch.
        """
        names = (tasks,) * self._slots if isinstance(tasks, str) else tasks
        slots = [Filled(name, self._slot(name), not self._gives_samples(name)) for name in names]
        try:
            return mixed(slots, self._collate, self._slot_size)
        except SlotError as error:
            where = "while a fresh batch was put together"
            raise failure(error.error, where).raised(names[error.place]) from error.error

    def _slot(self, name: str) -> Any:
        if not self._gives_samples(name) or is_map_style(self._tasks[name]):
            return super().next(name)
        source = self._source(name)
        assert isinstance(source, StreamSource)
        rank, ranks = (0, 1) if name in self._presharded else (self._rank, self._world_size)
        (samples,) = source.take([rank], ranks, self._slot_size or 1)
        return samples

    def _gives_samples(self, name: str) -> bool:
        return self._slot_size is not None and gives_samples(self._tasks[name])

    def _by_index(self, name: str, task: Any) -> ByIndex:
        seed, retries = self._seed, self._retries
        if is_plain(task):
            return ByIndex(name, task.dataset, task.batch_size, task.collate_fn, seed, retries, order=SlotOrder)
        collate = None if self._slot_size is None else as_it_is
        return ByIndex(name, task, self._slot_size, collate, seed, retries, order=SlotOrder)

    def _stream(self, name: str, batches: Any) -> StreamSource:
        task = self._tasks[name]
        if isinstance(task, IterableDataset) and self._gives_samples(name):
            batches = samples_of(task)
        return super()._stream(name, batches)
