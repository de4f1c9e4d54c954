"""A history as a table for pandas, polars and the like: CSV with nothing else, Parquet through pyarrow."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from curricula.tracking.checks import check_history
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.summary import cost_shares, peak_steps, shares
from curricula.tracking.whole_files import written_whole

SUFFIXES = (".csv", ".parquet")


def step_columns(history: CurriculumHistory) -> dict[str, Any]:
    """Return a row per recorded optimiser step (:meth:`CurriculumHistory.to_columns`)."""
    return history.to_columns()


def policy_columns(history: CurriculumHistory) -> dict[str, Any]:
    """Return a row per snapshot of the policy and task: ``step``, ``task``, ``arm``, ``probability``."""
    steps, policies = history.policies()
    tasks = len(history.tasks)
    return {
        "step": np.repeat(steps, tasks),
        "task": list(history.tasks) * len(steps),
        "arm": np.tile(np.arange(tasks, dtype=np.int64), len(steps)),
        "probability": policies.astype(np.float64).ravel(),
    }


def task_columns(history: CurriculumHistory) -> dict[str, Any]:
    """Return a row per task.

    ``task``, ``arm``, ``draws``, ``share``, ``cost``, ``cost_share``, ``samples``, ``passes``, ``first_loss``,
    ``last_loss``, ``peak_step``.
    """
    return {
        "task": list(history.tasks),
        "arm": np.arange(len(history.tasks), dtype=np.int64),
        "draws": history.draws,
        "share": shares(history),
        "cost": history.costs,
        "cost_share": cost_shares(history),
        "samples": history.samples,
        "passes": history.passes,
        "first_loss": history.first_losses,
        "last_loss": history.last_losses,
        "peak_step": peak_steps(history),
    }


TABLES: dict[str, Callable[[CurriculumHistory], dict[str, Any]]] = {
    "steps": step_columns,
    "policies": policy_columns,
    "tasks": task_columns,
}
"""What :func:`write_table` writes, by name."""


def write_table(history: CurriculumHistory, path: str | Path, *, table: str = "steps") -> Path:
    """Write a history as a table.

    Numbers that are not finite become nulls (empty in CSV). The file appears whole or not at all.

    Parquet has the names of the tasks as they are. In CSV they are made safe for programs that take text for more than
    it is: one that a spreadsheet would read as a formula gets an apostrophe before it, and control characters other
    than tab and line feed become U+FFFD. The column ``arm`` tells the tasks apart in any case.

    Args:
        history: of any length.
        path: ends in ``.csv`` (UTF-8, with a header) or ``.parquet``; missing folders are made.
        table: one of :data:`TABLES`: a row per recorded step, per snapshot and task, or per task.

    Returns:
        The path.

    Raises:
        TypeError: if the history is none.
        ImportError: for Parquet, if the ``table`` extra is not installed.
        ValueError: if the path ends in something else, or there is no such table.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_table(CurriculumHistory(["easy", "hard"]), f"{folder}/history.csv").read_text().strip()
        'step,task,arm,probability,progress,reward,loss,cost,task_cost,total_cost'
    """
    check_history(history)
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a table is written as one of {', '.join(SUFFIXES)}, got {path.name!r}")
    if table not in TABLES:
        raise ValueError(f"table must be one of {', '.join(TABLES)}, got {table!r}")
    columns = {name: _nullable(values) for name, values in TABLES[table](history).items()}
    write = _write_csv if path.suffix == ".csv" else _parquet_writer()
    with written_whole(path) as temporary:
        write(temporary, columns)
    return path


def _nullable(values: Any) -> list[Any]:
    if isinstance(values, list):
        # Halves of characters, which no file can hold, become question marks.
        return [name.encode("utf-8", "replace").decode("utf-8") for name in values]
    if values.dtype.kind == "f":
        return [value if known else None for value, known in zip(values.tolist(), np.isfinite(values), strict=True)]
    whole: list[Any] = values.tolist()
    return whole


def _write_csv(path: Path, columns: dict[str, list[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator=os.linesep)
        writer.writerow(columns)
        safe = {
            name: [_cell(value) for value in values] if name == "task" else values for name, values in columns.items()
        }
        writer.writerows(zip(*safe.values(), strict=True))


_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _cell(name: str) -> str:
    text = _CONTROL.sub("\ufffd", name)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _parquet_writer() -> Callable[[Path, dict[str, list[Any]]], None]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ImportError(
            f"Parquet needs the table extra ({error}): pip install 'lightning-curricula[table]', or write a .csv"
        ) from error
    whole, text, number = pa.int64(), pa.string(), pa.float64()
    types = {"step": whole, "arm": whole, "draws": whole, "task": text}

    def write(path: Path, columns: dict[str, list[Any]]) -> None:
        arrays = {name: pa.array(values, types.get(name, number)) for name, values in columns.items()}
        parquet.write_table(pa.table(arrays), path)

    return write
