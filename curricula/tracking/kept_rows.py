"""Rows and snapshots: what is kept of a run at a stride of steps that doubles whenever there is no room left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from curricula.bandits.base import FloatArray

COLUMNS = ("step", "arm", "probability", "progress", "reward", "loss", "cost", "task_cost", "total_cost")
"""Columns of :meth:`CurriculumHistory.column`, one row per draw of the recorded optimiser steps.

``task_cost`` and ``total_cost`` are what the draw's task, and all tasks together, have cost up to and with this draw.
"""

_COSTS = COLUMNS[6:]


class KeptRows:
    """Rows of :data:`COLUMNS`.

    Args:
        most: rows kept, at least 2; more where a single step has more.
    """

    __slots__ = ("_rows", "most", "stride")

    def __init__(self, most: int) -> None:
        self.most = most
        self.stride = 1
        self._rows: list[tuple[float, ...]] = []

    def add(self, row: tuple[float, ...]) -> None:
        """Keep a row of a step that the stride divides."""
        rows = self._rows
        rows.append(row)
        if len(rows) > self.most:
            while len(self._rows) > self.most and row[0] > 0:
                self.stride *= 2
                self._rows = [row for row in self._rows if row[0] % self.stride == 0]

    def renumber(self, now: Mapping[int, int]) -> None:
        """Give every arm its number of now."""
        self._rows = [(step, now[int(arm)], *rest) for step, arm, *rest in self._rows]

    def forget_costs(self) -> None:
        """Let the costs be unknown."""
        known, unknown = len(COLUMNS) - len(_COSTS), (math.nan,) * len(_COSTS)
        self._rows = [(*row[:known], *unknown) for row in self._rows]

    def column(self, name: str) -> FloatArray:
        """Return a column, shape ``(rows,)``.

        Raises:
            ValueError: if there is no such column.
        """
        if name not in COLUMNS:
            raise ValueError(f"column must be one of {COLUMNS}, got {name!r}")
        place = COLUMNS.index(name)
        return np.array([row[place] for row in self._rows], dtype=np.float64)

    def state(self) -> torch.Tensor:
        """Return the rows, shape ``(rows, columns)``."""
        return torch.tensor(self._rows, dtype=torch.float64).reshape(-1, len(COLUMNS))

    def load(self, rows: torch.Tensor, stride: int, num_tasks: int) -> None:
        """Continue with what :meth:`state` returned; of before there were costs, these are unknown.

        Raises:
            ValueError: if the rows are of other tasks.
        """
        self.stride = stride
        unknown = (math.nan,) * (len(COLUMNS) - rows.shape[1])
        self._rows = [(*row, *unknown) for row in rows.tolist()]
        if not all(len(row) == len(COLUMNS) and 0 <= row[1] < num_tasks for row in self._rows):
            raise ValueError(DAMAGED)


class KeptPolicies:
    """Snapshots of the policy.

    Args:
        most: snapshots kept, at least 2.
    """

    __slots__ = ("_policies", "most", "steps", "stride")

    def __init__(self, most: int) -> None:
        self.most = most
        self.stride = 1
        self.steps: list[int] = []
        self._policies: list[npt.NDArray[np.float32]] = []

    def add(self, step: int, policy: FloatArray | None, num_tasks: int) -> None:
        """Keep the probabilities of the first tasks; of all others they are 0.

        Raises:
            ValueError: if there is none.
        """
        if policy is None:
            raise ValueError(f"a snapshot of the policy is due at step {step}, got None: give the probabilities")
        self.steps.append(step)
        snapshot = np.zeros(num_tasks, dtype=np.float32)
        snapshot[: len(policy)] = policy
        self._policies.append(snapshot)
        if len(self._policies) > self.most:
            del self.steps[1::2], self._policies[1::2]
            self.stride *= 2

    def renumber(self, now: Mapping[int, int], num_tasks: int) -> None:
        """Give every arm its number of now, among so many."""
        before, after = list(now), list(now.values())
        for number, policy in enumerate(self._policies):
            snapshot = np.zeros(num_tasks, dtype=np.float32)
            snapshot[after] = policy[before]
            self._policies[number] = snapshot

    def stacked(self, num_tasks: int) -> npt.NDArray[np.float32]:
        """Return the policies, shape ``(S, num_tasks)``."""
        return np.stack(self._policies) if self._policies else np.zeros((0, num_tasks), dtype=np.float32)

    def load(self, policies: torch.Tensor, stride: int, steps: Sequence[int], num_tasks: int) -> None:
        """Continue with the snapshots at these steps.

        Raises:
            ValueError: if they are not as many, or of other tasks.
        """
        self.stride, self.steps = stride, list(steps)
        self._policies = list(policies.detach().numpy().copy())
        if len(self._policies) != len(self.steps) or any(policy.shape != (num_tasks,) for policy in self._policies):
            raise ValueError(DAMAGED)


DAMAGED = "the history is damaged: its parts are not of the same tasks or steps"
"""Of a record whose parts do not fit together."""
