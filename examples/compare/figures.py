"""One picture per problem: the score of every run on its way to the goal, and what it took to get there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from curricula.tracking.curves import Curve
from curricula.tracking.figures import comparison_figure
from curricula.tracking.whole_files import written_whole
from examples.compare.problem import Problem
from examples.compare.runs import Run
from examples.compare.statistics import to_goal

LABELS = {
    "uniform, mixed": "uniform",
    "uniform, one task a batch": "uniform, one task",
    "curriculum": "curriculum",
    "curriculum, SPG": "curriculum, SPG",
    "curriculum, replayed: its mixture, mixed": "its mixture replayed",
    "target only": "target only",
    "by hand: useful tasks alone, mixed": "useful tasks alone",
    "proportional, mixed": "proportional",
}
"""The methods of a picture, and what they are called there."""


def draw(runs: Iterable[Run], problem: Problem, path: Path) -> Path:
    """Draw the runs of one problem.

    Args:
        runs: of reported seeds.
        problem: of the runs; others are left out.
        path: of the PNG.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.problem == problem.name and run.method in LABELS:
            groups.setdefault(run.method, []).append(run)
    curves = {LABELS[name]: curves_of(groups[name], problem) for name in LABELS if name in groups}
    figure = comparison_figure(curves, problem.goal, label=label_of(problem))
    if problem.rises:
        figure.axes[0].set_yscale("linear")
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return path


def curves_of(group: Sequence[Run], problem: Problem) -> list[Curve]:
    """Return the score of every run that its goal is for, over its steps."""
    found = []
    for run in group:
        reached = to_goal(run, problem)
        steps = int(reached) if reached <= run.budget else None
        found.append(Curve(run.steps, run.curves[problem.of], steps, run.seed))
    return found


def label_of(problem: Problem) -> str:
    """Return what the score is that the goal is for, with its unit."""
    if problem.of == "solved":
        return "tasks solved"
    which = {"target": f"of {problem.target}", "mean": "mean of the tasks", "worst": "of the worst task"}
    return f"{problem.unit}, {which[problem.of]}"
