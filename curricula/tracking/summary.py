"""What a history comes to: the arithmetic behind the figures and the report. numpy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curricula.bandits.base import FloatArray
from curricula.tracking.history import CurriculumHistory, effective_number

FAVOURED = 1.5
"""A task counts as favoured while its odds are above this multiple of those under the uniform policy."""


def shares(history: CurriculumHistory) -> FloatArray:
    """Return each task's share of the draws, shape ``(N,)``, all 0 before the first."""
    return np.asarray(history.draws / max(1, history.draws.sum()), dtype=np.float64)


def has_cost(history: CurriculumHistory) -> bool:
    """Return whether it is known what the run has cost, and that is not nothing."""
    return math.isfinite(history.total_cost) and history.total_cost > 0


def cost_shares(history: CurriculumHistory) -> FloatArray:
    """Return each task's share of the cost, shape ``(N,)``, NaN where the cost of the run is not known."""
    return np.asarray(history.costs / (history.total_cost if has_cost(history) else math.nan), dtype=np.float64)


def costs_differ(history: CurriculumHistory) -> bool:
    """Return whether the cost is known, and a task's share of it is not its share of the draws within a thousandth."""
    return has_cost(history) and not np.allclose(cost_shares(history), shares(history), rtol=0, atol=1e-3)


def cost_axis(history: CurriculumHistory) -> tuple[FloatArray, FloatArray]:
    """Return recorded steps and what the run had cost before each of them, increasing; the end of the run is the last.

    Args:
        history: whose cost is known.
    """
    steps, first = np.unique(history.column("step"), return_index=True)
    before = (history.column("total_cost") - history.column("cost"))[first]
    return np.append(steps, history.steps), np.append(before, history.total_cost)


def effective_numbers(history: CurriculumHistory) -> FloatArray:
    """Return the effective number of tasks at every snapshot, shape ``(S,)``."""
    return np.array([effective_number(policy.astype(np.float64)) for policy in history.policies()[1]])


class Rows(NamedTuple):
    """The tasks that have a row of their own in a table or a map, and those that do not."""

    shown: npt.NDArray[np.int64]
    """Arms, increasing."""
    others: npt.NDArray[np.int64]
    """All other arms, increasing; empty, or two and more."""


def leading(history: CurriculumHistory, most: int) -> Rows:
    """Return at most ``most`` tasks: all if they are so few, else the most practised ones and the target.

    Args:
        history: of ``N`` tasks.
        most: at least 2.
    """
    arms = np.arange(len(history.tasks))
    if len(arms) <= most:
        return Rows(arms, arms[:0])
    order = np.argsort(-history.draws, kind="stable")
    kept = order[:most]
    if history.target in history.tasks:
        target = history.tasks.index(history.target)
        if target not in kept:
            kept = np.append(order[: most - 1], target)
    return Rows(np.sort(kept), np.setdiff1d(arms, kept))


def policy_in_parts(history: CurriculumHistory, parts: int) -> tuple[FloatArray, FloatArray]:
    """Return the mean policy in equal parts of the run.

    Args:
        history: with at least one snapshot.
        parts: at least 1; not more are made than there are snapshots.

    Returns:
        Steps at the edges of the parts, shape ``(P + 1,)``, and mean probabilities, shape ``(P, N)``.
    """
    steps, policies = history.policies()
    starts = np.unique(np.linspace(0, len(steps), min(parts, len(steps)) + 1).round().astype(np.int64))[:-1]
    counts = np.diff(np.append(starts, len(steps)))
    means = np.add.reduceat(policies.astype(np.float64), starts, axis=0) / counts[:, None]
    return np.append(steps[starts], max(history.steps, 1)).astype(np.float64), means


def part_edges(history: CurriculumHistory, bins: int) -> FloatArray:
    """Return the steps at which ``bins`` equal parts of the run begin and end, shape ``(bins + 1,)``."""
    return np.linspace(0.0, max(1, history.steps), bins + 1)


def binned_quantiles(history: CurriculumHistory, column: str, bins: int, quantiles: Sequence[float]) -> FloatArray:
    """Return quantiles of a column in equal parts of the run, shape ``(len(quantiles), bins)``.

    NaN where a part has no finite value.

    Args:
        history: of any length.
        column: one of :data:`~curricula.tracking.history.COLUMNS`.
        bins: at least 1.
        quantiles: each in ``[0, 1]``.
    """
    values, steps = history.column(column), history.column("step")
    known = np.isfinite(values)
    part = (steps[known] * bins // max(1, history.steps)).astype(np.int64)
    ends = np.searchsorted(part, np.arange(bins + 1))
    found = np.full((len(quantiles), bins), np.nan)
    for place, (low, high) in enumerate(pairwise(ends)):
        if high > low:
            found[:, place] = np.quantile(values[known][low:high], quantiles)
    return found


def binned_shares(history: CurriculumHistory, bins: int, column: str | None = None) -> FloatArray:
    """Return each task's share of the recorded draws in equal parts of the run, shape ``(N, bins)``; columns sum to 1.

    NaN in a part without a recorded draw.

    Args:
        history: of any length.
        bins: at least 1.
        column: share of the sum of this column, such as ``"cost"``, in place of the number of draws.
    """
    values = np.ones(len(history.column("step"))) if column is None else history.column(column)
    counts = _sums(history, values, bins)[0]
    total = counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray(counts / np.where(total > 0, total, np.nan), dtype=np.float64)


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


def binned_means(history: CurriculumHistory, column: str, bins: int) -> FloatArray:
    """Return the mean of a column over each task's steps in equal parts of the run, shape ``(N, bins)``.

    Values that are not finite are left out; NaN where a task has none.

    Args:
        history: of any length.
        column: one of :data:`~curricula.tracking.history.COLUMNS`.
        bins: at least 1.
    """
    sums, counts = _sums(history, history.column(column), bins)
    return np.asarray(np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0), dtype=np.float64)


def binned_losses(history: CurriculumHistory, bins: int) -> FloatArray:
    """Return the mean training loss of each task in equal parts of the run, shape ``(N, bins)``.

    Where a task was not drawn its last mean is carried on; NaN before its first.
    """
    means = binned_means(history, "loss", bins)
    last = np.maximum.accumulate(np.where(np.isfinite(means), np.arange(bins), 0), axis=1)
    return np.asarray(np.take_along_axis(means, last, axis=1), dtype=np.float64)


def loss_scale(losses: npt.ArrayLike) -> str:
    """Return ``"log"`` where all losses are above 0 and the largest is 5 times the least, else ``"linear"``."""
    finite = np.asarray(losses, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return "log" if finite.size and finite.min() > 0 and finite.max() >= 5 * finite.min() else "linear"


def _sums(history: CurriculumHistory, values: FloatArray, bins: int) -> tuple[FloatArray, FloatArray]:
    known = np.isfinite(values)
    arm = history.column("arm")[known].astype(np.int64)
    part = (history.column("step")[known] * bins // max(1, history.steps)).astype(np.int64)
    sums, counts = np.zeros((len(history.tasks), bins)), np.zeros((len(history.tasks), bins))
    np.add.at(sums, (arm, part), values[known])
    np.add.at(counts, (arm, part), 1.0)
    return sums, counts
