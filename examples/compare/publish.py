"""From records to what the documentation shows: archives, tables and pictures. No number is written by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from curricula.tracking.whole_files import written_whole
from examples.compare.claims import claims
from examples.compare.figures import draw
from examples.compare.methods import METHODS
from examples.compare.problem import Problem
from examples.compare.published import PUBLISHED, STATIC
from examples.compare.records import digest
from examples.compare.runs import Run, read_runs, write_runs
from examples.compare.schedule import FIRST_SEED
from examples.compare.statistics import Row, best_static, has_head_room, summarise
from examples.compare.tables import EDGE, markdown, number, ratio

BASELINE = "uniform, mixed"
"""A shuffled batch with samples of all tasks: what people train on without a curriculum."""
_SHOWN = (
    "uniform, one task a batch",
    "curriculum",
    "curriculum, 16 draws a batch",
    "curriculum, replayed: its mixture, mixed",
)
_DRAWS = ("4 draws a batch", "16 draws a batch", "a draw per sample")
_BESIDE = ("cost", "seconds")


def archive(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write the runs of each problem into a file of its own.

    Args:
        runs: of reported seeds.
        folder: of the archives, one per problem; those of other problems stay.
    """
    names = dict.fromkeys(run.problem for run in runs)
    return [write_runs([run for run in runs if run.problem == name], folder / f"{name}.jsonl.gz") for name in names]


def read_archives(folder: Path) -> list[Run]:
    """Return the runs of all archives of a folder, in the order in which the problems are published."""
    order = list(PUBLISHED)
    found = [run for path in sorted(folder.glob("*.jsonl.gz")) for run in read_runs(path)]
    return sorted(found, key=lambda run: order.index(run.problem) if run.problem in order else len(order))


def published(problem: Problem) -> list[str]:
    """Return the methods that are published of a problem, without those that cannot be used on it."""
    return [name for name in PUBLISHED[problem.name] if METHODS[name].refuses(problem) is None]


def with_archived(runs: Sequence[Run], archived: Sequence[Run], problem: Problem) -> list[Run]:
    """Return new runs of a problem, and the archived ones of methods that were not run anew.

    Archived replays of a method that was run anew are left out: they are of other runs.

    Args:
        runs: new ones, of any problems.
        archived: of any problems.
        problem: whose runs are returned.

    Raises:
        ValueError: if an archived run is of the problem as it was before.
    """
    new = [run for run in runs if run.problem == problem.name]
    made = {run.method for run in new}
    kept = [
        run
        for run in archived
        if run.problem == problem.name and run.method not in made and METHODS[run.method].replays not in made
    ]
    other = [run for run in kept if run.configuration != digest(problem)]
    if other:
        raise ValueError(
            f"the archived runs of {other[0].method!r} are of another configuration of {problem.name!r}: run them "
            "anew, or delete the archive"
        )
    return [*new, *kept]


def lacking(runs: Sequence[Run], problem: Problem) -> list[str]:
    """Return the runs that are published of a problem and are not there yet."""
    made = {(run.method, run.seed) for run in runs if run.problem == problem.name}
    seeds = range(FIRST_SEED, FIRST_SEED + problem.seeds)
    return [f"{name!r} with seed {seed}" for name in published(problem) for seed in seeds if (name, seed) not in made]


def publish(runs: Sequence[Run], problem_of: Callable[[str], Problem], out: Path) -> None:
    """Write the overview, and one table and one picture per problem.

    Args:
        runs: of reported seeds, one learning rate per method.
        problem_of: from a name to the problem.
        out: folder that is written into.
    """
    for name, content in tables(runs, problem_of).items():
        _write(out / f"{name}.md", content)
    for name in dict.fromkeys(run.problem for run in runs):
        draw(runs, problem_of(name), out / f"{name}.png")


def table(runs: Sequence[Run], problem: Problem) -> str:
    """Return all that is published of one problem but the picture: the table, head room, what was left out and why."""
    own = [run for run in runs if run.problem == problem.name]
    rows = summarise(own, problem, BASELINE)
    varies = len({run.cost[0] / run.steps[0] for run in own}) > 1
    beside = {by: summarise(own, problem, BASELINE, by) for by in _BESIDE if by != "cost" or varies}
    lines = [markdown(rows, problem, beside=beside), ""]
    if any(EDGE in line for line in lines[0].splitlines()):
        lines += [f"{EDGE} at the end of what was tried: another rate might be better.", ""]
    if varies:
        lines += [f"Cost is counted in {problem.unit_of_cost}.", ""]
    lines += [_head_room(rows), *_left_out(problem, {row.method for row in rows})]
    return "\n".join(lines).rstrip()


