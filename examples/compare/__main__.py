"""Compare methods on problems.

python -m examples.compare run                          # everything that is published: 3 hours on two cores
python -m examples.compare run --problems parity_staircase_8 --methods "uniform, mixed" curriculum --seeds 8
python -m examples.compare table --out runs/compare
python -m examples.compare list

Learning rates are chosen for every method alike on two tuning seeds, and what is reported is measured on others. Every
run is one file: a command that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from examples.compare.methods import METHODS, named
from examples.compare.problem import Job, Problem
from examples.compare.problems import PROBLEMS, problem_of
from examples.compare.publish import (
    BASELINE,
    archive,
    between,
    lacking,
    publish,
    published,
    read_archives,
    with_archived,
)
from examples.compare.published import PUBLISHED
from examples.compare.records import Record, Records, write_csv
from examples.compare.runs import Run, run_of
from examples.compare.schedule import FIRST_SEED, Failure, choose_rates, expand, make_all, tuning_jobs
from examples.compare.statistics import BY, summarise
from examples.compare.tables import markdown


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, and do what it says."""
    options = _parser().parse_args(arguments)
    try:
        action: Callable[[argparse.Namespace], int] = options.action
        return action(options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        kept = "what was recorded is kept, and the same command goes on from there"
        print(f"cannot go on: {error}. Make room or give another --out; {kept}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(required=True)
    run = actions.add_parser("run", help="make the runs that are missing, and print the tables")
    run.add_argument("--problems", nargs="+", default=list(PUBLISHED), help="those that are published")
    run.add_argument("--methods", nargs="+", default=None, help="instead of those that are published of each problem")
    run.add_argument("--seeds", type=int, default=None, help="runs of each method that are reported, instead of 6 or 8")
    run.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes, one thread each")
    run.add_argument("--lr", type=float, default=None, help="one learning rate for all, without tuning")
    run.set_defaults(action=_run)
    table = actions.add_parser("table", help="print the tables of the runs that are there")
    table.set_defaults(action=_table)
    publish = actions.add_parser("publish", help="write archives, tables and pictures of the reported runs")
    publish.add_argument("--to", type=Path, default=Path("docs/results/compare"))
    publish.add_argument("--readme", type=Path, default=Path("README.md"), help="gets the overview between its marks")
    publish.set_defaults(action=_publish)
    for action in (run, table, publish):
        action.add_argument("--out", type=Path, default=Path("runs/compare"))
    for action in (run, table):
        action.add_argument("--by", choices=BY, default="steps")
        action.add_argument("--baseline", default=BASELINE)
    actions.add_parser("list", help="list problems and methods").set_defaults(action=_list)
    return parser


def _run(options: argparse.Namespace) -> int:
    problems = [problem_of(name) for name in options.problems]
    for name in (*(options.methods or ()), options.baseline):
        named("method", name, METHODS)
    if options.seeds is not None and options.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {options.seeds}: leave it out for the published number")
    records = Records(options.out)
    failures = [failure for problem in problems for failure in _run_problem(problem, records, options)]
    _print_tables(records, records.all(), problems, options)
    return _tell(failures)


def _run_problem(problem: Problem, records: Records, options: argparse.Namespace) -> list[Failure]:
    methods = _methods(problem, options)
    if options.lr is None:
        failures = _make(f"{problem.name}, tuning", tuning_jobs([problem], methods), records, options)
        if failures:
            return failures
        rates = choose_rates([problem], methods, records)
    else:
        rates = {(problem.name, name): options.lr for name in METHODS}
    seeds = range(FIRST_SEED, FIRST_SEED + (problem.seeds if options.seeds is None else options.seeds))
    return _make(f"{problem.name}, reported", expand([problem], methods, seeds, rates), records, options)


def _methods(problem: Problem, options: argparse.Namespace) -> Sequence[str]:
    asked: Sequence[str] | None = getattr(options, "methods", None)
    return asked or PUBLISHED.get(problem.name, tuple(METHODS))


def _make(title: str, jobs: Sequence[Job], records: Records, options: argparse.Namespace) -> list[Failure]:
    start, before = time.perf_counter(), None

    def say(done: int, total: int, job: Job) -> None:
        nonlocal before
        before = done - 1 if before is None else before
        seconds = time.perf_counter() - start
        left = seconds / (done - before) * (total - done)
        print(f"{title} {done}/{total}, about {left / 60:.0f} min left: {job.key}", flush=True)

    print(f"{title}: {len(jobs)} runs", flush=True)
    return make_all(jobs, problem_of, records, processes=options.jobs, report=say)


def _tell(failures: Sequence[Failure]) -> int:
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _table(options: argparse.Namespace) -> int:
    records = Records(options.out)
    made = records.all()
    names = dict.fromkeys(record.problem for record in made)
    if not names:
        raise ValueError(f"{options.out} has no records: make some with `python -m examples.compare run`")
    _print_tables(records, made, [problem_of(name) for name in names], options)
    return 0


def _print_tables(records: Records, made: list[Record], problems: list[Problem], options: argparse.Namespace) -> None:
    runs = [run for problem in problems for run in _reported(records, made, problem)]
    for problem in problems:
        rows = summarise(runs, problem, options.baseline, options.by)
        print(f"\n{problem.title}\n\n{markdown(rows, problem, options.by)}")
        for name, method in METHODS.items():
            reason = method.refuses(problem)
            if reason is not None and name in _methods(problem, options):
                print(f"\n{name}: left out, since {reason}.")
    print(f"\nall rows: {write_csv(made, options.out / 'runs.csv')}")


def _reported(records: Records, made: Sequence[Record], problem: Problem) -> list[Run]:
    found = [record for record in made if record.seed >= FIRST_SEED and record.problem == problem.name]
    return [run_of(records.checked(record, problem), problem) for record in found]


def _publish(options: argparse.Namespace) -> int:
    records = Records(options.out)
    made = records.all()
    names = {record.problem for record in made}
    runs: list[Run] = []
    archived = read_archives(options.to / "archive")
    for problem in (problem_of(name) for name in PUBLISHED if name in names):
        methods = published(problem)
        new = [run for run in _reported(records, made, problem) if run.method in methods]
        found = with_archived(new, archived, problem)
        missing = lacking(found, problem)
        if missing:
            print(f"{problem.name} is not published yet, {len(missing)} runs are missing: {missing[0]}, ...")
        else:
            runs += found
    archive(runs, options.to / "archive")
    publish(read_archives(options.to / "archive"), problem_of, options.to)
    text = options.readme.read_text(encoding="utf-8")
    shown = between(text, "overview", (options.to / "overview.md").read_text(encoding="utf-8").rstrip())
    options.readme.write_text(shown, encoding="utf-8")
    print(f"tables and pictures of {len(runs)} new runs: {options.to}")
    return 0


def _list(options: argparse.Namespace) -> int:
    print("problems:", *PROBLEMS, sep="\n  ")
    print("methods:", *METHODS, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
