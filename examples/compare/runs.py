"""What tables, figures and pages need of a run: small enough for thousands of runs to lie in a repository."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curricula.tracking.whole_files import written_whole
from examples.compare.problem import Problem
from examples.compare.records import Record

FORMAT = 1
_DIGITS = 4
_PARTS = 4


@dataclass(frozen=True)
class Run:
    """A run without what only its replays need.

    Attributes:
        problem: its name.
        method: its name.
        lr: learning rate.
        seed: of everything.
        steps: at which it was evaluated.
        cost: of the batches until then, in the problem's unit.
        seconds: of the processor until then, evaluations left out.
        curves: ``"mean"``, ``"worst"`` and, where there are any, ``"target"`` and ``"solved"`` at each evaluation.
        final: task to its last held-out score.
        draws: batches, or samples, of each task that were trained on.
        quarters: the same in each quarter of the run, where a batch had one task; ``None`` otherwise.
        budget: optimiser steps.
        configuration: digest of what decided the outcome.
        versions: of packages, and the commit.
    """

    problem: str
    method: str
    lr: float
    seed: int
    steps: list[int]
    cost: list[float]
    seconds: list[float]
    curves: dict[str, list[float]]
    final: dict[str, float]
    draws: list[int]
    quarters: list[list[int]] | None
    budget: int
    configuration: str
    versions: dict[str, str]


def run_of(record: Record, problem: Problem) -> Run:
    """Return what is kept of a record; numbers are rounded to four digits, seconds to hundredths."""
    summaries = [problem.summary(record.at(place)) for place in range(len(record.steps))]
    return Run(
        problem=record.problem,
        method=record.method,
        lr=record.lr,
        seed=record.seed,
        steps=record.steps,
        cost=[round(value) for value in record.cost],
        seconds=[round(value, 2) for value in record.seconds],
        curves={part: [_rounded(found[part]) for found in summaries] for part in summaries[0]},
        final={task: _rounded(score) for task, score in record.at(-1).items()},
        draws=record.draws,
        quarters=None if record.arms is None else _quarters(record.arms, len(record.draws)),
        budget=record.budget,
        configuration=record.configuration,
        versions=record.versions,
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _quarters(arms: Sequence[int], number: int) -> list[list[int]]:
    return [np.bincount(part, minlength=number).tolist() for part in np.array_split(np.array(arms, int), _PARTS)]


def write_runs(runs: Iterable[Run], path: Path) -> Path:
    """Write one line of JSON per run, compressed; the same runs always make the same file."""
    content = io.BytesIO()
    with gzip.GzipFile(fileobj=content, mode="wb", mtime=0) as file:
        for run in sorted(runs, key=lambda run: (run.method, run.lr, run.seed)):
            file.write((json.dumps({"format": FORMAT, **asdict(run)}) + "\n").encode())
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        temporary.write_bytes(content.getvalue())
    return path


def read_runs(path: Path) -> list[Run]:
    """Return the runs of a file.

    Raises:
        ValueError: if it holds something else.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return [_run(json.loads(line)) for line in file]
    except (ValueError, TypeError, KeyError, EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} holds no runs of a comparison ({error}): publish it anew") from error


def _run(content: Mapping[str, Any]) -> Run:
    fields = dict(content)
    found = fields.pop("format")
    if found != FORMAT:
        raise ValueError(f"it has format {found}, and this version reads {FORMAT}")
    return Run(**fields)
