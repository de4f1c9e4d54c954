"""The order of a map-style task that fills slots of batches: its passes run on into one another."""

from __future__ import annotations

from curricula.data.sources.map_order import MapSource


class SlotOrder(MapSource):
    """The order of a task's samples where every visit fills a slot: ``batch_size`` samples per rank, never fewer.

    What a pass leaves over is at the beginning of a slot that the next pass fills. Every sample comes once per pass.
    """

    __slots__ = ()

    def resize(self, size: int, visit: int, world_size: int) -> None:
        """Have another size from visit ``visit`` on, with which the next pass begins."""
        before, first_visit, first_pass = self.place()
        number, position = divmod((visit - first_visit) * self.batch_size * world_size, before)
        self.restore([size, visit, first_pass + number + (position > 0)])

    def batches_per_pass(self, world_size: int) -> int:
        """Return the number of visits that one pass takes part in, from its beginning."""
        return -(-self.size // (self.batch_size * world_size))

    def visits_in(self, passes: float, world_size: int) -> int:
        """Return the number of visits, from the first on, that so many passes have room for."""
        samples = (passes - self._first_pass) * self.size
        return self._first_visit + int(samples // (self.batch_size * world_size))

    def indices(self, visit: int, rank: int, world_size: int) -> list[int]:
        """Return the samples of this rank's part of the slot of visit ``visit``; the ranks' parts are disjoint."""
        total = self.batch_size * world_size
        number, position = divmod((visit - self._first_visit) * total, self.size)
        number += self._first_pass
        rows = list(self._of_pass(number)[position : position + total])
        while len(rows) < total:
            number += 1
            rows += self._of_pass(number)[: total - len(rows)]
        return rows[rank::world_size] if world_size > 1 else rows


def visit_after(order: MapSource, visit: int, total: int, world_size: int, *, slots: bool) -> int:
    """Return the visit at the place in the data where visit ``visit`` was, with visits of ``total`` samples.

    Where they do not fit into one another, it begins somewhat before that place: samples come a second time, and none
    is left out.

    Args:
        order: of now.
        visit: counted in visits of ``total`` samples.
        total: samples of one visit of all ranks then, at least 1.
        world_size: number of processes now.
        slots: whether passes ran on into one another then.

    Example:
        >>> visit_after(SlotOrder("task", 10, 2, True, False, 0), 4, 3, 1, slots=False)
        5
    """
    fills_slots = isinstance(order, SlotOrder)
    if not slots and not fills_slots:
        return order.visit_at(visit, total, world_size)
    size, first_visit, _ = order.place()
    since, now = visit - first_visit, order.batch_size * world_size
    if slots:
        passes, samples = divmod(since * total, size)
    else:
        passes, batches = divmod(since, max(1, size // total) if order.drop_last else -(-size // total))
        samples = min(batches * total, size)
    if fills_slots:
        return first_visit + (passes * size + samples) // now
    batches_now = order.batches_per_pass(world_size)
    return first_visit + passes * batches_now + min(samples // now, batches_now)
