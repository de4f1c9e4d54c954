"""Lines of a few tasks over time, for loggers that draw lines themselves. numpy only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curricula.bandits.base import FloatArray
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.names import distinct, unlike
from curricula.tracking.summary import binned_means, leading, part_edges, policy_in_parts

TASKS = 10
"""Most tasks with a line of their own."""

POINTS = 100
"""Most points of a line."""


class Lines(NamedTuple):
    """Points that are known: steps and values, one array per line."""

    names: list[str]
    steps: list[FloatArray]
    values: list[FloatArray]


def policy_lines(history: CurriculumHistory) -> Lines:
    """Return the mean probability of the most practised tasks and the target, and of all others together.

    Args:
        history: with at least one step.
    """
    edges, policies = policy_in_parts(history, POINTS)
    shown, others = leading(history, TASKS)
    names, values = _names(history, shown.tolist()), [policies[:, arm] for arm in shown]
    if len(others):
        names.append(unlike("all others", names))
        values.append(policies[:, others].sum(axis=1))
    return Lines(names, [edges[:-1]] * len(values), values)


def mean_lines(history: CurriculumHistory, column: str) -> Lines:
    """Return, for the most practised tasks and the target, the means of a column in equal parts of the run.

    Args:
        history: with at least one step.
        column: one of :data:`~curricula.tracking.history.COLUMNS`, such as ``"loss"`` or ``"reward"``.
    """
    shown = leading(history, TASKS).shown.tolist()
    starts, means = part_edges(history, POINTS)[:-1], binned_means(history, column, POINTS)[shown]
    known = np.isfinite(means)
    return Lines(
        _names(history, shown),
        [starts[row] for row in known],
        [values[row] for values, row in zip(means, known, strict=True)],
    )


def _names(history: CurriculumHistory, arms: list[int]) -> list[str]:
    tasks = [history.tasks[arm] for arm in arms]
    return distinct([name + " (target)" * (name == history.target) for name in tasks], 48)
