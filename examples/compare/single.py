"""One training of one problem from the command line, with a progress bar and a page."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from curricula.tracking import CurriculumHistory
from curricula.tracking.report import Section, write_report
from examples.compare.figures import comparison
from examples.compare.problem import Job, Problem
from examples.compare.runs import Run, run_of
from examples.compare.statistics import to_goal
from examples.compare.training import method_on, quiet, train


def add_run_options(parser: argparse.ArgumentParser, out: Path) -> None:
    """Add the options that a single run of any problem has.

    Args:
        parser: gets them.
        out: folder of what is written, unless another is given.
    """
    parser.add_argument("--method", default="curriculum", help="as `python -m examples.compare list` has them")
    parser.add_argument("--seed", type=at_least(0), default=0)
    parser.add_argument("--lr", type=_rate, default=None, help="learning rate; the middle one of the problem's")
    parser.add_argument("--steps", type=at_least(1), default=None, help="most optimiser steps")
    parser.add_argument("--threads", type=at_least(1), default=1, help="of torch; small models are fastest with 1")
    parser.add_argument("--out", type=Path, default=out, help="folder of the history and the page")


def at_least(least: int) -> Callable[[str], int]:
    """Return the type of an option that is a whole number.

    Args:
        least: smallest that is allowed.

    Example:
        >>> at_least(1)("3")
        3
    """

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"it must be a whole number of at least {least}, got {text!r}")
        return value

    return read


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"it must be a number above 0, got {text!r}")
    return value


def run_from_command_line(problem: Problem, options: argparse.Namespace) -> int:
    """Train once with a progress bar, and write the page.

    A method that replays a run of another one needs that run: it is made first.

    Args:
        problem: to train on.
        options: of :func:`add_run_options`.

    Returns:
        0, or 2 if an option cannot be right; what and why is written to stderr.
    """
    quiet(options.threads)
    if options.steps is not None:
        problem = replace(problem, budget=options.steps)
    job = Job(problem.name, options.method, middle_rate(problem) if options.lr is None else options.lr, options.seed)
    try:
        replays, replayed = method_on(problem, job.method).replays, None
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{job.key}.history.json"
    path.unlink(missing_ok=True)
    if replays is not None:
        print(f"first the run that is replayed: {replays}", flush=True)
        replayed = train(problem, replace(job, method=replays), progress_bar=True)
    run = run_of(train(problem, job, replayed, history=path, progress_bar=True), problem)
    history = CurriculumHistory.load(path) if path.exists() else None
    section = Section(problem.title, problem.text, history=history, comparison=comparison([run], problem))
    page = write_report(options.out / "index.html", [section], title=f"{problem.title}: {options.method}")
    print(outcome(run, problem))
    print(f"the page: {page.resolve()}")
    return 0


def middle_rate(problem: Problem) -> float:
    """Return the learning rate in the middle of those that the problem has."""
    rates = sorted(problem.learning_rates)
    return rates[len(rates) // 2]


def outcome(run: Run, problem: Problem) -> str:
    """Return whether a run reached the goal, and after how many steps."""
    reached = to_goal(run, problem)
    return "goal not reached" if reached > problem.budget else f"goal reached after {reached:,.0f} steps"
