"""One pass after the other over an iterable task: how it is started, read on and stopped."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch.utils.data import DataLoader

from curricula.data.faults import Failure, failure, no_batch
from curricula.data.sources.loaders import samplers_of, set_epoch
from curricula.data.sources.modes import OwnModes
from curricula.data.sources.place import keeper_of, load_place, place_of
from curricula.data.workers import is_of_workers, names_others, stop_workers
from curricula.randomness import Stream, lane_of, numbers_at

END = object()
"""What is read at the end of a pass."""


class Passes:
    """An iterable task that is iterated anew for every pass.

    Args:
        name: of the task.
        batches: re-iterable of batches.
        seed: of the order in which a ``DataLoader`` shuffles.
        stream: of the seed's random numbers.
        retries: how many further batches are asked for where one is ``None``, for the message.
    """

    def __init__(self, name: str, batches: Any, seed: int, stream: Stream, retries: int) -> None:
        self.name = name
        self.batches = batches
        self._retries = retries
        self._seed = seed
        self._stream = stream
        self._keeper = keeper_of(batches)
        self._modes = OwnModes()
        self._iterator: Any = None
        self._pass = 0
        self._taken = 0  # of this pass
        self._total = 0  # of all passes since the first
        self._at_end = False  # of the pass before, when that place was taken
        self._asked = False
        self._beginning: Any = None  # places of the task itself: before its first batch, if it could tell,
        self._pass_began: Any = None  # before the first of this pass, if passes are limited,
        self._to_load: Any = None  # and one to load before it is iterated

    def __del__(self) -> None:
        with suppress(Exception):  # of an interpreter that ends
            self.close()

    def close(self) -> None:
        """Let go of the running iterator (and its workers)."""
        if self._iterator is not None:
            self._modes.run(self._forget_iterator)  # a generator leaves its contexts now

    def _forget_iterator(self) -> None:
        self._iterator = None

    def _forget_workers(self) -> None:
        self.batches._iterator = None
        self.close()

    def lost_worker(self, error: BaseException) -> bool:
        """Tell whether an error is of a worker process of the task's own loader, and let go of these if so."""
        if not is_of_workers(error, self._iterator):
            return False
        stop_workers(self._iterator)
        self._forget_workers()
        return True

    def read_on(self, found: list[Any], count: int, limited: bool) -> Any:
        """Take the next batches of a pass, until there are enough or something else comes.

        Args:
            found: those taken are put at its end.
            count: how long it is to be, and is not yet.
            limited: the pass may be started over.

        Returns:
            What came in the place of a batch: :data:`END` at the end of the pass, or the failure where the task raises
            or gives ``None``; ``None`` where nothing did.
        """
        try:
            last = self._modes.run(lambda: self._take_on(found, count, limited and self._taken == 0))
        except Exception as error:
            if names_others(error, self._iterator):
                raise  # torch raises it wherever the main process is
            where = self._where()
            return Failure(where, error, final=True) if self.lost_worker(error) else failure(error, where)
        if len(found) == count:
            return None
        if last is END:
            return END
        return Failure(self._where(), no_batch("yielded None instead of a batch", self._retries))

    def _where(self) -> str:
        return f"at batch {self._taken} of its pass {self._pass}"

    def _take_on(self, found: list[Any], count: int, keeps_beginning: bool) -> Any:
        """Put batches at the end of ``found``, and return the last that was read."""
        before = len(found)
        try:
            batch = self._start(self._pass, keeps_beginning) if self._iterator is None else self._step()
            iterator, missing = self._iterator, count - before
            while batch is not None and batch is not END:
                found.append(batch)
                missing -= 1
                if not missing:
                    break
                batch = next(iterator, END)
            return batch
        finally:
            iterator = None  # the traceback of an error keeps it alive no longer than the pass
            self._count(len(found) - before)

    def _count(self, number: int) -> None:
        if number:
            self._taken += number
            self._total += number
            self._at_end = False

    def _step(self) -> Any:
        return next(self._iterator, END)

    def _start(self, number: int, keeps_beginning: bool) -> Any:
        # A DataLoader, also one inside of another object, takes the seed of its shuffling from torch's global stream
        # with the first batch. It is given one of this pass's own, so that the order can be found again and the user's
        # stream is left alone. So are its samplers' generators, if they have their own.
        seed = int(numbers_at(self._seed, self._stream, number, lane_of(self.name)).integers(2**63))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed the accelerators as well
            if isinstance(self.batches, DataLoader):
                self._prepare(self.batches, number, seed)
            return self._iterate(keeps_beginning)

    def _prepare(self, loader: DataLoader[Any], number: int, seed: int) -> None:
        set_epoch(loader, number)
        for part in samplers_of(loader):
            if isinstance(getattr(part, "generator", None), torch.Generator):
                part.generator.manual_seed(seed)
        if loader.persistent_workers and getattr(loader, "_iterator", None) is not None:
            # New workers take their seed from the stream before the sampler does; those that are there have one.
            torch.empty((), dtype=torch.int64).random_(generator=loader.generator)

    def _iterate(self, keeps_beginning: bool) -> Any:
        if self._keeper is not None:
            self._move_keeper(keeps_beginning)
        self._iterator = iter(self.batches)
        return self._step()

    def _move_keeper(self, keeps_beginning: bool) -> None:
        if not self._asked:
            self._asked = True
            with suppress(Exception):  # some have no state before they are iterated
                self._beginning = place_of(self.name, self._keeper)
        if self._to_load is not None:
            load_place(self._keeper, self._to_load)
            self._to_load = None
        if keeps_beginning and self._pass_began is None:
            self._pass_began = place_of(self.name, self._keeper)
