"""Where a loader is: in the epoch, in every task, and among the draws."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from curricula.task_names import carried_arms
from curricula.teacher import Draw, draw_from_list, draw_to_list

Draws: TypeAlias = tuple[Draw, ...]
"""The draws of one step: one for all ranks together, or one for each of them."""


class Cursor:
    """The position of a loader. Nothing in it is of one rank alone.

    Args:
        num_tasks: at least 1.
        draws_per_batch: draws of a batch, for each process that has draws of its own.

    Attributes:
        epoch: number of the epoch, from 1; 0 before the first.
        position: batches delivered in this epoch.
        visits: per task, draws of delivered batches; each has samples on all ranks that share it.
        total: samples of such a draw; 0 where unknown.
        current: the draws of the batch delivered last.
        in_flight: the draws of planned batches, one entry per batch.
        undelivered: draws of an earlier plan or run, of which nothing was delivered; they come first.
    """

    def __init__(self, num_tasks: int, draws_per_batch: int = 1) -> None:
        self.draws_per_batch = draws_per_batch
        self.epoch = 0
        self.position = 0
        self.visits = [0] * num_tasks
        self.total = 0
        self.current: Draws | None = None
        self.in_flight: deque[Draws] = deque()
        self.undelivered: deque[Draws] = deque()

    def deliver(self, draws: Draws) -> None:
        """Count a batch."""
        for draw in draws:
            self.visits[draw.arm] += 1
        self.position += 1
        self.current = draws

    def planned(self) -> list[Draws]:
        """Return the planned draws of which nothing was delivered, oldest first."""
        return list({draws[0].id: draws for draws in self.in_flight if draws != self.current}.values())

    def put_back(self, draws: Sequence[Draws]) -> None:
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
            **({} if self.draws_per_batch == 1 else {"draws_per_batch": self.draws_per_batch}),
            "current": None if self.current is None else [draw_to_list(draw) for draw in self.current],
            "undelivered": [[draw_to_list(draw) for draw in draws] for draws in [*self.planned(), *self.undelivered]],
        }

    @classmethod
    def loaded(cls, content: Mapping[str, Any], saved: Sequence[str], own: Sequence[str]) -> Cursor:
        """Return the position that :meth:`state` told, for the tasks of now, matched by name.

        Args:
            content: what :meth:`state` returned.
            saved: names of the tasks then.
            own: names of the tasks now. Steps with a draw of a task that is gone are left out.
        """
        carried = carried_arms(saved, own)
        arms = {before: arm for arm, before in enumerate(carried) if before is not None}
        cursor = cls(len(own), content.get("draws_per_batch", 1))
        cursor.epoch, cursor.position, cursor.total = content["epoch"], content["position"], content["total"]
        cursor.visits = [0 if arm is None else content["visits"][arm] for arm in carried]
        steps = [_carried(given, saved, arms) for given in [content["current"] or [], *content["undelivered"]]]
        cursor.current = steps[0]
        cursor.undelivered.extend(draws for draws in steps[1:] if draws is not None)
        return cursor

    def keep(self, number: int) -> None:
        """Forget draws of batches that have not so many: they were for other batches, or another number of ranks."""
        if self.current is not None and len(self.current) != number:
            self.current = None
        self.undelivered = deque(draws for draws in self.undelivered if len(draws) == number)


def _carried(given: Sequence[Any], saved: Sequence[str], arms: Mapping[int, int]) -> Draws | None:
    single = bool(given) and not isinstance(given[0], Sequence)  # in older states a step has no list of draws
    draws = [draw_from_list(fields, saved) for fields in ([given] if single else given)]
    if not draws or any(draw.arm not in arms for draw in draws):
        return None
    return tuple(replace(draw, arm=arms[draw.arm]) for draw in draws)
