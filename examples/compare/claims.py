"""What Graves et al. 2017 report, and what the published runs say of it at their size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from examples.compare.problem import Problem
from examples.compare.runs import Run
from examples.compare.statistics import summarise
from examples.compare.tables import number

_UNIFORM = "uniform, one task a batch"
"""What the paper compares with: its batches have one task."""


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        section: of the paper.
        text: what it reports.
        problem: that was made after its experiment.
        ours: from the runs of the problem to what they say.
    """

    section: str
    text: str
    problem: str
    ours: Callable[[Sequence[Run], Problem], str]


def order_at_the_end(runs: Sequence[Run], method: str) -> list[float]:
    """Return the mean order of the n-grams that each run trained on in the last quarter of its steps."""
    found = []
    for run in runs:
        if run.method == method and run.quarters is not None:
            counts = run.quarters[-1]
            found.append(sum(order * count for order, count in enumerate(counts)) / sum(counts))
    return found


def _finals(runs: Sequence[Run], method: str, part: str) -> list[float]:
    return [run.curves[part][-1] for run in runs if run.method == method]


def _spread(values: Sequence[float], digits: int = 2) -> str:
    if not values:
        return "not measured"
    return f"{median(values):.{digits}f} [{min(values):.{digits}f} - {max(values):.{digits}f}]"


def _finals_of(methods: Mapping[str, str], part: str, digits: int = 2) -> Callable[[Sequence[Run], Problem], str]:
    def ours(runs: Sequence[Run], problem: Problem) -> str:
        return "; ".join(f"{label} {_spread(_finals(runs, name, part), digits)}" for name, label in methods.items())

    return ours


def _against_uniform(methods: Mapping[str, str]) -> Callable[[Sequence[Run], Problem], str]:
    def ours(runs: Sequence[Run], problem: Problem) -> str:
        rows = {row.method: row for row in summarise(runs, problem, _UNIFORM)}
        found = []
        for name, label in {_UNIFORM: "uniform", **methods}.items():
            row = rows.get(name)
            if row is None:
                found.append(f"{label}: not measured")
                continue
            steps = number(median(row.to_goal)) + (" steps" if math.isfinite(median(row.to_goal)) else "")
            known = name != _UNIFORM and math.isfinite(row.ratio) and row.ratio > 0
            found.append(f"{label} {steps} ({row.solved}/{row.seeds}{f', {row.ratio:.2f}x' if known else ''})")
        return "; ".join(found)

    return ours


CLAIMS = [
    Claim(
        "5.1",
        "n-grams: complexity gains move to the sources of high order and stay there; of orders 0 to 10, the mean in "
        "the last quarter of the run with gradient L2 gain",
        "ngram",
        lambda runs, problem: _spread(order_at_the_end(runs, "curriculum, GL2G"), 1),
    ),
    Claim(
        "5.1",
        "Loss-driven signals get there more slowly and less surely: the same with the default, a prediction gain",
        "ngram",
        lambda runs, problem: _spread(order_at_the_end(runs, "curriculum"), 1),
    ),
    Claim(
        "5.1",
        "A curriculum is not needed there: training on the 10-gram alone is fastest; loss of the 10-gram at the end",
        "ngram",
        _finals_of(
            {"target only": "target only", _UNIFORM: "uniform", "curriculum, GL2G": "gradient L2 gain"}, "target"
        ),
    ),
    Claim(
        "5.2",
        "Repeat copy: training on the target alone fails",
        "repeat_copy",
        _against_uniform({"target only": "target only"}),
    ),
    Claim(
        "5.2",
        "Prediction gain and self prediction gain learn somewhat faster than uniform sampling",
        "repeat_copy",
        _against_uniform({"curriculum, PG": "PG", "curriculum, SPG": "SPG", "curriculum": "the default"}),
    ),
    Claim(
        "5.3",
        "bAbI: prediction gain completes more of the 20 types (error below 5 %) than uniform sampling; types at the "
        "end",
        "babi",
        _finals_of(
            {_UNIFORM: "uniform", "curriculum, PG": "PG", "curriculum": "the default"},
            "solved",
            0,
        ),
    ),
    Claim(
        "5.4",
        "Uniform sampling is a surprisingly strong benchmark: with samples of all tasks in a batch, which the paper "
        "does not try, it is stronger still; types of bAbI at the end",
        "babi",
        _finals_of({"uniform, mixed": "uniform, mixed", _UNIFORM: "uniform, one task a batch"}, "solved", 0),
    ),
]


def claims(runs: Sequence[Run], problem_of: Callable[[str], Problem]) -> str:
    """Return the claims beside what was found, as a Markdown table; median [min - max] over seeds.

    Args:
        runs: of reported seeds.
        problem_of: from a name to the problem.
    """
    lines = ["| section | the paper | here |", "|---|---|---|"]
    for claim in CLAIMS:
        own = [run for run in runs if run.problem == claim.problem]
        ours = claim.ours(own, problem_of(claim.problem)) if own else "not measured yet"
        lines.append(f"| {claim.section} | {claim.text} | {ours} |")
    return "\n".join(lines)
