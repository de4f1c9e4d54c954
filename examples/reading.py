"""Curricula to learn to read from: healthy, uniform, collapsed, jumping, noise-chasing; two minutes.

python -m examples.reading --out docs/reading
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from curricula import CurriculumCallback
from curricula.bandits import Exp3, Exp3S, FixedPolicy
from curricula.signals import GradientPredictionGain, PredictionGain, SelfPredictionGain
from curricula.tracking import CurriculumHistory
from curricula.tracking.figures import losses_figure, policy_figure
from curricula.tracking.report import Section, write_report
from curricula.tracking.summary import effective_numbers, shares
from examples.compare.methods import Setting, curriculum
from examples.compare.problem import Job, Problem
from examples.compare.problems import problem_of
from examples.compare.runs import Run, run_of
from examples.compare.single import at_least, middle_rate
from examples.compare.statistics import to_goal
from examples.compare.training import quiet, train

BUDGET = 6_000
"""Optimiser steps of a run."""


@dataclass(frozen=True)
class Case:
    """A curriculum to be read.

    Attributes:
        title: what it is an example of.
        problem: name of what it is trained on.
        callback: makes the curriculum.
    """

    title: str
    problem: str
    callback: Callable[[Setting], CurriculumCallback]


CASES = {
    "healthy": Case(
        "A healthy curriculum", "parity_staircase", lambda work: CurriculumCallback(target=work.problem.target)
    ),
    "uniform": Case(
        "Uniform sampling",
        "parity_staircase",
        lambda work: CurriculumCallback(FixedPolicy.uniform(), GradientPredictionGain(), target=work.problem.target),
    ),
    "collapsed": Case(
        "A collapsed curriculum: a large step, no exploration, no sharing",
        "parity_staircase",
        lambda work: CurriculumCallback(Exp3(eta=0.1, epsilon=0.0), PredictionGain(), target=work.problem.target),
    ),
    "jumping": Case(
        "A jumping curriculum: far too large a step",
        "parity_staircase",
        lambda work: CurriculumCallback(Exp3S(eta=1.0, epsilon=0.0), PredictionGain(), target=work.problem.target),
    ),
    "noise": Case(
        "A curriculum that chases noise",
        "junk_arms_4_10_6",
        lambda work: CurriculumCallback(signal=PredictionGain(), target=work.problem.target),
    ),
    "fresh-batch": Case(
        "The same with progress measured on a fresh batch",
        "junk_arms_4_10_6",
        lambda work: CurriculumCallback(signal=SelfPredictionGain(), target=work.problem.target),
    ),
}

_WITH_LOSSES = ("healthy", "noise")


def main() -> None:
    """Train, draw, and print the numbers that the page names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/reading"), help="folder of the figures")
    parser.add_argument("--runs", type=Path, default=Path("runs/reading"), help="folder of the histories and the page")
    parser.add_argument("--steps", type=at_least(1), default=BUDGET, help="optimiser steps of a run")
    options = parser.parse_args()
    quiet()
    options.out.mkdir(parents=True, exist_ok=True)
    options.runs.mkdir(parents=True, exist_ok=True)
    sections, rows = [], []
    for name, case in CASES.items():
        problem = problem_of(case.problem)
        # The run goes on beyond the goal: what a curriculum does once all is learned is to be seen, too.
        forever = replace(problem, budget=options.steps, stops_at_goal=False)
        job, path = Job(problem.name, name, middle_rate(problem), 0), options.runs / f"{name}.history.json"
        run = run_of(train(forever, job, make=curriculum(case.callback), history=path), forever)
        history = CurriculumHistory.load(path)
        policy_figure(history).savefig(options.out / f"{name}.png", dpi=80)
        if name in _WITH_LOSSES:
            losses_figure(history).savefig(options.out / f"{name}-losses.png", dpi=80)
        sections.append(Section(case.title, problem.text, history=history))
        rows.append(_numbers(name, run, problem, history))
    text = _markdown(rows)
    (options.runs / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    print(f"the page: {write_report(options.runs / 'index.html', sections, title='Curricula to read')}")


def _numbers(name: str, run: Run, problem: Problem, history: CurriculumHistory) -> dict[str, str]:
    numbers = effective_numbers(history)
    noise = [place for place, task in enumerate(history.tasks) if task.startswith("noise")]
    useful = [place for place, task in enumerate(history.tasks) if task.startswith("k=")]
    share = shares(history)
    reached = to_goal(run, problem)
    return {
        "curriculum": name,
        "tasks": f"{len(history.tasks)}",
        "effective tasks: median": f"{np.median(numbers):.1f}",
        "least": f"{numbers.min():.1f}",
        "at the end": f"{numbers[-1]:.1f}",
        "share of the most practised": f"{share.max():.0%} ({history.tasks[int(share.argmax())]})",
        "share of useful tasks": f"{share[useful].sum():.0%}",
        "share of noise": f"{share[noise].sum():.0%}" if noise else "–",
        "goal": "not reached" if math.isinf(reached) else f"after {reached:,.0f} steps",
    }


def _markdown(rows: list[dict[str, str]]) -> str:
    lines = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row.values()) + " |" for row in rows])


if __name__ == "__main__":
    main()
