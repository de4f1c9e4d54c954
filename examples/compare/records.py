"""Records of runs: one file each, whole or not there, never mixed with those of another configuration."""

from __future__ import annotations

import csv
import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from curricula.tracking.whole_files import written_whole
from examples.compare.problem import Job, Problem

FORMAT = 1
_PACKAGES = ("torch", "numpy", "pytorch-lightning")


@dataclass(frozen=True)
class Record:
    """What one training came to.

    Attributes:
        problem: its name.
        method: its name.
        lr: learning rate.
        seed: of everything.
        steps: at which it was evaluated.
        samples: trained on until then.
        cost: of the batches trained on until then, in the problem's unit.
        seconds: of the processor until then, evaluations left out: other programs change them little.
        scores: task to its held-out score at each of these steps.
        draws: batches, or samples, of each task that were trained on.
        unit_of_draws: ``"batches"`` or ``"samples"``.
        arms: task of every batch, where a batch had one.
        budget: optimiser steps.
        configuration: digest of what decided the outcome.
        versions: of packages, and the commit.
    """

    problem: str
    method: str
    lr: float
    seed: int
    steps: list[int]
    samples: list[int]
    cost: list[float]
    seconds: list[float]
    scores: dict[str, list[float]]
    draws: list[int]
    unit_of_draws: str
    arms: list[int] | None
    budget: int
    configuration: str
    versions: dict[str, str]

    def at(self, place: int) -> dict[str, float]:
        """Return the tasks' scores at one of the evaluations."""
        return {task: values[place] for task, values in self.scores.items()}


class Records:
    """A folder of records.

    Args:
        folder: made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, job: Job) -> Path:
        """Return the file of a job."""
        return self.folder / f"{job.key}.json"

    def add(self, job: Job, record: Record) -> None:
        """Write a record; a full disk or a kill leaves what was there."""
        content = json.dumps({"format": FORMAT, **asdict(record)})
        with written_whole(self.path(job)) as temporary:
            temporary.write_text(content, encoding="utf-8")

    def get(self, job: Job, problem: Problem) -> Record | None:
        """Return the record of a job, ``None`` if it has not been made.

        Raises:
            ValueError: if the file is damaged, or of another configuration.
        """
        path = self.path(job)
        if not path.exists():
            return None
        return self.checked(read(path), problem, job.steps)

    def checked(self, record: Record, problem: Problem, steps: int | None = None) -> Record:
        """Return a record of the folder if it is of the problem as it is now.

        Raises:
            ValueError: if it is of another configuration.
        """
        expected = digest(problem, steps)
        if record.configuration != expected:
            path = self.path(Job(record.problem, record.method, record.lr, record.seed, steps))
            raise ValueError(
                f"{path} is of another configuration of {record.problem!r} ({record.configuration}, and it is "
                f"{expected} now): the two must not be mixed. Give another folder, or remove the records of before"
            )
        return record

    def all(self) -> list[Record]:
        """Return all records of the folder, in the order of their names."""
        return [read(path) for path in sorted(self.folder.glob("*.json"))]


def read(path: Path) -> Record:
    """Return the record in a file.

    Raises:
        ValueError: if it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content.pop("format")
        if found != FORMAT:
            raise ValueError(f"it has format {found}, and this version reads {FORMAT}")
        return Record(**content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is no record of a run ({error}): remove it, and it is made anew") from error


def digest(problem: Problem, steps: int | None = None) -> str:
    """Return 12 signs that differ where anything does that decides the outcome of a run."""
    text = json.dumps([problem.configuration(), steps], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def versions() -> dict[str, str]:
    """Return the versions of what is run with, and the commit, where there is one."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return {**found, "commit": done.stdout.strip()} if done.returncode == 0 else found


COLUMNS = (
    "problem",
    "method",
    "lr",
    "seed",
    "step",
    "samples",
    "cost",
    "seconds",
    "task",
    "score",
    "configuration",
    "commit",
)


def write_csv(records: Iterable[Record], path: Path) -> Path:
    """Write one row per run, evaluation and task."""
    with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_rows(records))
    return path


def write_parquet(records: Iterable[Record], path: Path) -> Path:
    """Write the same rows as Parquet (extra ``table``)."""
    import pyarrow as pa
    from pyarrow import parquet

    rows: Sequence[tuple[Any, ...]] = list(_rows(records))
    table = pa.table({name: [row[place] for row in rows] for place, name in enumerate(COLUMNS)})
    with written_whole(path) as temporary:
        parquet.write_table(table, temporary)
    return path


def _rows(records: Iterable[Record]) -> Iterable[tuple[Any, ...]]:
    for record in records:
        who = (record.problem, record.method, record.lr, record.seed)
        how = (record.configuration, record.versions.get("commit", ""))
        for place, step in enumerate(record.steps):
            when = (step, record.samples[place], record.cost[place], round(record.seconds[place], 3))
            for task, score in record.at(place).items():
                yield (*who, *when, task, score, *how)
