"""What runs come to: time to the goal, ratios with intervals, tests corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from examples.compare.problem import Problem
from examples.compare.runs import Run

BY = ("steps", "samples", "cost", "seconds")
"""What a goal can be reached in."""

RESAMPLES = 10_000


@dataclass(frozen=True)
class Row:
    """A method on a problem.

    Attributes:
        problem: its name.
        method: its name.
        lr: learning rate, chosen on tuning seeds.
        seeds: number of runs.
        solved: runs that reached the goal.
        to_goal: per run, what it took to the goal; infinity if it was not reached.
        final: per run, the last mean, worst and, where there is one, target score.
        ratio: median of the baseline over the median of the method; above 1 is faster. NaN if neither has one.
        low: lower end of the ratio's 95 % bootstrap interval.
        high: upper end.
        p: two-sided Mann-Whitney, after Holm's correction over the methods of the problem; ``None`` for the baseline.
    """

    problem: str
    method: str
    lr: float
    seeds: int
    solved: int
    to_goal: list[float]
    final: dict[str, list[float]]
    ratio: float
    low: float
    high: float
    p: float | None


def to_goal(run: Run, problem: Problem, by: str = "steps") -> float:
    """Return the steps, samples, cost or seconds after which the score was at the goal, infinity if it never was."""
    if by not in BY:
        raise ValueError(f"a goal is reached in one of {BY}, got {by!r}")
    for place, score in enumerate(run.curves[problem.of]):
        if problem.reached(score):
            found = {"steps": run.steps[place], "cost": run.cost[place], "seconds": run.seconds[place]}
            return float(found.get(by, run.steps[place] * problem.batch_size * problem.micro_batches))
    return math.inf


def summarise(runs: Iterable[Run], problem: Problem, baseline: str, by: str = "steps") -> list[Row]:
    """Return one row per method.

    Runs that do not reach the goal count as infinitely slow in medians and ranks; a ratio of two of them is NaN.

    Args:
        runs: of one learning rate per method, and of reported seeds alone.
        problem: of all of them.
        baseline: name of the method to compare with.
        by: ``"steps"``, ``"samples"``, ``"cost"`` or ``"seconds"``.

    Raises:
        ValueError: if a method has runs at several learning rates.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.problem == problem.name:
            groups.setdefault(run.method, []).append(run)
    for name, group in groups.items():
        rates = sorted({run.lr for run in group})
        if len(rates) > 1:
            raise ValueError(
                f"runs of {name!r} on {problem.name!r} have several learning rates, {rates}: give one each"
            )
    times = {name: [to_goal(run, problem, by) for run in group] for name, group in groups.items()}
    reference = times.get(baseline, [])
    raw = {name: _rank_test(own, reference) for name, own in times.items() if name != baseline and reference}
    corrected = dict(zip(raw, holm(list(raw.values())), strict=True))
    rows = []
    for name, group in groups.items():
        ratio, low, high = ratio_of_medians(reference, times[name])
        rows.append(
            Row(
                problem=problem.name,
                method=name,
                lr=group[0].lr,
                seeds=len(group),
                solved=sum(map(math.isfinite, times[name])),
                to_goal=times[name],
                final={part: [run.curves[part][-1] for run in group] for part in group[0].curves},
                ratio=ratio,
                low=low,
                high=high,
                p=corrected.get(name),
            )
        )
    return rows


def ratio_of_medians(reference: Sequence[float], own: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Return the ratio of the medians, and the ends of its 95 % percentile bootstrap interval.

    Args:
        reference: of the baseline; infinity where the goal was not reached.
        own: of the method.
        seed: of the resampling.

    Example:
        >>> ratio_of_medians([4.0, 4.0, 4.0], [2.0, 2.0, 2.0])
        (2.0, 2.0, 2.0)
    """
    if not reference or not own:
        return math.nan, math.nan, math.nan
    rng = np.random.default_rng(seed)
    tops, bottoms = _medians(reference, rng), _medians(own, rng)
    ratios = [_ratio(float(top), float(bottom)) for top, bottom in zip(tops, bottoms, strict=True)]
    known = np.array([ratio for ratio in ratios if not math.isnan(ratio)])
    low, high = (math.nan, math.nan)
    if len(known):
        low, high = (float(value) for value in np.quantile(known, [0.025, 0.975], method="inverted_cdf"))
    return _ratio(median(reference), median(own)), low, high


def _medians(values: Sequence[float], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    array = np.array(values, dtype=np.float64)
    drawn = np.sort(array[rng.integers(len(array), size=(RESAMPLES, len(array)))], axis=1)
    middle = len(array) // 2
    if len(array) % 2:
        result: npt.NDArray[np.float64] = drawn[:, middle]
        return result
    return (drawn[:, middle - 1] + drawn[:, middle]) / 2


def _ratio(top: float, bottom: float) -> float:
    if math.isinf(top) and math.isinf(bottom):
        return math.nan
    return math.inf if bottom == 0 else top / bottom


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's step-down correction, in their order.

    Source: Holm 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, most = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        most = max(most, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = most
    return corrected


def _rank_test(own: Sequence[float], reference: Sequence[float]) -> float:
    from scipy.stats import mannwhitneyu

    largest = 10.0 * max((value for value in (*own, *reference) if math.isfinite(value)), default=1.0)
    ranks = [[min(value, largest) for value in values] for values in (own, reference)]
    return float(mannwhitneyu(*ranks, alternative="two-sided").pvalue)


def best_static(rows: Sequence[Row], statics: Sequence[str]) -> Row | None:
    """Return the fastest of the static mixtures, ``None`` if none was tried.

    Where it is not faster than the baseline, no policy can be expected to help by its proportions: there is no head
    room.
    """
    found = [row for row in rows if row.method in statics]
    return min(found, key=lambda row: (median(row.to_goal), -row.solved, row.method), default=None)


def has_head_room(row: Row | None) -> bool:
    """Tell whether a static mixture is faster than the baseline beyond doubt: its whole interval is above 1."""
    return row is not None and row.low > 1.0
