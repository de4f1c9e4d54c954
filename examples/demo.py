"""The main demonstration: two workloads with the curriculum and without, plots, and one page.

python -m examples.demo --out runs/demo
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from pytorch_lightning.loggers import WandbLogger

from curricula.tracking import CurriculumHistory
from curricula.tracking.figures import comparison_figure, losses_figure, policy_figure, syllabus_figure
from curricula.tracking.report import Section, write_report
from examples.compare.figures import comparison
from examples.compare.problem import Job, Problem
from examples.compare.problems import PROBLEMS, problem_of
from examples.compare.publish import BASELINE
from examples.compare.runs import Run, run_of, write_runs
from examples.compare.single import at_least, middle_rate, outcome
from examples.compare.statistics import Row, summarise
from examples.compare.tables import markdown, number, ratio, spread
from examples.compare.training import quiet, train

METHODS = ("curriculum", BASELINE, "uniform, one task a batch")


def main() -> None:
    """Train, draw, and say where to look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of everything that is written")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=["parity_staircase_8", "repeat_copy"])
    parser.add_argument(
        "--seeds", type=at_least(1), default=2, help="the first is shown with progress bars and logged to W&B"
    )
    parser.add_argument(
        "--steps", type=at_least(1), default=None, help="most optimiser steps of a run, for a quick look"
    )
    parser.add_argument("--jobs", type=at_least(1), default=os.cpu_count() or 1, help="processes, one thread each")
    options = parser.parse_args()
    start = time.perf_counter()
    quiet()
    problems = [_shortened(problem_of(name), options.steps) for name in options.problems]
    runs = _train_all(problems, options.seeds, options.jobs, options.out, options.steps)
    _write(problems, runs, options.out)
    print(f"trained {len(runs)} models in {time.perf_counter() - start:.0f} s")
    print(f"plots:     {options.out.resolve()}{os.sep}*.png")
    print(f"the page:  {(options.out / 'index.html').resolve()}")
    print(f"W&B runs:  {(options.out / 'wandb').resolve()}  (offline; `wandb sync` uploads them)")


def _shortened(problem: Problem, steps: int | None) -> Problem:
    return problem if steps is None else replace(problem, budget=steps)


def _train_all(problems: Sequence[Problem], seeds: int, jobs: int, out: Path, steps: int | None) -> list[Run]:
    out.mkdir(parents=True, exist_ok=True)
    left = [
        (problem.name, method, seed, steps) for seed in range(1, seeds) for problem in problems for method in METHODS
    ]
    runs = []
    # The first seed runs here, where its progress bars can be watched; the others beside it.
    with ProcessPoolExecutor(max(1, jobs - 1), multiprocessing.get_context("spawn"), initializer=quiet) as pool:
        futures: list[Future[Run]] = [pool.submit(_train_silently, *job) for job in left]
        for problem in problems:
            for method in METHODS:
                print(f"\n{problem.title}: {method}, seed 0", flush=True)
                logger = _wandb(problem, method, out)
                history = _history(problem, out) if method == "curriculum" else None
                job = Job(problem.name, method, middle_rate(problem), 0)
                record = train(problem, job, history=history, logger=logger, progress_bar=True)
                logger.experiment.finish()
                runs.append(run_of(record, problem))
                print(outcome(runs[-1], problem))
        if futures:
            print(f"\nwaiting for {sum(not future.done() for future in futures)} more runs of other seeds", flush=True)
        runs += [future.result() for future in futures]
    names = [problem.name for problem in problems]
    return sorted(runs, key=lambda run: (names.index(run.problem), METHODS.index(run.method), run.seed))


def _train_silently(name: str, method: str, seed: int, steps: int | None) -> Run:
    problem = _shortened(problem_of(name), steps)
    return run_of(train(problem, Job(name, method, middle_rate(problem), seed)), problem)


def _history(problem: Problem, out: Path) -> Path:
    return out / f"{problem.name}.history.json"


def _wandb(problem: Problem, method: str, out: Path) -> Any:
    os.environ.setdefault("WANDB_SILENT", "true")
    return WandbLogger(project="curricula-demo", name=f"{problem.name}, {method}", save_dir=out, offline=True)


def _write(problems: Sequence[Problem], runs: Sequence[Run], out: Path) -> None:
    sections, tables = [], []
    for problem in problems:
        own = [run for run in runs if run.problem == problem.name]
        rows = summarise(own, problem, BASELINE)
        curves, history = comparison(own, problem), CurriculumHistory.load(_history(problem, out))
        columns = [_columns(row, next(base for base in rows if base.method == BASELINE), problem) for row in rows]
        sections.append(
            Section(problem.title, problem.text + _FEW_SEEDS, table=columns, comparison=curves, history=history)
        )
        figures = {
            "comparison": comparison_figure(curves.curves, curves.goal, label=curves.label),
            "policy": policy_figure(history),
            "losses": losses_figure(history),
            "syllabus": syllabus_figure(history),
        }
        for kind, figure in figures.items():
            figure.savefig(out / f"{problem.name}-{kind}.png", dpi=120)
        tables.append(f"{problem.title}\n\n{markdown(rows, problem)}\n")
    text = "\n".join(tables)
    write_runs(runs, out / "runs.jsonl.gz")
    (out / "table.md").write_text(text, encoding="utf-8")
    write_report(out / "index.html", sections, title="Curriculum against uniform sampling")
    print(f"\n{text}")


_FEW_SEEDS = " A few seeds show the picture; the documentation has the table over many."


def _columns(row: Row, base: Row, problem: Problem) -> dict[str, object]:
    return {
        "method": row.method,
        "goal reached": f"{row.solved} of {row.seeds} seeds",
        "steps to the goal (median)": number(median(row.to_goal)),
        "min - max": spread(row).split(" [")[1].rstrip("]"),
        f"{BASELINE} / method": "" if row is base else ratio(row, base, problem.budget).split(" [")[0],
    }


if __name__ == "__main__":
    main()
