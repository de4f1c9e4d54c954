"""The table of the tasks: how much each was practised, and what came of it."""

from __future__ import annotations

from itertools import product

import numpy as np

from curricula.tracking.history import CurriculumHistory
from curricula.tracking.loggers.numbers import plain
from curricula.tracking.names import distinct, shortened
from curricula.tracking.summary import binned_means, cost_shares, leading, peak_steps, shares

COLUMNS = (
    "draws",
    "share of draws",
    "cost",
    "share of cost",
    "passes",
    "first loss",
    "last loss",
    "mean reward",
    "step of peak probability",
)
"""Columns after the task and its place on every axis."""

ROWS = 2000
"""Most tasks in the table."""


def task_columns(history: CurriculumHistory) -> list[str]:
    """Return the names of the columns: the task, the axes of the grid, and :data:`COLUMNS`, all different."""
    axes = distinct(["task", *(history.grid or {}), *COLUMNS], 80)[1 : 1 + len(history.grid or {})]
    return ["task", *axes, *COLUMNS]


def task_rows(history: CurriculumHistory) -> list[list[str | float | None]]:
    """Return a row per task, in the order of the tasks; of many, the most practised and the target.

    Returns:
        Rows of the name, the label on every axis of the grid, and :data:`COLUMNS`; ``None`` where unknown.
    """
    labels = list(product(*history.grid.values())) if history.grid else [()] * len(history.tasks)
    rewards = binned_means(history, "reward", 1)[:, 0]
    numbers = np.stack(
        [
            shares(history),
            history.costs,
            cost_shares(history),
            history.passes,
            history.first_losses,
            history.last_losses,
            rewards,
            peak_steps(history),
        ]
    )
    draws = history.draws
    return [
        [
            shortened(history.tasks[arm], 200),
            *(shortened(label, 80) for label in labels[arm]),
            int(draws[arm]),
            *plain(numbers[:, arm]),
        ]
        for arm in leading(history, ROWS).shown.tolist()
    ]
