"""Several histories on common steps: what a comparison of runs shows. numpy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from curricula.bandits.base import FloatArray
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.summary import binned_losses, effective_numbers, part_edges

_PARTS = 120

Line = Callable[[CurriculumHistory], tuple[FloatArray, FloatArray]]
"""From a history to steps and values, both of shape ``(n,)``, the steps increasing."""


class Band(NamedTuple):
    """A group of runs on common steps; each shape ``(n,)``, NaN where no run has a value."""

    steps: FloatArray
    low: FloatArray
    median: FloatArray
    high: FloatArray


def band(histories: Sequence[CurriculumHistory], line: Line) -> Band:
    """Return the median and the extremes of a line over runs; beyond its own steps a run is left out.

    Args:
        histories: at least one.
        line: what to take of each.
    """
    at = np.linspace(0.0, max(1, *(history.steps for history in histories)), _PARTS + 1)
    rows = np.full((len(histories), len(at)), np.nan)
    for row, history in zip(rows, histories, strict=True):
        steps, values = line(history)
        known = np.isfinite(values)
        if known.any():
            row[:] = np.interp(at, steps[known], values[known], left=np.nan, right=np.nan)
    present = np.isfinite(rows).any(axis=0)
    found = np.full((3, len(at)), np.nan)
    known = rows[:, present]
    if present.any():
        found[:, present] = np.nanmin(known, axis=0), np.nanmedian(known, axis=0), np.nanmax(known, axis=0)
    return Band(at, *found)


def effective_line(history: CurriculumHistory) -> tuple[FloatArray, FloatArray]:
    """Return the effective number of tasks over time."""
    steps, numbers = history.policies()[0], effective_numbers(history)
    if not len(steps):
        return np.zeros(0), np.zeros(0)
    return np.append(steps, history.steps).astype(np.float64), np.append(numbers, numbers[-1])


def mean_loss_line(history: CurriculumHistory) -> tuple[FloatArray, FloatArray]:
    """Return the mean over tasks of their latest training losses; tasks that were not drawn yet are left out.

    Every task counts alike, however often it was drawn, so that runs with other policies compare.
    """
    losses = binned_losses(history, _bins(history))
    known = np.isfinite(losses)
    counts = known.sum(axis=0)
    sums = np.where(known, losses, 0.0).sum(axis=0)
    return _middles(history), np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def target_loss_line(history: CurriculumHistory) -> tuple[FloatArray, FloatArray]:
    """Return the latest training loss of the target task over time; NaN without a target."""
    at = _middles(history)
    if history.target not in history.tasks:
        return at, np.full(len(at), np.nan)
    return at, binned_losses(history, _bins(history))[history.tasks.index(history.target)]


def same_tasks(groups: Mapping[str, Sequence[CurriculumHistory]]) -> bool:
    """Return whether all runs have the same tasks."""
    return len({history.tasks for group in groups.values() for history in group}) <= 1


def _bins(history: CurriculumHistory) -> int:
    return max(1, min(_PARTS, history.steps // 10))


def _middles(history: CurriculumHistory) -> FloatArray:
    edges = part_edges(history, _bins(history))
    return np.asarray((edges[:-1] + edges[1:]) / 2, dtype=np.float64)
