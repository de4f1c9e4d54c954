"""What is sent, before any logger has it: lines, the table of the tasks, plain numbers, and how often."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import pytest

from curricula.tracking.loggers.lines import POINTS, TASKS, mean_lines, policy_lines
from curricula.tracking.loggers.numbers import plain
from curricula.tracking.loggers.schedule import entry_due, moment_due
from curricula.tracking.loggers.tasks import COLUMNS, ROWS, task_rows
from tests.tracking.histories import HOSTILE, lossless, staircase


@pytest.mark.parametrize("tasks", [1, 3, 12, 50])
def test_the_lines_of_the_policy_sum_to_one(tasks):
    history = staircase(tasks, steps=300, target=f"task {tasks - 1}")
    lines = policy_lines(history)
    assert np.allclose(np.sum(lines.values, axis=0), 1, atol=1e-6)
    assert all(len(at) == len(values) <= POINTS for at, values in zip(lines.steps, lines.values, strict=True))
    assert len(lines.names) == min(tasks, TASKS) + (tasks > TASKS)
    assert f"task {tasks - 1} (target)" in lines.names, "however rarely it was practised"


def test_the_lines_of_a_column_are_its_means():
    history = staircase(3, steps=1000)
    lines = mean_lines(history, "reward")
    arms, steps, rewards = (history.column(name) for name in ("arm", "step", "reward"))
    for arm in range(3):
        starts = np.unique(steps[arms == arm] // 10 * 10)
        means = [rewards[(arms == arm) & (steps // 10 * 10 == start)].mean() for start in starts]
        assert lines.steps[arm].tolist() == starts.tolist()
        assert lines.values[arm] == pytest.approx(means)


def test_what_is_unknown_is_left_out_of_the_lines():
    lines = mean_lines(lossless(), "loss")
    assert [len(values) for values in lines.values] == [0, 0]


def test_lines_of_hostile_names_stay_apart():
    names = [*HOSTILE, "x" * 501]
    lines = policy_lines(staircase(names, steps=60))
    assert len(set(lines.names)) == len(names)
    assert all(name.isprintable() for name in lines.names)


def test_the_table_has_a_row_per_task_and_a_column_per_axis():
    names = [f"{a}{b}" for a in "xyz" for b in "12"]
    history = staircase(names, grid={"letter": list("xyz"), "digit": list("12")})
    rows = task_rows(history)
    assert [row[:3] for row in rows] == [[a + b, a, b] for a in "xyz" for b in "12"]
    assert {len(row) for row in rows} == {3 + len(COLUMNS)}
    assert [row[3] for row in rows] == history.draws.tolist()
    assert sum(row[4] for row in rows) == pytest.approx(1, abs=1e-3)
    rewards = [history.column("reward")[history.column("arm") == arm].mean() for arm in range(6)]
    assert [row[3 + COLUMNS.index("mean reward")] for row in rows] == pytest.approx(rewards, rel=1e-3)


def test_a_table_of_many_tasks_keeps_the_most_practised_and_the_target():
    history = staircase(ROWS + 500, steps=300, target=f"task {ROWS + 499}")
    rows = task_rows(history)
    assert len(rows) == ROWS
    assert rows[-1][0] == f"task {ROWS + 499}"
    assert sum(row[1] for row in rows) >= 299


def test_a_table_without_losses_is_json():
    assert json.dumps(task_rows(lossless()), allow_nan=False)


def test_packed_arrays_of_plotly_are_unpacked():
    values = np.linspace(0, 1, 12).reshape(3, 4)
    figure = go.Figure(go.Heatmap(z=values, x=np.arange(4)))
    found = plain(figure.to_plotly_json())["data"][0]
    assert found["x"] == [0, 1, 2, 3]
    assert np.allclose(found["z"], values, atol=1e-4)
    assert np.shape(plain({"bdata": "AAECAw==", "dtype": "u1", "shape": "2, 2"})) == (2, 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(math.inf, None), (math.nan, None), (0.0, 0.0), (123456.7, 123457.0), (-1.23456e-9, -1.235e-9), (True, True)],
)
def test_numbers_are_short_and_never_nan(value, expected):
    assert plain([value]) == [expected]


def test_entries_grow_with_the_logarithm_of_the_run():
    counts = [sum(entry_due(entry) for entry in range(1, 256 * 2**k + 1)) for k in range(8)]
    assert counts[0] == 256
    assert all(later - earlier == 128 for earlier, later in pairwise(counts))


@pytest.mark.parametrize("horizon", [None, 1, 900, 5000, 100_000, 123_457])
def test_moments_are_few_never_at_the_end_and_grow_with_the_logarithm(horizon):
    moments = [steps for steps in range(1, 400_001) if moment_due(steps, horizon)]
    assert horizon not in moments, "what is sent at the end would be sent twice"
    assert len([steps for steps in moments if steps < (horizon or 0)]) <= 4
    assert len(moments) <= 4 + math.log2(400)
    assert min(np.diff(moments)) >= 1000
