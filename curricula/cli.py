"""The command line: page, table and mixture of runs that were saved, and the dashboard of a W&B project."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from curricula.export import average_mixture, learned_schedule, write_shares
from curricula.schedule import check_suffix
from curricula.task_names import listed, printable
from curricula.tracking.dashboard import add_arguments, create_dashboard
from curricula.tracking.files import find_histories, read_history, run_name
from curricula.tracking.groups import same_tasks
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.report import Section, write_report
from curricula.tracking.table import TABLES, write_table

_RUNS = """RUN is a file that CurriculumHistory.save() wrote, a checkpoint of Lightning (.ckpt), or a folder that holds
such. NAME=RUN gives it a name."""

_EXAMPLES = """\
examples:
  python -m curricula report history.json -o page.html
  python -m curricula report curriculum=a0.json curriculum=a1.json uniform=b0.json -o page.html
  python -m curricula report lightning_logs/version_0 -o page.html
  python -m curricula table history.json -o history.csv
  python -m curricula export last.ckpt --to mixture.yaml
  python -m curricula export history.json --to schedule.json --schedule --points 50
  python -m curricula dashboard --entity my-team --project my-project
"""

_SECTIONS = 12
"""Most runs that have a section of their own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the name of the program; ``None``: those of the process.

    Returns:
        0; 1 if a run cannot be read or the output not be written, with a message on the standard error.

    Raises:
        SystemExit: with code 2, if the arguments make no sense.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        path = options.command(parser, options)
    except (OSError, ValueError, ImportError) as error:
        # Names of runs, tasks and files may hold anything, and a terminal would obey what it must only show.
        print(printable(f"python -m curricula: {error}"), file=sys.stderr)  # noqa: T201
        return 1
    print(printable(str(path)))  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m curricula",
        description="Look at curricula that were saved, and take from them what they have learned.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    report = commands.add_parser("report", help="write one HTML page; it compares the runs if they are several")
    report.add_argument("runs", nargs="+", metavar="RUN", help=_RUNS + " Runs of one name are its seeds.")
    report.add_argument("-o", "--out", type=Path, default=Path("curriculum.html"), help="the page (curriculum.html)")
    report.add_argument("--title", default="Curriculum", help="of the page")
    report.set_defaults(command=_report)
    table = commands.add_parser("table", help="write a table for pandas, polars and the like")
    table.add_argument("run", metavar="RUN", help=_RUNS)
    table.add_argument("-o", "--out", type=Path, required=True, help="ends in .csv or .parquet")
    table.add_argument("--table", choices=TABLES, default="steps", help="a row per what (steps)")
    table.set_defaults(command=_table)
    export = commands.add_parser("export", help="write what a run has learned, to train with it again")
    export.add_argument("run", metavar="RUN", help=_RUNS)
    export.add_argument("--to", type=Path, required=True, metavar="FILE", help="ends in .json, .yaml or .yml")
    export.add_argument("--schedule", action="store_true", help="the policy over time, not the mean over all draws")
    export.add_argument("--points", type=int, metavar="N", help="parts of the run in the schedule (20)")
    export.set_defaults(command=_export)
    dashboard = commands.add_parser("dashboard", help="lay out the curriculum in a view of a W&B project")
    add_arguments(dashboard)
    dashboard.set_defaults(command=_dashboard)
    return parser


def _report(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Path:
    if options.out.suffix not in (".html", ".htm"):
        parser.error(f"-o: the page ends in .html, got {options.out.name!r}")
    groups: dict[str, list[CurriculumHistory]] = {}
    for given in options.runs:
        for name, history in _read(given):
            groups.setdefault(name, []).append(history)
    return write_report(options.out, _sections(groups), title=options.title)


def _table(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Path:
    if options.out.suffix not in (".csv", ".parquet"):
        parser.error(f"-o: a table ends in .csv or .parquet, got {options.out.name!r}")
    return write_table(_read_one(options.run), options.out, table=options.table)


def _export(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Path:
    try:
        check_suffix(options.to)
    except ValueError as error:
        parser.error(f"--to: {error}")
    if options.points is not None and not options.schedule:
        parser.error("--points: a mixture has no points, give --schedule as well")
    history = _read_one(options.run)
    if not options.schedule:
        return write_shares(average_mixture(history), options.to)
    return write_shares(learned_schedule(history, 20 if options.points is None else options.points), options.to)


def _dashboard(parser: argparse.ArgumentParser, options: argparse.Namespace) -> str:
    return create_dashboard(options.entity, options.project, name=options.name)


def _read(given: str) -> list[tuple[str, CurriculumHistory]]:
    name, path = _split(given)
    return [(name or run_name(file), read_history(file)) for file in find_histories(path)]


def _read_one(given: str) -> CurriculumHistory:
    runs = list(_read(given))
    if len(runs) > 1:
        names = listed([name for name, _ in runs])
        raise ValueError(f"{given} holds {len(runs)} runs ({names}): give one file")
    return runs[0][1]


def _split(given: str) -> tuple[str, Path]:
    # The names of Lightning's checkpoints hold "=" themselves.
    name, equals, rest = given.partition("=")
    if not equals or not name or "/" in name or "\\" in name or Path(given).exists():
        return "", Path(given)
    return name, Path(rest)


def _sections(groups: dict[str, list[CurriculumHistory]]) -> list[Section]:
    runs = [
        (name + (f", run {place + 1} of {len(group)}" if len(group) > 1 else ""), history)
        for name, group in groups.items()
        for place, history in enumerate(group)
    ]
    if len(runs) == 1:
        return [Section(runs[0][0], history=runs[0][1])]
    text = f"{len(runs)} runs of {len(groups)} names." if len(groups) < len(runs) else f"{len(runs)} runs."
    if not same_tasks(groups):
        text += " The runs have different tasks, so that their losses do not compare."
    if len(runs) > _SECTIONS:
        text += f" The first {_SECTIONS} are shown one by one below."
    sections = [Section(name, history=history) for name, history in runs[:_SECTIONS]]
    return [Section("Side by side", text, runs=groups), *sections]
