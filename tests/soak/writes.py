"""Files of the curriculum whose writer is killed at random moments, again and again.

Run ``python -m tests.soak.writes --kills 100 --out docs/results``.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet

from curricula import Teacher
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.report import Section, write_report
from curricula.tracking.table import write_table

LENGTHS = (4000, 8000)
"""Steps of the histories that are written in turn, so many that writing takes its time."""

WRITERS: dict[str, Callable[[CurriculumHistory, Path], Any]] = {
    "history.json": lambda history, path: history.save(path),
    "steps.csv": write_table,
    "steps.parquet": write_table,
    "report.html": lambda history, path: write_report(path, [Section("A run", history=history)]),
}
"""Every kind of file that the library writes, and how."""


def history_of(steps: int) -> CurriculumHistory:
    """Return a history of so many steps over three tasks."""
    teacher = Teacher(["a", "b", "c"])
    history = CurriculumHistory(teacher.tasks)
    for step in range(steps):
        draw = teacher.draw()
        reward = teacher.reward(draw, 1.0 / (1 + step + draw.arm))
        history.record(draw, progress=0.1, reward=reward, loss=1.0 / (1 + step), policy=teacher.probabilities())
    return history


def write_for_ever(
    folder: Path, elsewhere: str | None, histories: list[CurriculumHistory], name: str, began: Any
) -> None:
    """Write one file over and over, in a process that somebody will kill."""
    if elsewhere is not None:
        os.environ["TMPDIR"] = tempfile.tempdir = elsewhere
    WRITERS[name](histories[0], folder / name)
    began.set()
    while True:
        for history in histories:
            WRITERS[name](history, folder / name)


def steps_in(path: Path) -> int:
    """Return how many steps a file is of; raise whatever reading it raises, if it is not whole."""
    if path.suffix == ".json":
        return CurriculumHistory.load(path).steps
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert {len(row) for row in rows} == {len(rows[0])}
        return len(rows) - 1
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).num_rows
    page = path.read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    return next(steps for steps in LENGTHS if f"{steps:,}" in page)


def survive(
    folder: Path, *, kills: int, seed: int, elsewhere: str | None = None, names: list[str] | None = None
) -> dict[str, int]:
    """Kill a writer so often, and look at its files after every time.

    Args:
        folder: for the files; must not exist.
        kills: how many processes are killed.
        seed: of the moments.
        elsewhere: folder for temporary files, on another file system.
        names: files to write, of :data:`WRITERS`; ``None``: all.

    Returns:
        Counts of kills, of files that were looked at, of those that were not whole, of kills in the middle of a write,
        and of the temporary files that there were at most.
    """
    folder.mkdir(parents=True)
    names = list(WRITERS) if names is None else names
    moments = random.Random(seed)
    context = multiprocessing.get_context("fork")
    histories = [history_of(steps) for steps in LENGTHS]
    total = {"kills": 0, "files": 0, "unreadable": 0, "in_a_write": 0, "most_left_over": 0}
    while total["kills"] < kills:
        began = context.Event()
        name = names[total["kills"] % len(names)]
        process = context.Process(target=write_for_ever, args=(folder, elsewhere, histories, name, began))
        process.start()
        began.wait(60)
        process.join(moments.uniform(0.0, 0.3))
        assert process.is_alive(), "the writer failed"
        process.kill()
        process.join()
        total["kills"] += 1
        left = [path for path in folder.iterdir() if path.name not in WRITERS]
        total["in_a_write"] += bool(left)
        total["most_left_over"] = max(total["most_left_over"], len(left))
        for path in folder.iterdir():
            if path.name in WRITERS:
                total["files"] += 1
                total["unreadable"] += not whole(path)
    return total


def whole(path: Path) -> bool:
    """Tell whether a file is one of those that were written, from beginning to end."""
    try:
        return steps_in(path) in LENGTHS
    except Exception:  # noqa: BLE001 - whatever it is, the file is lost
        return False


def another_file_system(folder: Path) -> str | None:
    """Return a folder for temporary files on another file system than ``folder``, or ``None``."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() and shared.stat().st_dev != folder.stat().st_dev else None


def main() -> None:
    """Kill writers and write what was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        elsewhere = another_file_system(Path(folder))
        found = survive(Path(folder) / "files", kills=options.kills, seed=options.seed, elsewhere=elsewhere)
    seconds = round(time.perf_counter() - start)
    result = {**found, "temporary_folder_on_another_file_system": elsewhere is not None, "seconds": seconds}
    if options.out is not None:
        (options.out / "writes.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
