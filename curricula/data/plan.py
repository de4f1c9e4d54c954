"""From draws to reads: which tasks come next, which of their samples fill this process's slots, what is on its way.

Plain Python: a plan knows neither processes nor tensors.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

from curricula.data.cursor import Cursor, Draws
from curricula.data.hooks import Hooks
from curricula.data.passes import Passes
from curricula.data.reads import MixedRead, Read, Share
from curricula.data.sources.map_order import MapSource
from curricula.data.sources.slot_order import visit_after
from curricula.randomness import CounterGenerator
from curricula.teacher import Draw, Teacher

_log = logging.getLogger(__name__)


class Plan:
    """Turns the draws of a teacher into reads, one per batch, and keeps count of what was delivered.

    A batch has ``draws_per_batch`` slots, each of one draw. Every draw is one visit of its task; all processes count
    the visits of all draws, so that each knows its own part without asking.

    Args:
        orders: of the map-style tasks, by arm; other arms are streams. May grow.
        num_tasks: at least 1.
        teacher: draws.
        draws_per_batch: slots of a batch.
        quotas: draw by :meth:`Teacher.draw_all` with quotas.
        redraws: new draws for every batch; else for every step.
        seeds: of the random numbers of worker processes; ``None`` where there are none.

    Attributes:
        cursor: what was delivered, and what is on its way.
        share: of this process.
        limit: give each task only its first so many batches.
        passes: the most that the tasks may have.
        rewarded: whether somebody closes the draws; else they are discarded at once.
    """

    def __init__(
        self,
        orders: Mapping[int, MapSource],
        num_tasks: int,
        teacher: Teacher,
        draws_per_batch: int = 1,
        *,
        quotas: bool = False,
        redraws: bool = False,
        seeds: CounterGenerator | None = None,
    ) -> None:
        self._orders = orders
        self._slots = draws_per_batch
        self._quotas = quotas
        self._redraws = redraws
        self._seeds = seeds
        self._reads = 0
        self.teacher = teacher
        self.rewarded = False
        self.share = Share()
        self.limit: int | None = None
        self.passes = Passes()
        self.cursor = Cursor(num_tasks, draws_per_batch)

    def reset(self, num_tasks: int) -> None:
        """Begin with the first visit of every task."""
        self.cursor = Cursor(num_tasks, self._slots)

    @property
    def draws_per_step(self) -> int:
        """Number of draws of a batch, over all processes."""
        return self._slots * self.share.places

    @property
    def own_places(self) -> range:
        """Places of this process's draws among those of a batch."""
        first = self._slots * self.share.place
        return range(first, first + self._slots)

    def own(self, draws: Draws) -> Draws:
        """Return the draws whose slots this process reads, in their order."""
        own = self.own_places
        return draws[own.start : own.stop]

    def own_tasks(self) -> list[list[str]]:
        """Return the names of this process's tasks in every batch that is on its way, oldest first."""
        return [list(dict.fromkeys(draw.task for draw in self.own(draws))) for draws in self.cursor.in_flight]

    @property
    def oldest_read(self) -> int:
        """Number of the read of the oldest batch that is on its way."""
        return self._reads - len(self.cursor.in_flight) + 1

    def reads(self, steps: int, hooks: Hooks) -> Iterator[Read | MixedRead]:
        """Yield what this process is to read for each further batch of an epoch, and note its draws as on their way.

        Draws are made when their read is asked for. It ends before its time where all tasks have used up their passes.

        Args:
            steps: batches of the epoch.
            hooks: of the training.
        """
        cursor = self.cursor
        micro_batches = 1 if self._redraws else max(1, hooks.micro_batches())
        visits = list(cursor.visits)  # planned ones; the cursor counts the delivered ones
        draws = cursor.current
        for position in range(cursor.position, steps):
            goes_on = draws is not None and not self._redraws and hooks.goes_on()
            if draws is None or (not goes_on and (position % micro_batches == 0 or self.any_removed(draws))):
                whole = hooks.micro_batches() if self._redraws and position % max(1, hooks.micro_batches()) == 0 else 1
                draws = self._next_draws(visits, micro_batches, self.draws_per_step * whole)
                if draws is None:
                    return
            read = self._read(draws, visits)
            cursor.in_flight.append(draws)
            yield read

    def _next_draws(self, visits: Sequence[int], micro_batches: int, at_least: int) -> Draws | None:
        """Return the draws to plan next: those left undelivered, else new ones; ``None`` where no more can be drawn.

        Args:
            visits: of the tasks, planned ones included.
            micro_batches: visits that each draw makes.
            at_least: number of draws that there must be room for.
        """
        teacher, cursor = self.teacher, self.cursor
        while cursor.undelivered:
            draws = cursor.undelivered.popleft()
            if not self.any_removed(draws):
                return draws
            if self.rewarded:
                self._discard(draws)
        number = self.draws_per_step
        left = self.passes.left(visits, micro_batches) if self.passes.limited else None
        if left is not None and not self.passes.go_on(teacher, left, at_least, tell=self.share.is_first):
            return None
        if number > 1 or self._quotas:
            return teacher.draw_all(number, quotas=self._quotas, rewarded=self.rewarded, left=left)
        draws = (teacher.draw() if left is None else teacher.draw(left),)
        if not self.rewarded:
            self._discard(draws)
        return draws

    def is_over(self, hooks: Hooks) -> bool:
        """Tell whether all that may be drawn was delivered, since the tasks have used up their passes."""
        cursor = self.cursor
        if not self.passes.limited or cursor.in_flight or cursor.undelivered:
            return False
        micro_batches = max(1, hooks.micro_batches())
        if cursor.position % micro_batches:
            return False
        left = self.passes.left(cursor.visits, 1 if self._redraws else micro_batches)
        number = self.draws_per_step * (micro_batches if self._redraws else 1)
        return not self.passes.go_on(self.teacher, left, number, tell=self.share.is_first)

    def _discard(self, draws: Draws) -> None:
        for draw in draws:
            self.teacher.discard(draw)

    def any_removed(self, draws: Draws) -> bool:
        """Tell whether a task of these draws is not drawn any more."""
        return any(map(self.teacher.is_removed, [draw.arm for draw in draws]))

    def _read(self, draws: Draws, visits: list[int]) -> Read | MixedRead:
        """Return what this process is to read, and count the visits of all draws."""
        if len(draws) == 1:
            arm = draws[0].arm
            visit = visits[arm]
            visits[arm] = visit + 1
            return self._slot(arm, visit, self._seed(arm, visit))
        made = []
        for draw in draws:
            arm = draw.arm
            made.append((arm, visits[arm]))
            visits[arm] += 1
        own = self.own_places
        mine = made[own.start : own.stop]
        seed = None
        if self._seeds is not None:  # that of the first slot that is read by a worker process
            seed = next((self._seed(arm, visit) for arm, visit in mine if arm in self._orders), None)
        if self._slots == 1:
            return self._slot(*mine[0], seed)
        slots = [self._slot(arm, visit) for arm, visit in mine]
        self._reads += 1
        return MixedRead(slots, self._reads, seed)

    def _slot(self, arm: int, visit: int, seed: int | None = None) -> Read:
        order = self._orders.get(arm)
        if order is None:
            return Read(arm, None)
        share = self.share
        if self.limit is not None:
            visit = order.limited(visit, self.limit * self._slots, share.world_size)
        return Read(arm, order.indices(visit, share.rank, share.world_size), seed)

    def _seed(self, arm: int, visit: int) -> int | None:
        if self._seeds is None or arm not in self._orders:
            return None
        numbers = self._seeds.at(visit, lane=self._orders[arm].lane)
        return int(numbers.integers(2**63, size=self.share.rank + 1)[-1])

    # ---------------------------------------------------------------- what becomes of the draws

    def deliver(self) -> Draws:
        """Count the oldest batch that is on its way as delivered, and return its draws."""
        draws = self.cursor.in_flight.popleft()
        self.cursor.deliver(draws)
        return draws

    def is_outdated(self) -> bool:
        """Tell whether the oldest batch that is on its way has a task that is not drawn any more."""
        in_flight = self.cursor.in_flight
        return bool(in_flight) and self.any_removed(in_flight[0])

    def put_back(self) -> None:
        """Plan anew: the draws of which nothing was delivered come first."""
        self.cursor.put_back(self.cursor.planned())

    def put_back_all_but(self, failed: Draws) -> None:
        """Plan anew after a batch that could not be read; its draws come first, but for those of removed tasks."""
        cursor = self.cursor
        left = [] if failed == cursor.current else [failed]
        cursor.put_back(left + [draws for draws in cursor.planned() if draws != failed])

    def discard_lost(self) -> None:
        """Close the draws of batches that were delivered and earn no reward."""
        cursor = self.cursor
        open_draws = {draw.id: draw for draw in self.teacher.open_draws()}
        for draws in [*cursor.planned(), *cursor.undelivered, cursor.current or ()]:
            for draw in draws:
                open_draws.pop(draw.id, None)
        self._discard(tuple(open_draws.values()))

    def discard_current(self) -> None:
        """Close the draws of the batch that was delivered last: its step was interrupted, and gets no further one."""
        current: Sequence[Draw] = self.cursor.current or ()
        self._discard(tuple(draw for draw in self.teacher.open_draws() if draw in current))

    def is_within_step(self, hooks: Hooks) -> bool:
        """Tell whether the step of the batch delivered last is to have more batches of the same draws."""
        return not self._redraws and self.cursor.position % max(1, hooks.micro_batches()) > 0

    def begin_epoch(self, hooks: Hooks) -> None:
        """Begin a new epoch. A step that the end of the one before has cut short is over."""
        cursor = self.cursor
        cursor.position = 0
        if not hooks.goes_on():
            cursor.current = None
        cursor.epoch += 1

    def follow_batch_size(self, slot_size: int) -> None:
        """Go on at the same samples where a loaded place counts slots of another size.

        Args:
            slot_size: samples of a draw on this process, 0 if unknown.
        """
        cursor, total = self.cursor, slot_size * self.share.world_size
        before, slots = cursor.total, cursor.draws_per_batch
        if before and (before != total or slots != self._slots):
            for arm, order in self._orders.items():
                visit = cursor.visits[arm]
                cursor.visits[arm] = visit_after(order, visit, before, self.share.world_size, slots=slots > 1)
            if any(cursor.visits):
                _log.warning(
                    "batches had %d samples over all ranks%s when the state was saved and have %d%s now: every task "
                    "goes on where it was, but what is drawn and learned is no longer what it would have been",
                    before * slots,
                    "" if slots == self._slots else f" of {slots} draws",
                    total * self._slots,
                    "" if slots == self._slots else f" of {self._slots} draws",
                )
        cursor.total, cursor.draws_per_batch = total, self._slots
        cursor.keep(self.draws_per_step)
