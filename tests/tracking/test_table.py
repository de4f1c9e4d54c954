"""A history as a table: what is written comes back."""

from __future__ import annotations

import builtins
import csv

import numpy as np
import pytest

from curricula.tracking import CurriculumHistory
from curricula.tracking.summary import peak_steps
from curricula.tracking.table import TABLES, write_table
from tests.tracking.histories import HOSTILE, lossless, staircase

NAMES = [*HOSTILE, 'comma, quote " and\nline', "naïve", "=1+1"]


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_step_comes_back_from_csv(tmp_path):
    history = staircase(NAMES, steps=80)
    kept = history._rows._rows
    kept[3] = (*kept[3][:3], np.nan, np.inf, *kept[3][5:])
    rows = read(write_table(history, tmp_path / "deep" / "history.csv"))
    columns = history.to_columns()
    assert list(rows[0]) == list(columns)
    assert [int(row["step"]) for row in rows] == columns["step"].tolist()
    spoken = {"line\nbreak\x00\x07": "line\nbreak\ufffd\ufffd", "=1+1": "'=1+1"}
    assert [row["task"] for row in rows] == [spoken.get(name, name) for name in columns["task"]]
    assert columns["task"] == [NAMES[arm] for arm in columns["arm"]]
    assert rows[3]["progress"] == rows[3]["reward"] == ""
    for name in ("probability", "progress", "reward", "loss"):
        values = [float(row[name] or "nan") for row in rows]
        expected = np.where(np.isfinite(columns[name]), columns[name], np.nan)
        np.testing.assert_array_equal(values, expected)


def test_parquet_has_the_same_with_types_and_nulls(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    history = staircase(NAMES, steps=80)
    for table, columns in TABLES.items():
        found = parquet.read_table(write_table(history, tmp_path / "history.parquet", table=table))
        for name, values in columns(history).items():
            kind = "string" if name == "task" else "int64" if name in ("step", "arm", "draws") else "double"
            assert str(found.schema.field(name).type) == kind
            got = [np.nan if value is None else value for value in found.column(name).to_pylist()]
            np.testing.assert_array_equal(got, values)
    found = parquet.read_table(write_table(lossless(), tmp_path / "lossless.parquet"))
    assert found.column("loss").null_count == found.num_rows == 30
    assert str(found.schema.field("loss").type) == "double"


def test_the_policies_have_a_row_per_snapshot_and_task(tmp_path):
    history = staircase(3, steps=20)
    rows = read(write_table(history, tmp_path / "policies.csv", table="policies"))
    steps, policies = history.policies()
    assert len(rows) == len(steps) * 3
    assert [float(row["probability"]) for row in rows[3:6]] == policies[1].astype(np.float64).tolist()
    assert {row["step"] for row in rows[3:6]} == {"1"}
    assert [row["task"] for row in rows[3:6]] == list(history.tasks)


def test_the_tasks_have_a_row_each(tmp_path):
    history = staircase(3, steps=200)
    history._tallies.draws[1] = 0
    rows = read(write_table(history, tmp_path / "tasks.csv", table="tasks"))
    assert [int(row["draws"]) for row in rows] == history.draws.tolist()
    peaks = [float(row["peak_step"] or "nan") for row in rows]
    np.testing.assert_array_equal(peaks, peak_steps(history))


def test_an_empty_history_is_a_header(tmp_path):
    assert read(write_table(CurriculumHistory(["a"]), tmp_path / "empty.csv")) == []


def test_halves_of_characters_are_replaced(tmp_path):
    assert read(write_table(staircase(["half \ud800"], steps=1), tmp_path / "a.csv"))[0]["task"] == "half ?"


def test_other_files_and_tables_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"one of \.csv, \.parquet, got 'a\.xlsx'"):
        write_table(staircase(2, steps=1), tmp_path / "a.xlsx")
    with pytest.raises(ValueError, match="one of steps, policies, tasks, got 'rows'"):
        write_table(staircase(2, steps=1), tmp_path / "a.csv", table="rows")


def test_without_the_extra_the_way_to_get_it_is_told(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *arguments, **options):
        if name.startswith("pyarrow"):
            raise ImportError("No module named 'pyarrow'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"pip install 'lightning-curricula\[table\]', or write a \.csv"):
        write_table(staircase(2, steps=1), tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []
