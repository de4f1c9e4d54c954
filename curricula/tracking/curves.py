"""Curve and Comparison: runs of several methods towards one goal. numpy only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curricula.bandits.base import FloatArray


@dataclass(frozen=True)
class Curve:
    """The loss of one run, over its updates.

    Args:
        updates: numbers of updates at which the loss was measured, increasing.
        loss: one per entry of ``updates``; NaN where unknown.
        reached: updates until the goal was reached, ``None`` if it was not.
        seed: of the run.

    Raises:
        ValueError: if there are not as many losses as updates, or the updates do not increase.
    """

    updates: Sequence[int]
    loss: Sequence[float]
    reached: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.updates) != len(self.loss):
            raise ValueError(f"a curve needs one loss per update, got {len(self.loss)} for {len(self.updates)} updates")
        if any(later <= earlier for earlier, later in zip(self.updates, self.updates[1:], strict=False)):
            raise ValueError("the updates of a curve must increase")


@dataclass(frozen=True)
class Comparison:
    """Runs of several methods towards one goal.

    Args:
        curves: name of the method to one curve per seed.
        goal: the loss to reach.
        label: what the loss is, for the axis.

    Raises:
        TypeError: if the curves are not lists of curves by name, or the goal is no number.
    """

    curves: Mapping[str, Sequence[Curve]]
    goal: float
    label: str = "loss on the target"

    def __post_init__(self) -> None:
        check_curves(self.curves, self.goal)


def check_curves(curves: Mapping[str, Sequence[Curve]], goal: float) -> None:
    """Raise ``TypeError`` unless these are curves by the name of their method, and a number."""
    if not isinstance(curves, Mapping) or not all(
        isinstance(group, (list, tuple)) and all(isinstance(curve, Curve) for curve in group)
        for group in curves.values()
    ):
        raise TypeError(f'curves must be lists of Curve by name, {{"name": [Curve(...), ...]}}, got {curves!r}')
    if isinstance(goal, bool) or not isinstance(goal, (int, float)):
        raise TypeError(f"goal must be a number, got {goal!r}")


def median_curve(curves: Sequence[Curve]) -> tuple[FloatArray, FloatArray]:
    """Return the median loss over the runs at every update at which one of them was measured.

    Between its measurements a run is interpolated. After its last one, a run that reached the goal keeps its loss and
    one that did not is left out; the median ends where fewer than half of the runs are left.

    Args:
        curves: at least one.

    Returns:
        Updates, shape ``(U,)``, and median losses, shape ``(U,)``, NaN where no run has one.
    """
    at, rows = _on_common_updates(curves)
    present = np.isfinite(rows).sum(axis=0)
    median = np.full(len(at), np.nan)
    median[present > 0] = np.nanmedian(rows[:, present > 0], axis=0)
    enough = present * 2 >= len(curves)
    end = int(np.flatnonzero(enough)[-1]) + 1 if enough.any() else 0
    return at[:end], median[:end]


def range_curve(curves: Sequence[Curve]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the least and the greatest loss over the runs at every update at which one of them was measured.

    Interpolated and carried on as in :func:`median_curve`, whose updates are the first of these.

    Args:
        curves: at least one.

    Returns:
        Updates, least and greatest losses, each shape ``(V,)``, losses NaN where no run has one.
    """
    at, rows = _on_common_updates(curves)
    present = np.isfinite(rows).any(axis=0)
    low, high = np.full(len(at), np.nan), np.full(len(at), np.nan)
    low[present], high[present] = np.nanmin(rows[:, present], axis=0), np.nanmax(rows[:, present], axis=0)
    return at, low, high


def _on_common_updates(curves: Sequence[Curve]) -> tuple[FloatArray, FloatArray]:
    at = np.unique(np.concatenate([np.asarray(curve.updates, dtype=np.float64) for curve in curves]))
    rows = np.full((len(curves), len(at)), np.nan)
    for row, curve in zip(rows, curves, strict=True):
        updates, loss = np.asarray(curve.updates, dtype=np.float64), np.asarray(curve.loss, dtype=np.float64)
        finite = np.isfinite(loss)
        if finite.any():
            after = math.nan if curve.reached is None else loss[finite][-1]
            row[:] = np.interp(at, updates[finite], loss[finite], left=math.nan, right=after)
    return at, rows


def median_reached(curves: Sequence[Curve]) -> float:
    """Return the median number of updates to the goal, ``inf`` if half of the runs or more did not reach it.

    Example:
        >>> median_reached([Curve([1], [0.1], reached=100), Curve([1], [0.1], reached=300), Curve([1], [0.9])])
        300.0
    """
    numbers = sorted(math.inf if curve.reached is None else float(curve.reached) for curve in curves)
    middle = len(numbers) // 2
    if not numbers:
        return math.inf
    return numbers[middle] if len(numbers) % 2 else (numbers[middle - 1] + numbers[middle]) / 2
