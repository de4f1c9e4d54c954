"""What a history comes to: the arithmetic behind the figures and the report. numpy only."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curricula.bandits.base import FloatArray
from curricula.tracking.history import CurriculumHistory, effective_number

FAVOURED = 1.5
"""A task counts as favoured while its odds are above this multiple of those under the uniform policy."""


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
    # Sums over 1, 2, 4, ... neighbours make up the window's: no differences, in which one huge value would drown the
    # others.
    width, start = 2 * half + 1, 0
    block = np.concatenate([np.zeros((half, *values.shape[1:])), values, np.zeros((half, *values.shape[1:]))])
    sums = np.zeros_like(values, dtype=np.float64)
    for power in range(width.bit_length()):
        size = 1 << power
        if width & size:
            sums += block[start : start + len(values)]
            start += size
        block = block[:-size] + block[size:]
    at = np.arange(len(values))
    counts = np.minimum(at + half + 1, len(values)) - np.maximum(at - half, 0)
    return np.asarray(sums / counts.reshape(-1, *[1] * (values.ndim - 1)), dtype=np.float64)


def peak_steps(history: CurriculumHistory) -> FloatArray:
    """Return the step at which each task was most probable, shape ``(N,)``; NaN if it was never favoured.

    The policy is smoothed over a twentieth of the run, so that a few lucky rewards are no peak.
    """
    steps, policies = history.policies()
    peaks = np.full(len(history.tasks), np.nan)
    if len(steps) == 0:
        return peaks
    smooth = rolling_mean(policies.astype(np.float64), len(steps) // 20)
    most, others = smooth.max(axis=0), len(history.tasks) - 1
    favoured = most * others > FAVOURED * (1 - most)
    peaks[favoured] = steps[smooth.argmax(axis=0)][favoured]
    return peaks


class Spans(NamedTuple):
    """When each task was trained on, by the steps of its draws; each shape ``(N,)``, NaN if it was never drawn."""

    early: FloatArray
    """A tenth of its draws came before this step."""
    middle: FloatArray
    """Half of its draws came before this step."""
    late: FloatArray
    """Nine tenths of its draws came before this step."""


def spans(history: CurriculumHistory) -> Spans:
    """Return when each task was trained on, from the recorded rows."""
    steps = history.column("step")
    found = np.full((3, len(history.tasks)), np.nan)
    for arm, rows in enumerate(rows_of_tasks(history)):
        if len(rows):
            found[:, arm] = np.quantile(steps[rows], [0.1, 0.5, 0.9])
    return Spans(*found)


def rows_of_tasks(history: CurriculumHistory) -> list[npt.NDArray[np.int64]]:
    """Return, per task, the indices of its recorded rows, in order."""
    arms = history.column("arm").astype(np.int64)
    order = np.argsort(arms, kind="stable")
    ends = np.searchsorted(arms[order], np.arange(len(history.tasks) + 1))
    return [order[low:high] for low, high in pairwise(ends)]


def binned_losses(history: CurriculumHistory, bins: int) -> FloatArray:
    """Return the mean training loss of each task in equal parts of the run, shape ``(N, bins)``.

    Where a task was not drawn its last mean is carried on; NaN before its first.
    """
    loss = history.column("loss")
    known = np.isfinite(loss)
    arm = history.column("arm")[known].astype(np.int64)
    part = (history.column("step")[known] * bins // max(1, history.steps)).astype(np.int64)
    sums, counts = np.zeros((len(history.tasks), bins)), np.zeros((len(history.tasks), bins))
    np.add.at(sums, (arm, part), loss[known])
    np.add.at(counts, (arm, part), 1.0)
    with np.errstate(invalid="ignore"):
        means = np.where(counts > 0, sums / counts, np.nan)
    last = np.maximum.accumulate(np.where(counts > 0, np.arange(bins), 0), axis=1)
    return np.asarray(np.take_along_axis(means, last, axis=1), dtype=np.float64)
