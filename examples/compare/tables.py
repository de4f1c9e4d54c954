"""Tables of what runs came to, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from examples.compare.problem import Problem
from examples.compare.statistics import Row


def markdown(rows: Sequence[Row], problem: Problem, by: str = "steps") -> str:
    """Return the rows of one problem as a table, fastest first.

    Args:
        rows: of :func:`~examples.compare.statistics.summarise`.
        problem: of the rows.
        by: what the goal is reached in.
    """
    parts = [part for part in ("mean", "worst", "target", "solved") if rows and part in rows[0].final]
    sign = ">=" if problem.rises else "<="
    head = [
        "method",
        "rate",
        "solved",
        f"{by} to {problem.of} {sign} {problem.goal:g}: median [min - max]",
        "ratio [95 %]",
        "p (Holm)",
        *(f"{part} at the end" for part in parts),
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in sorted(rows, key=lambda row: (median(row.to_goal), -row.solved, row.method)):
        spread = f"{_number(median(row.to_goal))} [{_number(min(row.to_goal))} - {_number(max(row.to_goal))}]"
        ratio = "" if math.isnan(row.ratio) else f"{row.ratio:.2f} [{row.low:.2f} - {row.high:.2f}]"
        finals = [f"{median(row.final[part]):.3f}" for part in parts]
        cells = [
            row.method,
            f"{row.lr:g}",
            f"{row.solved}/{row.seeds}",
            spread,
            ratio,
            "" if row.p is None else f"{row.p:.2g}",
            *finals,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _number(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:,.0f}"
