"""Record: what is written down of a run, step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from curricula.bandits.base import FloatArray
from curricula.task_names import carried_arms, check_names
from curricula.teacher import Draw
from curricula.tracking.kept_rows import KeptPolicies, KeptRows
from curricula.tracking.tallies import Tallies


class Record:
    """The side of a :class:`~curricula.tracking.CurriculumHistory` that is written to.

    Args:
        tasks, grid, target, unit, max_rows, max_policies: as there.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if one is out of range.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        grid: Mapping[str, Sequence[str]] | None = None,
        target: str | None = None,
        unit: str = "cost",
        max_rows: int = 20_000,
        max_policies: int = 400,
    ) -> None:
        self.tasks = check_names(tasks)
        if grid is not None and not isinstance(grid, Mapping):
            raise TypeError(f"grid must be a mapping from axis to labels, got {grid!r}")
        self.grid = None if grid is None else {axis: list(labels) for axis, labels in grid.items()}
        self.target = target
        self.unit = unit
        """What costs are counted in."""
        for what, value in (("max_rows", max_rows), ("max_policies", max_policies)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{what} must be an int, got {value!r}")
        if min(max_rows, max_policies) < 2:
            raise ValueError(f"max_rows and max_policies must be at least 2, got {max_rows} and {max_policies}")
        if target is not None and target not in self.tasks:
            raise ValueError(f"target {target!r} names no task: the tasks are {list(self.tasks)}")
        self.steps = 0
        """Optimiser steps seen, recorded or not."""
        self.total_cost = 0.0
        """Cost of all draws so far, NaN if that of one is unknown."""
        self._tallies = Tallies(len(self.tasks))
        self._rows = KeptRows(max_rows)
        self._policies = KeptPolicies(max(2, min(max_policies, 2_000_000 // len(self.tasks))))

    @property
    def wants_policy(self) -> bool:
        """Whether the policy after this step is to be kept."""
        return self.steps % self._policies.stride == 0

    def record(
        self,
        draw: Draw,
        *,
        progress: float,
        reward: float | None,
        loss: float,
        policy: FloatArray | None,
        more: bool = False,
        cost: float = math.nan,
        samples: float = math.nan,
    ) -> None:
        """Add one draw of an optimiser step.

        Args:
            draw: whose samples were trained on.
            progress: raw learning progress; NaN if it could not be told.
            reward: scaled reward in ``[-1, 1]``; ``None`` if the bandit did not learn from the step.
            loss: training loss of these samples, NaN if unknown.
            policy: probabilities of the first tasks after the update, at most ``N``; of all others they are 0.
                ``None`` is as good where :attr:`wants_policy` is not set, or further draws follow.
            more: whether further draws of the same optimiser step follow.
            cost: of the draw, in :attr:`unit`, NaN if unknown.
            samples: number of samples of the draw, NaN if unknown.
        """
        arm, step = draw.arm, self.steps
        self._tallies.count(arm, loss)
        task_cost = self.spend(arm, cost, samples)
        if step % self._rows.stride == 0:
            earned = math.nan if reward is None else reward
            self._rows.add((step, arm, draw.probability, progress, earned, loss, cost, task_cost, self.total_cost))
        if more:
            return
        if self.wants_policy:
            self._policies.add(step, policy, len(self.tasks))
        self.steps += 1

    def spend(self, arm: int, cost: float, samples: float) -> float:
        """Count what a task cost, and no draw: in :meth:`record`, and where the optimiser skipped the step.

        Args:
            arm: of the task.
            cost: in :attr:`unit`, NaN if unknown.
            samples: number of samples read, NaN if unknown.

        Returns:
            What the task has cost so far.
        """
        self.total_cost += cost
        return self._tallies.spend(arm, cost, samples)

    def set_sizes(self, sizes: Mapping[str, int]) -> None:
        """Let tasks have these numbers of samples from now on; others stay as they were."""
        arms = {name: arm for arm, name in enumerate(self.tasks)}
        for name, size in sizes.items():
            if name in arms:
                self._tallies.sizes[arms[name]] = size

    def count_in(self, unit: str) -> bool:
        """Count costs in a unit from now on, and tell whether those so far are lost, since they were in another."""
        lost = unit != self.unit and self.total_cost > 0
        if lost:
            self._tallies.forget_costs()
            self.total_cost = math.nan
            self._rows.forget_costs()
        self.unit = unit
        return lost

    def adopt(self, tasks: Sequence[str]) -> None:
        """Let these be the first tasks from now on; those of the record that are not among them stay behind them.

        Args:
            tasks: unique names. The grid is given up unless they are the same as before.

        Example:
            >>> from curricula.tracking import CurriculumHistory
            >>> history = CurriculumHistory(["easy", "hard"])
            >>> history.adopt(["hard", "harder"])
            >>> history.tasks
            ('hard', 'harder', 'easy')
        """
        known = check_names(tasks)
        if known == self.tasks:
            return
        first = set(known)
        names = (*known, *(name for name in self.tasks if name not in first))
        if names == self.tasks:
            return
        carried = carried_arms(self.tasks, names)
        now = {before: arm for arm, before in enumerate(carried) if before is not None}
        self.tasks, self.grid = names, None
        self._tallies.carry(carried)
        self._rows.renumber(now)
        self._policies.renumber(now, len(names))
