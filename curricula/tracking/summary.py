"""What a history comes to: the arithmetic behind the figures and the report. numpy only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curricula.bandits.base import FloatArray
from curricula.tracking.history import CurriculumHistory, effective_number

FAVOURED = 1.2
"""A task counts as favoured while its probability is above this multiple of uniform."""


def shares(history: CurriculumHistory) -> FloatArray:
    """Return each task's share of the steps, shape ``(N,)``, all 0 before the first."""
    return np.asarray(history.draws / max(1, history.draws.sum()), dtype=np.float64)


def effective_numbers(history: CurriculumHistory) -> FloatArray:
    """Return the effective number of tasks at every snapshot, shape ``(S,)``."""
    return np.array([effective_number(policy.astype(np.float64)) for policy in history.policies()[1]])


def rolling_mean(values: FloatArray, window: int) -> FloatArray:
    """Return the mean over a centred window along the first axis, same shape; the window is cut short at the ends.

    Args:
        values: shape ``(n, ...)``, finite.
        window: at least 1; an even one counts as the odd one above it.
    """
    half = min(window // 2, len(values))
    if half == 0:
        return values
    padded = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
    at = np.arange(len(values))
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    counts = (high - low).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray((padded[high] - padded[low]) / counts, dtype=np.float64)


def peak_steps(history: CurriculumHistory) -> FloatArray:
    """Return the step at which each task was most probable, shape ``(N,)``; NaN if it was never favoured.

    The policy is smoothed over a fortieth of the run, so that one lucky reward is no peak.
    """
    steps, policies = history.policies()
    peaks = np.full(len(history.tasks), np.nan)
    if len(steps) == 0:
        return peaks
    smooth = rolling_mean(policies.astype(np.float64), len(steps) // 40)
    favoured = smooth.max(axis=0) > FAVOURED / len(history.tasks)
    peaks[favoured] = steps[smooth.argmax(axis=0)][favoured]
    return peaks


class Spans(NamedTuple):
    """When each task was trained on: quantiles of the steps of its draws, each shape ``(N,)``, NaN if never drawn."""

    early: FloatArray
    """One tenth of its draws came before this step."""
    mean: FloatArray
    """Mean step of its draws."""
    late: FloatArray
    """Nine tenths of its draws came before this step."""


def spans(history: CurriculumHistory) -> Spans:
    """Return when each task was trained on, from the recorded rows."""
    early, mean, late = (np.full(len(history.tasks), np.nan) for _ in range(3))
    for task, rows in enumerate(rows_of_tasks(history)):
        if len(rows):
            steps = history.column("step")[rows] if task == 0 else _steps(history, rows)
            early[task], late[task] = np.quantile(steps, [0.1, 0.9])
            mean[task] = steps.mean()
    return Spans(early, mean, late)
