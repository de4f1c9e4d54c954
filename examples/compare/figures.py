"""One picture per problem: the score of every run on its way to the goal, and what it took to get there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from curricula.tracking.curves import Comparison, Curve
from curricula.tracking.figures import comparison_figure
from curricula.tracking.whole_files import written_whole
from examples.compare.problem import Problem
from examples.compare.runs import Run
from examples.compare.statistics import to_goal

LABELS = {
    "uniform, mixed": "uniform",
    "uniform, one task a batch": "uniform, one task",
    "curriculum": "curriculum",
    "curriculum, 16 draws a batch": "curriculum, 16 draws",
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
    shown = [run for run in runs if run.problem == problem.name and run.method in LABELS]
    found = comparison(sorted(shown, key=lambda run: list(LABELS).index(run.method)), problem)
    figure = comparison_figure(found.curves, found.goal, label=found.label)
    if problem.rises:
        figure.axes[0].set_yscale("linear")
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return path


def comparison(runs: Iterable[Run], problem: Problem) -> Comparison:
    """Return the runs of one problem as curves, for figures and pages; methods in the order in which they occur."""
    curves: dict[str, list[Curve]] = {}
    for run in runs:
        reached = to_goal(run, problem)
        steps = int(reached) if reached <= run.budget else None
        curve = Curve(run.steps, run.curves[problem.of], steps, run.seed)
        curves.setdefault(LABELS.get(run.method, run.method), []).append(curve)
    return Comparison(curves, problem.goal, _label_of(problem))


def _label_of(problem: Problem) -> str:
    """Return what the score is that the goal is for, with its unit."""
    if problem.of == "solved":
        return "tasks solved"
    which = {"target": f"of {problem.target}", "mean": "mean of the tasks", "worst": "of the worst task"}
    return f"{problem.unit}, {which[problem.of]}"
