"""Lines of a few tasks over time, for loggers that draw lines themselves. numpy only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curricula.bandits.base import FloatArray
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.names import distinct

TASKS = 10
"""Most tasks with a line of their own."""

POINTS = 100
"""Most points of a line."""


class Lines(NamedTuple):
    """Points that are known, one array per line."""

    names: list[str]
    steps: list[FloatArray]
    values: list[FloatArray]


def leading_tasks(history: CurriculumHistory) -> list[int]:
    """Return the arms of the most practised tasks and of the target, at most :data:`TASKS`, in order."""
    arms = [int(arm) for arm in np.argsort(-history.draws, kind="stable")[:TASKS]]
    if history.target in history.tasks:
        target = history.tasks.index(history.target)
        if target not in arms:
            arms[-1] = target
    return sorted(arms)


def policy_lines(history: CurriculumHistory) -> Lines:
    """Return the probability of each leading task, and of all others together where there are others."""
    steps, policies = history.policies()
    kept = np.unique(np.linspace(0, len(steps) - 1, min(POINTS, len(steps))).round().astype(int))
    arms = leading_tasks(history)
    at, columns = steps[kept].astype(np.float64), policies[kept].astype(np.float64)
    names, values = _names(history, arms), [columns[:, arm] for arm in arms]
    if len(arms) < len(history.tasks):
        names.append("all others")
        values.append(1.0 - columns[:, arms].sum(axis=1))
    return Lines(names, [at] * len(values), values)


def mean_lines(history: CurriculumHistory, column: str) -> Lines:
    """Return, for each leading task, the means of a column in equal parts of the run.

    Args:
        history: with at least one row.
        column: one of :data:`~curricula.tracking.history.COLUMNS`, such as ``"loss"`` or ``"reward"``.
    """
    values, arms = history.column(column), history.column("arm").astype(np.int64)
    steps = history.column("step")
    part = (steps * POINTS // max(1, history.steps)).astype(np.int64)
    middles = (np.arange(POINTS) + 0.5) * history.steps / POINTS
    known = np.isfinite(values)
    leading = leading_tasks(history)
    at, means = [], []
    for arm in leading:
        rows = known & (arms == arm)
        counts = np.bincount(part[rows], minlength=POINTS)
        sums = np.bincount(part[rows], weights=values[rows], minlength=POINTS)
        at.append(middles[counts > 0])
        means.append(sums[counts > 0] / counts[counts > 0])
    return Lines(_names(history, leading), at, means)


def _names(history: CurriculumHistory, arms: list[int]) -> list[str]:
    names = distinct([history.tasks[arm] for arm in arms], 40)
    return [name + " (target)" * (history.tasks[arm] == history.target) for name, arm in zip(names, arms, strict=True)]
