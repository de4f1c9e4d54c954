"""The most passes over the tasks: how many draws they have room for, and what is left of these."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from curricula.data.sources.collection import Sources
from curricula.mixture import Mixture
from curricula.task_names import listed
from curricula.teacher import Teacher

_log = logging.getLogger(__name__)


class Passes:
    """How many draws of delivered batches the tasks may have in all.

    Args:
        most: number of draws, by arm; the other tasks have no limit.
    """

    def __init__(self, most: Mapping[int, int] | None = None) -> None:
        self._most = most or {}

    @classmethod
    def of(cls, mixture: Mixture | None, sources: Sources, world_size: int) -> Passes:
        """Return what a mixture allows.

        Args:
            mixture: the user's, if there is one.
            sources: the tasks, with the sizes that they have now.
            world_size: number of processes that share a draw.

        Raises:
            ValueError: if a task with a limit has no length, or its passes have no room for one draw.
        """
        if mixture is None or mixture.max_passes is None:
            return cls()
        most = {}
        for arm, name in enumerate(sources.names):
            limit = mixture.passes(name)
            if limit is None or mixture.leaves_out(name):
                continue
            if arm in sources.maps:
                most[arm] = sources.maps[arm].visits_in(limit, world_size)
            else:
                most[arm] = int(limit * sources.visits_of(arm, world_size, f"max_passes={limit:g}"))
            if most[arm] < 1:
                raise ValueError(
                    f"max_passes={limit:g} of task {name!r} has no room for a single draw of it: give it more, or a "
                    "prior share of 0"
                )
        return cls(most)

    @property
    def limited(self) -> bool:
        """Whether any task has a limit."""
        return bool(self._most)

    def left(self, visits: Sequence[int], batches: int) -> dict[int, int]:
        """Return how many more draws the tasks with a limit may have, by arm.

        Args:
            visits: of all tasks so far.
            batches: visits that each draw makes.
        """
        return {arm: max(0, most - visits[arm]) // batches for arm, most in self._most.items()}

    def go_on(self, teacher: Teacher, left: Mapping[int, int], number: int, *, tell: bool) -> bool:
        """Tell the teacher what is left, and return whether so many more draws can be made.

        Args:
            teacher: draws.
            left: how many more draws the tasks may have, by arm.
            number: of draws that there must be room for.
            tell: warn of tasks that have used up their passes just now.
        """
        before = teacher.used_up
        goes_on = teacher.use_up(left, number)
        new = [name for name in teacher.used_up if name not in before]
        if new and tell:
            _log.warning(
                "the passes of %s are used up, after %d draws in all: %s",
                listed(new),
                teacher.draws,
                "the others share what was theirs" if goes_on else "no task is left to draw, and the training ends",
            )
        return goes_on
