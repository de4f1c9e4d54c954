"""The table of the tasks: how much each was practised, and what came of it."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from curricula.tracking.history import CurriculumHistory
from curricula.tracking.loggers.numbers import plain
from curricula.tracking.names import shortened
from curricula.tracking.summary import peak_steps, shares

COLUMNS = ("draws", "share", "first loss", "last loss", "mean reward", "step of peak probability")
"""Columns after the task and its place on every axis."""

ROWS = 2000
"""Most tasks in the table."""


def task_rows(history: CurriculumHistory) -> list[list[str | float | None]]:
    """Return a row per task, in the order of the tasks; of many, the most practised and the target.

    Returns:
        Rows of the name, the label on every axis of the grid, and :data:`COLUMNS`; ``None`` where unknown.
    """
    arms = np.arange(len(history.tasks))
    if len(arms) > ROWS:
        first = -1 if history.target not in history.tasks else history.tasks.index(history.target)
        arms = np.sort(np.lexsort((-history.draws, arms != first))[:ROWS])
    labels = list(product(*history.grid.values())) if history.grid else [()] * len(history.tasks)
    numbers = np.stack(
        [shares(history), history.first_losses, history.last_losses, _mean_rewards(history), peak_steps(history)]
    )
    draws = history.draws
    return [
        [
            shortened(history.tasks[arm], 200),
            *(shortened(label, 80) for label in labels[arm]),
            int(draws[arm]),
            *plain(numbers[:, arm]),
        ]
        for arm in arms.tolist()
    ]


def _mean_rewards(history: CurriculumHistory) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    rewards, arms = history.column("reward"), history.column("arm").astype(np.int64)
    known = np.isfinite(rewards)
    size = len(history.tasks)
    counts = np.bincount(arms[known], minlength=size)
    sums = np.bincount(arms[known], weights=rewards[known], minlength=size)
    return np.where(counts > 0, sums / np.maximum(1, counts), math.nan)
