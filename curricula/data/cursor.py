"""Where a loader is: in the epoch, in every task, and among the draws."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from curricula.task_names import carried_arms
from curricula.teacher import Draw, draw_from_list, draw_to_list


class Cursor:
    """The position of a loader. Nothing in it is of one rank alone.

    Args:
        num_tasks: at least 1.

    Attributes:
        epoch: number of the epoch, from 1; 0 before the first.
        position: batches delivered in this epoch.
        visits: per task, batches delivered.
        total: samples of one batch of all ranks that ``visits`` counts in; 0 where unknown.
        current: the draw of the batch delivered last.
        in_flight: the draws of planned batches, one entry per batch.
        undelivered: draws of an earlier plan or run, of which nothing was delivered; they come first.
    """

    def __init__(self, num_tasks: int) -> None:
        self.epoch = 0
        self.position = 0
        self.visits = [0] * num_tasks
        self.total = 0
        self.current: Draw | None = None
        self.in_flight: deque[Draw] = deque()
        self.undelivered: deque[Draw] = deque()

    def deliver(self, draw: Draw) -> None:
        """Count a batch."""
        self.visits[draw.arm] += 1
        self.position += 1
        self.current = draw

    def planned(self) -> list[Draw]:
        """Return the planned draws of which nothing was delivered, oldest first."""
        delivered = -1 if self.current is None else self.current.id
        return list({draw.id: draw for draw in self.in_flight if draw.id != delivered}.values())

    def put_back(self, draws: Sequence[Draw]) -> None:
        """Forget the plan; these draws come first in the next one."""
        self.undelivered.extendleft(reversed(draws))
        self.in_flight.clear()

    def state(self) -> dict[str, Any]:
        """Return the position as plain containers."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "visits": list(self.visits),
            "total": self.total,
            "current": None if self.current is None else draw_to_list(self.current),
            "undelivered": [draw_to_list(draw) for draw in [*self.planned(), *self.undelivered]],
        }

    @classmethod
    def loaded(cls, content: Mapping[str, Any], saved: Sequence[str], own: Sequence[str]) -> Cursor:
        """Return the position that :meth:`state` told, for the tasks of now, matched by name.

        Args:
            content: what :meth:`state` returned.
            saved: names of the tasks then.
            own: names of the tasks now. Draws of tasks that are gone are left out.
        """
        carried = carried_arms(saved, own)
        arms = {before: arm for arm, before in enumerate(carried) if before is not None}
        given = [content["current"], *content["undelivered"]]
        current, *rest = [None if fields is None else draw_from_list(fields, saved) for fields in given]
        cursor = cls(len(own))
        cursor.epoch, cursor.position, cursor.total = content["epoch"], content["position"], content["total"]
        cursor.visits = [0 if arm is None else content["visits"][arm] for arm in carried]
        cursor.current = None if current is None or current.arm not in arms else replace(current, arm=arms[current.arm])
        cursor.undelivered.extend(replace(draw, arm=arms[draw.arm]) for draw in rest if draw and draw.arm in arms)
        return cursor
