"""The worker processes that read the map-style tasks: started, seeded, timed, and what is said when one dies."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from pickle import PicklingError
from typing import Any

import torch
from torch.utils.data import DataLoader

from curricula.data.faults import LATE, LOST, Failure, TaskError, described
from curricula.data.sources.task_dataset import TaskDataset, as_it_is
from curricula.data.workers import is_late, is_of_workers, pids_in, stop_workers, unsendable
from curricula.task_names import listed


class Pool:
    """One ``DataLoader`` over all map-style tasks, whose batch sampler is a plan.

    Args:
        dataset: reads what the plan asks for.
        plan: from nothing to an iterator over reads.
        seed: of the workers.
        parts: by name, what is sent to a worker process.
        tasks: from nothing to the names of the tasks of every batch that is on its way, oldest first.
        in_hand: from nothing to the tasks that worker processes were reading last, as far as is known, by the place of
            their batch among these.
        others: from an error to what it says of other worker processes, ``None`` if nothing.
        options: ``num_workers`` and others, of the ``DataLoader``.
    """

    def __init__(
        self,
        dataset: TaskDataset,
        plan: Callable[[], Iterator[Any]],
        *,
        seed: int,
        parts: Callable[[], dict[str, Any]],
        tasks: Callable[[], list[list[str]]],
        in_hand: Callable[[], dict[int, str]],
        others: Callable[[BaseException], str | None],
        options: dict[str, Any],
    ) -> None:
        self._dataset = dataset
        self._plan = plan
        self._seed = seed
        self._parts = parts
        self._tasks = tasks
        self._in_hand = in_hand
        self._others = others
        self._running: weakref.ref[Any] | None = None
        self.num_workers: int = options["num_workers"]
        self.loader = DataLoader(
            dataset,
            batch_sampler=_Reads(plan),
            collate_fn=as_it_is,
            generator=torch.Generator(),  # the workers' seeds come from here, not from the user's stream
            **options,
        )

    def begin_epoch(self, epoch: int) -> None:
        """Seed the worker processes that are started from now on."""
        if self.loader.generator is not None:
            self.loader.generator.manual_seed((self._seed * 1_000_003 + epoch) % 2**63)

    def watch(self, batches: Any) -> None:
        """Take the deaths of the workers of this iterator for ours; ``None``: of no iterator any more."""
        self._running = None if batches is None else weakref.ref(batches)

    def start(self) -> Iterator[Any]:
        """Return an iterator over what is read, with worker processes if there are to be any.

        Raises:
            TypeError: if a part cannot be sent to them.
            TaskError: if one dies at once.
        """
        if not self.num_workers and not self.loader.pin_memory:
            return self._here()
        try:
            return iter(self.loader)
        except (AttributeError, TypeError, PicklingError) as error:
            told = unsendable(self._parts())
            if told is None:
                raise
            raise TypeError(told) from error
        except RuntimeError as error:
            told = self.explain(error) or self._lost_at_start(error)
            if told is None:
                raise
            raise TaskError(told) from error.with_traceback(None)  # which would keep the other workers

    def _here(self) -> Iterator[Any]:
        """Read in this process, without what a ``DataLoader`` adds to every batch: 20 microseconds and more."""
        read = self._dataset.__getitems__
        for wanted in self._plan():
            yield read(wanted)

    def next(self, batches: Iterator[Any]) -> Any:
        """Return what was read for the oldest batch that is on its way.

        Raises:
            TaskError: if it does not come in time.
        """
        try:
            return next(batches)
        except RuntimeError as error:
            if not is_late(error) or not self._ends(error, batches):
                raise
            # Batches come in order, so the oldest is the one that does not come.
            names = self._tasks()[0]
            name = names[0] if len(names) == 1 else self._in_hand().get(0)
            if name is not None:
                raise Failure("from a worker of the loader", error, final=True).raised(name) from error
            raise TaskError(
                f"one of the tasks {listed(names, 5)} gave no batch in time from a worker of the loader "
                f"({described(error)}): {LATE}"
            ) from error

    def stop(self, batches: Any) -> None:
        """Kill the worker processes of an iterator."""
        stop_workers(batches)
        self.loader._iterator = None

    def stop_persistent(self) -> None:
        """Let persistent workers end: new ones are started when they are needed."""
        if not self.loader.persistent_workers:
            return
        iterator: Any = self.loader._iterator
        if iterator is not None:
            iterator._shutdown_workers()
        self.loader._iterator = None

    def told(self, error: Exception, batches: Any) -> str | None:
        """Return what an error that ends an epoch says of worker processes, and stop these; ``None`` if nothing."""
        try:
            return self._lost(error, batches) or self.explain(error) or self._lost_at_start(error)
        except RuntimeError as again:  # by now torch may have noticed the same death in another way
            return self._lost(again, batches) or self.explain(again)

    def explain(self, error: BaseException) -> str | None:
        """Return which tasks were lost with a worker process, of the iterator that is watched or another."""
        if not pids_in(error):
            return None
        told = self._others(error)
        if told is not None:
            return told
        return None if self._running is None else self._lost(error, self._running())

    def _ends(self, error: BaseException, batches: Any) -> bool:
        if not is_of_workers(error, batches):
            return False
        self.stop(batches)
        return True

    def _lost(self, error: BaseException, batches: Any) -> str | None:
        if self._ends(error, batches):
            return self._at_tasks("died", error, LOST)
        if self.num_workers and str(error).startswith("Caught "):
            self.stop(batches)
            hint = "not in a task's samples, but in worker_init_fn or when it sent a batch"
            return self._at_tasks("failed", error, hint)
        return None

    def _lost_at_start(self, error: BaseException) -> str | None:
        # Of a worker whose iterator was still being made, nobody else knows.
        return self._at_tasks("died", error, LOST) if pids_in(error) else None

    def _at_tasks(self, end: str, error: BaseException, hint: str) -> str:
        names: Sequence[str] = list(dict.fromkeys(self._in_hand().values()))
        names = names or list(dict.fromkeys(name for batch in self._tasks() for name in batch))
        return f"a worker process {end} ({described(error)}) at the tasks {listed(names, 5)}: {hint}"


class _Reads:
    """The batch sampler of the ``DataLoader``: a plan, which is asked in the main process."""

    def __init__(self, plan: Callable[[], Iterator[Any]]) -> None:
        self._plan = plan

    def __iter__(self) -> Iterator[Any]:  # of reads; torch expects lists of indices
        return self._plan()