def _head_room(rows: Sequence[Row]) -> str:
    best = best_static(rows, STATIC)
    if best is None:
        return "Head room: no other static mixture was tried."
    says = f"the best static mixture is *{best.method}*, median {number(median(best.to_goal))}"
    if has_head_room(best):
        if math.isinf(best.ratio):
            return f"**Head room**: {says}; *{BASELINE}* reaches the goal in half of its runs at the most."
        return f"**Head room**: {says}, {best.ratio:.2f} times as fast as *{BASELINE}*."
    return f"**No head room**: {says}, which is not faster than *{BASELINE}* beyond doubt."


def _left_out(problem: Problem, made: set[str]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name in PUBLISHED.get(problem.name, tuple(METHODS)):
        reason = METHODS[name].refuses(problem)
        if name not in made:
            reasons.setdefault(reason or "not run", []).append(name)
    return [f"\nLeft out: {'; '.join(f'*{name}*' for name in names)}: {why}." for why, names in reasons.items()]


def overview(runs: Sequence[Run], problems: Sequence[Problem]) -> str:
    """Return one line per problem: the baseline, and how much faster or slower the others are."""
    head = ["workload", "goal", f"steps, {BASELINE}", "uniform, one task a batch", "curriculum, one task a batch"]
    head += ["**curriculum, 16 draws a batch**", "its mixture replayed, mixed", "best static mixture"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for problem in problems:
        rows = {row.method: row for row in summarise(runs, problem, BASELINE)}
        base = rows.get(BASELINE)
        best = best_static(list(rows.values()), STATIC)
        sign = "≥" if problem.rises else "≤"
        cells = [
            problem.title,
            f"{problem.of} {sign} {problem.goal:g} {'' if problem.of == 'solved' else problem.unit}",
        ]
        cells.append("" if base is None else f"{number(median(base.to_goal))} ({base.solved}/{base.seeds})")
        cells += [_cell(rows.get(name), base, problem) for name in _SHOWN]
        cells.append("" if best is None else f"{_cell(best, base, problem)}: {best.method}")
        lines.append("| " + " | ".join(cell.strip() for cell in cells) + " |")
    return "\n".join(lines)


def mixing(runs: Sequence[Run], problems: Sequence[Problem]) -> str:
    """Return one line per curriculum, with one draw a batch and with several, and one column per problem."""
    several = {run.problem for run in runs if run.method.endswith(_DRAWS)}
    shown = [problem for problem in problems if problem.name in several]
    rows = {problem.name: {row.method: row for row in summarise(runs, problem, BASELINE)} for problem in shown}
    lines = ["| " + " | ".join(["signal, draws", *(problem.title for problem in shown)]) + " |"]
    lines.append("|" + "---|" * (len(shown) + 1))
    for signal, said in {"": "the default", ", PG": "PG", ", SPG": "SPG"}.items():
        for draws in ("", *(f", {each}" for each in _DRAWS)):
            name = f"curriculum{signal}{draws}"
            found = [rows[problem.name].get(name) for problem in shown]
            if any(found):
                base = [rows[problem.name].get(BASELINE) for problem in shown]
                cells = [_cell(*each) for each in zip(found, base, shown, strict=True)]
                lines.append("| " + " | ".join([f"{said}{draws or ', one task a batch'}", *cells]) + " |")
    return "\n".join(lines)


def _cell(row: Row | None, base: Row | None, problem: Problem) -> str:
    if row is None:
        return ""
    missed = "" if row.solved == row.seeds else f", {row.solved}/{row.seeds}"
    return f"{ratio(row, base, problem.budget) or 'neither'}{missed}"


def between(text: str, name: str, content: str) -> str:
    r"""Return the text with what stands between two marks replaced.

    Args:
        text: with the lines ``<!-- name -->`` and ``<!-- end of name -->``.
        name: of the marks.
        content: to stand between them.

    Raises:
        ValueError: if the marks are not there once each.

    Example:
        >>> between("<!-- a -->\nold\n<!-- end of a -->", "a", "new")
        '<!-- a -->\nnew\n<!-- end of a -->'
    """
    first, last = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    if text.count(first) != 1 or text.count(last) != 1:
        raise ValueError(f"the text must have the lines {first.strip()!r} and {last.strip()!r} once each")
    start, rest = text.split(first)
    return start + first + content + last + rest.split(last)[1]


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        temporary.write_text(content + "\n", encoding="utf-8")


def tables(runs: Sequence[Run], problem_of: Callable[[str], Problem]) -> Mapping[str, str]:
    """Return the name and the content of every table, as :func:`publish` writes them."""
    problems = [problem_of(name) for name in dict.fromkeys(run.problem for run in runs)]
    found = {"overview": overview(runs, problems), "claims": claims(runs, problem_of), "mixing": mixing(runs, problems)}
    return {**found, **{problem.name: table(runs, problem) for problem in problems}}
