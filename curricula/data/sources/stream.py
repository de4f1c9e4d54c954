"""The batches of an iterable task, one after the other: a position, not random state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import DataLoader

from curricula.data.faults import Failure, TaskError, warn_retried
from curricula.data.sources.passes import Passes
from curricula.data.sources.place import place_of
from curricula.data.sources.position import Position, next_pass
from curricula.data.tasks import is_map_style
from curricula.randomness import Stream


class StreamSource(Passes):
    """The batches of an iterable task, one after the other, over and over.

    A task that has ``state_dict`` and ``load_state_dict`` is asked for its place; in any other, what was taken is read
    past to find the place again.

    Args:
        name: of the task.
        batches: re-iterable of batches.
        seed: of the order in which a ``DataLoader`` shuffles.
        stream: of the seed's random numbers.
        retries: how many further batches are asked for, one after the other, when the task raises or gives ``None``.
        presharded: each process reads batches of its own from the task, and not a part of the same ones.

    Attributes:
        processes: number of those that read batches of their own, which then have places of their own too.
    """

    def __init__(
        self,
        name: str,
        batches: Any,
        seed: int,
        stream: Stream = Stream.TASK_ITERATOR,
        retries: int = 0,
        presharded: bool = False,
    ) -> None:
        super().__init__(name, batches, seed, stream, retries)
        self.presharded = presharded
        self.processes = 1
        self._warned = False
        self._wanted: Position | None = None  # a place to go to before the next batch
        self._first_pass = 0

    def shut_down(self) -> None:
        """Stop the worker processes of the task's own loader; the next batch starts them anew and reads on."""
        if not isinstance(self.batches, DataLoader) or self.batches.num_workers == 0:
            return
        if self._iterator is not None:
            self._wanted = self.position_or_count()
        iterators: list[Any] = [self._iterator, self.batches._iterator]
        for iterator in iterators:
            if hasattr(iterator, "_shutdown_workers"):
                iterator._shutdown_workers()
        self._forget_workers()

    def lost_worker(self, error: BaseException) -> bool:
        """Tell whether an error is of a worker process of the task's own loader, and let go of these if so."""
        place = self._counted()  # whoever has lost a worker knows no place any more
        if not super().lost_worker(error):
            return False
        self._wanted = place
        return True

    # ---------------------------------------------------------------- the place

    def position(self) -> Position:
        """Return the place in the task, to be given to :meth:`seek`, as plain containers and tensors.

        Raises:
            TypeError: if the task's own state holds something else.
        """
        if self._wanted is not None:
            return self._wanted
        counted = self._counted()
        if self._keeper is None or self._processes > 1 or (self._iterator is None and self._to_load is None):
            return counted
        state = place_of(self.name, self._keeper) if self._to_load is None else self._to_load
        if state is None:
            return counted
        position = counted if isinstance(counted, dict) else {"counted": counted}
        position = {**position, "state": state, "at_end": self._read_to_end()}
        return position if self._pass_began is None else {**position, "pass_began": self._pass_began}

    def position_or_count(self) -> Position:
        """Return the place in the task; where its own state cannot be had, what was counted."""
        try:
            return self.position()
        except Exception:  # noqa: BLE001 - of the user's; a training that saves nothing needs no such state
            return self._counted()

    def _counted(self) -> Position:
        counted = [self._pass, self._taken, self._batch_size()]
        if not self.presharded:
            return counted
        if self.processes > 1:  # only the total is the same in all of them
            counted[:2] = self._first_pass, 0
        return {
            "counted": counted,
            "total": self._total,
            "first_pass": self._first_pass,
            "processes": self.processes,
        }

    @property
    def _processes(self) -> int:
        return self.processes if self.presharded else 1

    def _read_to_end(self) -> bool:
        # An incomplete last batch: the dataset is over, which nobody is told before the next batch is asked for.
        return bool(getattr(getattr(self._iterator, "_dataset_fetcher", None), "ended", False))

    def _batch_size(self) -> int:
        size = getattr(self.batches, "batch_size", None)
        return size if isinstance(size, int) else 0

    def seek(self, position: Position) -> None:
        """Go to what :meth:`position` told, when the next batch is asked for.

        Where the task does not tell its place itself, that pass is started anew and what had been taken is read past.
        Where batches were of another size then, as many samples are read past, rounded down to whole batches; where
        another number of processes had batches of their own, as many batches of all of them.
        """
        self.close()
        self._pass = self._taken = self._total = 0
        self._to_load = self._pass_began = None
        self._at_end = False
        self._wanted = [*position, self._batch_size()] if position == [0, 0] else position

    def next_pass(self) -> Position:
        """Return the beginning of the pass that follows the present one, for a task that takes this one's place."""
        return next_pass(self._counted() if self._wanted is None else self._wanted)

    def _go_to_wanted(self) -> None:
        wanted, self._wanted = self._wanted, None
        position: Mapping[str, Any] = wanted if isinstance(wanted, Mapping) else {"counted": wanted}
        number, taken = position["counted"][:2]
        total = position.get("total", taken)
        before, now = (*position["counted"], 0)[2], self._batch_size()
        if before and now:
            taken, total = taken * before // now, total * before // now
        if self._keeper is not None and "state" in position and self._processes == 1:
            self._pass, self._taken, self._total = number, taken, total
            self._first_pass = position.get("first_pass", 0)
            self._to_load, self._pass_began = position["state"], position.get("pass_began")
            if position["at_end"]:
                self._pass, self._taken, self._at_end = number + 1, 0, True
            return
        self._to_load = self._beginning
        if self.presharded:
            self._pass = self._first_pass = position.get("first_pass", 0)
            self._read_past_own(total * position.get("processes", self.processes) // self.processes)
        else:
            self._read_past(number, taken)

    def _read_past(self, number: int, target: int) -> None:
        self._pass, self._taken = number, 0
        for taken in range(target):
            self._read(1)
            if self._taken != taken + 1:
                raise TaskError(
                    f"task {self.name!r} has {taken} batches now, and {target} had been taken from its pass "
                    f"{number}: give the same data, or start the curriculum anew"
                )

    def _read_past_own(self, target: int) -> None:
        # The place of one process is in the checkpoint, and the passes of the others may be shorter or longer. All have
        # read equally many batches.
        loader = self.batches if isinstance(self.batches, DataLoader) else None
        if loader is not None and is_map_style(loader.dataset) and len(loader):
            passes = target // len(loader)
            self._pass += passes
            self._total = passes * len(loader)
        while self._total < target:
            self._read(1)

    # ---------------------------------------------------------------- the batches

    def next(self, turn: int | None, turns: int, limit: int | None = None) -> Any:
        """Return this process's next batch: of the next ``turns`` batches, the one at ``turn``.

        Args:
            turn: of this process; ``None``: it has none and reads past what the others take.
            turns: number of batches that the processes take, one each.
            limit: start over after so many batches.

        Raises:
            TaskError: if the task yields no batch at all, yields ``None``, or raises.
        """
        found = self.take(() if turn is None else (turn,), turns, limit=limit)
        return found[0][0] if found else None

    def take(self, mine: Sequence[int], turns: int, size: int = 1, limit: int | None = None) -> list[list[Any]]:
        """Return what fills this process's turns: of the next ``turns`` times ``size`` items, those at its turns.

        Args:
            mine: turns of this process, each in ``[0, turns)``; it reads past the others.
            turns: number of them, of all processes.
            size: items of a turn.
            limit: start over after so many items.

        Returns:
            ``size`` items for each turn of this process, in the order of ``mine``.
        """
        if self._wanted is not None:
            self._go_to_wanted()
        together = turns if len(mine) == turns else 1  # what the others take is not kept until all is read
        found: dict[int, list[Any]] = {}
        for first in range(0, turns, together):
            items = self._read(together * size, limit)
            for place in range(together):
                found[first + place] = items[place * size : (place + 1) * size] if first + place in mine else []
        return [found[turn] for turn in mine]

    def _start_pass_over(self) -> None:
        self.close()
        self._total -= self._taken
        self._taken = 0
        self._to_load = self._pass_began

    def _read(self, count: int, limit: int | None = None) -> list[Any]:
        """Return so many items; after ``limit`` of them a pass starts over."""
        found: list[Any] = []
        failed: list[Failure] = []  # since the last item
        while len(found) < count:
            if limit is not None and self._taken >= limit:
                self._start_pass_over()
            upto = count if limit is None else min(count, len(found) + limit - self._taken)
            before = len(found)
            other = self.read_on(found, upto, limit is not None)
            if len(found) > before:
                failed = []
            if isinstance(other, Failure):
                failed.append(other)
                if other.final or len(failed) > self._retries:
                    raise other.raised(self.name)
                if not self._warned:
                    self._warned = True
                    warn_retried(self.name, other.error)
            elif other is None:
                continue
            elif self._at_end:  # a place at the end of a pass: the next one begins
                self._at_end = False
                self.close()
            elif self._taken:
                self.close()
                self._pass += 1
                self._taken = 0
                self._pass_began = None
            elif failed:  # a generator that has raised is over
                raise failed[-1].raised(self.name)
            elif self._pass:
                raise TaskError(
                    f"task {self.name!r} yields no batch in its pass {self._pass}: it must start over each time that "
                    "it is iterated, and was at its end after the one before"
                )
            else:
                raise TaskError(f"task {self.name!r} yields no batch: leave it out, or give it data")
        return found
