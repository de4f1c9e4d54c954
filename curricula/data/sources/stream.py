"""The batches of an iterable task, one after the other: a position, not random state."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from curricula.data.faults import Failure, TaskError, failure, warn_retried
from curricula.data.sources.loaders import samplers_of, set_epoch
from curricula.data.workers import is_of_workers, names_others, stop_workers
from curricula.randomness import CounterGenerator, Stream, lane_of

_END = object()


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
