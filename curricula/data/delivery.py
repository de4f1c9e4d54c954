"""From what was read to the batch: the streams' part, the slots put together, and what is said of tasks that failed."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from curricula.data.cursor import Draws
from curricula.data.faults import Failure, TaskError, warn_retried
from curricula.data.plan import Plan
from curricula.data.read_times import ReadTimes
from curricula.data.reads import MixedRead
from curricula.data.sources.collection import Sources
from curricula.data.sources.mixed_dataset import MixedDataset, MixedResult


class Delivery:
    """Makes the oldest batch that is on its way, of what the plan's read brought and of the streams.

    Args:
        sources: the tasks.
        plan: whose draws they are.
        rewinds: put streams back where a batch of which they had given a part was not made.

    Attributes:
        dataset: of mixed batches; ``None`` where a batch is of one task.
        times: that the tasks took to be read.
    """

    def __init__(self, sources: Sources, plan: Plan, *, rewinds: bool) -> None:
        self._sources = sources
        self._plan = plan
        self._rewinds = rewinds
        self.dataset: MixedDataset | None = None
        self._retried: set[int] = set()  # arms of which it was said that other data are taken
        self.times = ReadTimes(len(sources.names))

    def batch(self, read: Any) -> Any:
        """Return the batch of the oldest draws that are on their way.

        Args:
            read: what came of their read.

        Raises:
            TaskError: if a task cannot be read.
            ValueError: if the samples of two tasks do not make one batch.
        """
        draws = self._plan.cursor.in_flight[0]
        own = self._plan.own(draws)
        if self.dataset is not None:
            return self._mixed(read, draws, own, self.dataset)
        (draw,) = own
        if self._sources.streams:
            streamed = self._take(draws)
            if draw.arm in self._sources.streams:
                self.times.warn(self._sources.names)
                return streamed[0]
        batch, error, seconds = read
        if batch is None:
            raise error.raised(draw.task)
        self.times.add(draw.arm, seconds)
        self.times.warn(self._sources.names)
        if error is not None:
            self._warn(draw.arm, error)
        return batch

    def num_samples(self) -> int | None:
        """Return the samples of the oldest batch on its way, on this process; ``None`` for a ready batch."""
        plan, sources = self._plan, self._sources
        if self.dataset is not None or sources.batch_size is None:
            return sources.batch_size
        draws, place = plan.cursor.in_flight[0], plan.own_places.start
        arm = draws[place].arm
        if arm not in sources.maps:
            return sources.batch_size if sources.gives_samples(arm) else None
        visit = plan.cursor.visits[arm] + sum(draw.arm == arm for draw in draws[:place])
        return sources.maps[arm].num_samples(visit, plan.share.world_size, plan.limit)

    def in_hand(self) -> dict[int, str]:
        """Return the task that each worker process was reading last, by the place of its batch in the plan.

        Where a batch is of one task, nobody has to be asked.
        """
        oldest = self._plan.oldest_read
        found = {} if self.dataset is None else self.dataset.in_hand()
        return {read - oldest: name for read, name in sorted(found.items()) if read >= oldest}

    def _warn(self, arm: int, error: Failure) -> None:
        if arm not in self._retried:
            self._retried.add(arm)
            warn_retried(self._sources.names[arm], error.error)

    def _take(self, draws: Draws) -> dict[int, Any]:
        """Return what fills this process's streamed slots, by place among its own.

        All processes read past what the others take, and stay in step.
        """
        streams, plan = self._sources.streams, self._plan
        share, own = plan.share, plan.own_places
        places: dict[int, list[int]] = {}
        for place, draw in enumerate(draws):
            if draw.arm in streams:
                places.setdefault(draw.arm, []).append(place)
        found: dict[int, Any] = {}
        for arm, taken in places.items():
            source = streams[arm]
            rank, ranks = (0, 1) if source.presharded else (share.rank, share.world_size)
            mine = [(place - own.start, turn * ranks + rank) for turn, place in enumerate(taken) if place in own]
            samples = self.dataset is not None and self._sources.gives_samples(arm)
            size = self._sources.slot_size if samples else 1
            limit = None if plan.limit is None else plan.limit * len(own) * ranks * size
            start = perf_counter()
            try:
                parts = source.take([turn for _, turn in mine], len(taken) * ranks, size, limit)
            except TaskError as error:
                error.task = source.name
                raise
            self.times.add(arm, (perf_counter() - start) * len(own) / len(taken))
            found.update((place, part if samples else part[0]) for (place, _), part in zip(mine, parts, strict=True))
        return found

    # ---------------------------------------------------------------- several tasks in a batch

    def _mixed(self, read: Any, draws: Draws, own: Draws, dataset: MixedDataset) -> Any:
        result = MixedResult(None, [None] * len(own), [], [], read) if isinstance(read, MixedRead) else read
        if result.batch is None and result.slots is None:
            raise self._error(result, own)
        streams = self._sources.streams
        for draw, seconds in zip(own, result.seconds, strict=False):
            if draw.arm not in streams:
                self.times.add(draw.arm, seconds * len(own))
        before = self._places(draws)
        try:
            streamed = self._take(draws) if streams else {}
            if result.batch is None:
                result = self._collated(result, streamed, own, dataset)
                if result.batch is None:
                    raise self._error(result, own)
        except TaskError:
            for arm, place in before.items():
                self._sources.streams[arm].seek(place)
            raise
        for place, failure in result.failures:
            if place is not None:
                self._warn(own[place].arm, failure)
        self.times.warn(self._sources.names)
        return result.batch

    def _places(self, draws: Draws) -> dict[int, Any]:
        streams = self._sources.streams
        arms = {draw.arm for draw in draws if draw.arm in streams} if self._rewinds else ()
        return {arm: streams[arm].position_or_count() for arm in arms}

    def _collated(
        self, result: MixedResult, streamed: dict[int, Any], own: Draws, dataset: MixedDataset
    ) -> MixedResult:
        streams, reads = self._sources.streams, result.read.slots

        def refill(place: int, attempt: int) -> Any:
            arm = own[place].arm
            if arm not in streams:
                return dataset.further(reads[place], attempt)
            if self._plan.share.processes > 1:  # the others would not read on
                return None
            (part,) = streams[arm].take([0], 1, self._sources.slot_size)
            return part if self._sources.gives_samples(arm) else None

        slots = [streamed.get(place, data) for place, data in enumerate(result.slots or ())]
        ready = [not self._sources.gives_samples(draw.arm) for draw in own]
        return dataset.collated(result._replace(slots=slots), ready, refill)

    def _error(self, result: MixedResult, own: Draws) -> Exception:
        place, failure = result.failures[-1]
        return failure.error if place is None else failure.raised(own[place].task)
