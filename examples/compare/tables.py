"""Tables of what runs came to, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

from examples.compare.problem import Problem
from examples.compare.statistics import Row

EDGE = "†"
"""Beside a learning rate at the end of what every method could choose from."""


def markdown(rows: Sequence[Row], problem: Problem, by: str = "steps", beside: Mapping[str, Sequence[Row]] = {}) -> str:
    """Return the rows of one problem as a table, fastest first.

    Args:
        rows: of :func:`~examples.compare.statistics.summarise`.
        problem: of the rows.
        by: what the goal is reached in.
        beside: rows of the same runs by something else, such as seconds, of which the ratios are shown.
    """
    parts = [part for part in ("mean", "worst", "target", "solved") if rows and part in rows[0].final]
    ends = [] if problem.stops_at_goal else parts
    sign = ">=" if problem.rises else "<="
    head = [
        "method",
        "rate",
        "reached",
        f"{by} to {problem.of} {sign} {problem.goal:g}: median [min - max]",
        "ratio [95 %]",
        "p (Holm)",
        *(f"ratio by {other}" for other in beside),
        *(f"{part} at the end" for part in ends),
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    reference = next((row for row in rows if row.p is None), None)
    for row in sorted(rows, key=lambda row: (median(row.to_goal), -row.solved, row.method)):
        others = [next(other for other in found if other.method == row.method) for found in beside.values()]
        baseline = row is reference
        cells = [
            row.method,
            rate(row.lr, problem),
            f"{row.solved}/{row.seeds}",
            spread(row),
            "" if baseline else ratio(row, reference, problem.budget),
            "" if row.p is None else f"{row.p:.2g}",
            *("" if baseline or other.ratio in (0.0, math.inf) else _plain(other.ratio) for other in others),
            *(f"{median(row.final[part]):.3g}" for part in ends),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rate(lr: float, problem: Problem) -> str:
    """Return a learning rate, marked if a smaller or a larger one might have been better."""
    ends = (min(problem.learning_rates), max(problem.learning_rates))
    return f"{lr:g}{EDGE}" if lr in ends and len(problem.learning_rates) > 1 else f"{lr:g}"


def spread(row: Row) -> str:
    """Return the median of what it took to the goal, the least and the most."""
    return f"{number(median(row.to_goal))} [{number(min(row.to_goal))} - {number(max(row.to_goal))}]"


def ratio(row: Row, reference: Row | None, budget: float) -> str:
    """Return how much faster than the baseline a method is, with its interval.

    Where one of the two did not reach the goal in half of its runs, what is known is a bound: the other one's steps
    are compared with the whole budget.

    Args:
        row: of the method, by steps.
        reference: of the baseline.
        budget: steps of a run.
    """
    if reference is None or math.isnan(row.ratio):
        return ""
    own, base = median(row.to_goal), median(reference.to_goal)
    if math.isinf(base):
        return f"> {budget / own:.2f}"
    if math.isinf(own):
        return f"< {base / budget:.2f}"
    high = "∞" if math.isinf(row.high) else f"{row.high:.2f}"
    return f"{row.ratio:.2f} [{row.low:.2f} - {high}]"


def _plain(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def number(value: float) -> str:
    """Return a number of steps, or that there is none."""
    return "never" if math.isinf(value) else f"{value:,.0f}"
