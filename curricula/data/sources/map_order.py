"""The order of a map-style task: which samples make which of its batches."""

from __future__ import annotations

from collections.abc import Sequence

from curricula.randomness import Stream, lane_of, numbers_at


class MapSource:
    """The order of a map-style task's samples: which ones make visit ``n``, a function of (seed, name, n, rank).

    It is so for as long as the size stays; :meth:`resize` begins a new pass with another one, and :meth:`place` tells
    where.

    Args:
        name: of the task.
        size: number of samples.
        batch_size: samples per batch and rank.
        shuffle: a new order in every pass over the task; else the order of the dataset.
        drop_last: leave out the rest of a pass that fills no batch.
        seed: of the order.
        stream: of the seed's random numbers.
    """

    # There may be a hundred thousand of them: each is small, and makes nothing before its task is drawn.
    __slots__ = (
        "_first_pass",
        "_first_visit",
        "_lane",
        "_order",
        "_pass",
        "_seed",
        "_stream",
        "batch_size",
        "drop_last",
        "name",
        "shuffle",
        "size",
    )

    def __init__(
        self,
        name: str,
        size: int,
        batch_size: int,
        shuffle: bool,
        drop_last: bool,
        seed: int,
        stream: Stream = Stream.TASK_ORDER,
    ) -> None:
        self.name = name
        self.size = size
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self._seed = seed
        self._stream = stream
        self._lane: int | None = None
        self._first_visit = 0  # with this size
        self._first_pass = 0
        self._pass = -1
        self._order: Sequence[int] = ()

    @property
    def lane(self) -> int:
        """Lane of the task in the streams of random numbers of its data."""
        if self._lane is None:
            self._lane = lane_of(self.name)
        return self._lane

    def place(self) -> list[int]:
        """Return the size, the first visit that has it, and the number of the pass that begins there."""
        return [self.size, self._first_visit, self._first_pass]

    def restore(self, place: list[int]) -> None:
        """Go back to what :meth:`place` told."""
        self.size, self._first_visit, self._first_pass = place
        self._pass = -1

    def resize(self, size: int, visit: int, world_size: int) -> None:
        """Have another size from visit ``visit`` on, with which the next pass begins.

        Args:
            size: at least 1.
            visit: the first that has not been made yet.
            world_size: number of processes.
        """
        number, position = self._divided(visit, self._batches(self.batch_size * world_size))
        self.restore([size, visit, number + (position > 0)])

    def _divided(self, visit: int, batches: int) -> tuple[int, int]:
        number, position = divmod(visit - self._first_visit, max(1, batches))
        return self._first_pass + number, position

    def batches_per_pass(self, world_size: int) -> int:
        """Return the number of visits that make one pass over the task."""
        return self._batches(self.batch_size * world_size)

    def visits_in(self, passes: float, world_size: int) -> int:
        """Return the number of visits, from the first on, that so many passes have room for."""
        return self._first_visit + int((passes - self._first_pass) * self.batches_per_pass(world_size))

    def _batches(self, total: int) -> int:
        return self.size // total if self.drop_last else -(-self.size // total)

    def visit_at(self, visit: int, total: int, world_size: int) -> int:
        """Return the visit at the place in the data where visit ``visit`` was, with batches of ``total`` samples.

        Where the batches do not fit into one another, it begins somewhat before that place: samples come a second time,
        and none is left out.

        Args:
            visit: counted in batches of ``total`` samples.
            total: samples of one batch of all ranks then, at least 1.
            world_size: number of processes now.
        """
        number, position = divmod(visit - self._first_visit, max(1, self._batches(total)))
        since = number * self.batches_per_pass(world_size) + position * total // (self.batch_size * world_size)
        return self._first_visit + since

    def limited(self, visit: int, limit: int, world_size: int) -> int:
        """Return the visit to make in the place of ``visit`` where only the first ``limit`` of a pass are wanted."""
        return self._first_visit + (visit - self._first_visit) % min(limit, self.batches_per_pass(world_size))

    def indices(self, visit: int, rank: int, world_size: int) -> list[int]:
        """Return the samples of this rank's part of the batch of visit ``visit``.

        The ranks' parts are disjoint. Where a pass does not divide by the number of ranks, its last batch is filled up
        from the pass's beginning, so that every rank has equally many samples.
        """
        number, position = self._divided(visit, self.batches_per_pass(world_size))
        order = self._of_pass(number)
        total = self.batch_size * world_size
        rows = list(order[position * total : (position + 1) * total])
        missing = -len(rows) % world_size
        rows += [order[k % self.size] for k in range(missing)]
        return rows[rank::world_size]

    def num_samples(self, visit: int, world_size: int, limit: int | None) -> int:
        """Return the number of samples of each rank's part of the batch of visit ``visit``, limited as it is read."""
        if limit is not None:
            visit = self.limited(visit, limit, world_size)
        total = self.batch_size * world_size
        position = self._divided(visit, self._batches(total))[1]
        return -(-min(total, self.size - position * total) // world_size)

    def _of_pass(self, number: int) -> Sequence[int]:
        if number != self._pass:
            self._pass = number
            self._order = self._make_order(number)
        return self._order

    def _make_order(self, number: int) -> Sequence[int]:
        if not self.shuffle:
            return range(self.size)
        numbers = numbers_at(self._seed, self._stream, number, self.lane)
        order: list[int] = numbers.permutation(self.size).tolist()
        return order
