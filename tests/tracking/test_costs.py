"""What tasks have cost in tables, words and charts, and charts with an axis of cost."""

from __future__ import annotations

import math

import numpy as np
import pytest

from curricula.teacher import Draw
from curricula.tracking import CurriculumHistory
from curricula.tracking.charts import (
    costs_chart,
    draws_chart,
    learning_chart,
    losses_chart,
    on_cost_axis,
    policy_chart,
    quantiles_chart,
    rewards_chart,
)
from curricula.tracking.charts.cost import cost_changes
from curricula.tracking.history import COLUMNS
from curricula.tracking.loggers.scalars import Scalars, Stopwatch
from curricula.tracking.loggers.tasks import COLUMNS as TASK_COLUMNS
from curricula.tracking.loggers.tasks import task_rows
from curricula.tracking.panels import _charts_of_cost, panels
from curricula.tracking.report import task_table
from curricula.tracking.summary import binned_shares, cost_axis, cost_shares, costs_differ
from curricula.tracking.table import task_columns
from curricula.tracking.words import facts
from tests.tracking.histories import staircase
from tests.tracking.test_charts import said

POLICY = np.array([0.25, 0.75])
OVER_TIME = [costs_chart, draws_chart, losses_chart, policy_chart, quantiles_chart, rewards_chart]


def spent(costs, draws=1, unit="tokens", **options):
    """A history of tasks in turn, with these costs."""
    history = CurriculumHistory(["a", "b"], unit=unit, **options)
    for number, cost in enumerate(costs):
        draw, more = Draw(number, number % 2, "ab"[number % 2], 0.5, 0), number % draws < draws - 1
        numbers = {"progress": 0.1 * number, "reward": 0.5, "loss": 1 / (1 + number)}
        history.record(draw, **numbers, policy=None if more else POLICY, more=more, cost=cost, samples=4.0)
    return history


def test_sums_are_exact_however_long_the_run(tmp_path):
    history = spent(range(1, 3001), max_rows=20)
    assert history.costs.tolist() == [sum(range(1, 3001, 2)), sum(range(2, 3001, 2))]
    assert history.samples.tolist() == [6000.0, 6000.0]
    steps = history.column("step")
    assert history.column("total_cost").tolist() == [(step + 1) * (step + 2) / 2 for step in steps]
    assert history.column("task_cost").tolist() == [(step // 2 + 1) ** 2 for step in steps], "odd numbers"
    history.set_sizes({"b": 1500, "c": 7})
    copies = (
        CurriculumHistory.from_state_dict(history.state_dict()),
        CurriculumHistory.load(history.save(tmp_path / "a")),
    )
    for other in copies:
        assert (other.unit, other.total_cost) == ("tokens", history.total_cost)
        for name in ("costs", "samples", "passes"):
            np.testing.assert_array_equal(getattr(other, name), getattr(history, name))
        for name in COLUMNS:
            np.testing.assert_array_equal(other.column(name), history.column(name))
    assert math.isnan(history.passes[0])
    assert history.passes[1] == 4.0


def test_one_unknown_cost_makes_the_sums_unknown_and_no_more():
    history = spent([1.0, math.nan, 2.0])
    assert history.costs.tolist()[0] == 3.0
    assert math.isnan(history.costs[1])
    assert math.isnan(history.total_cost)
    assert np.isnan(cost_shares(history)).all()
    assert history.column("cost").tolist()[::2] == [1.0, 2.0]


def test_a_record_of_before_there_were_costs_goes_on_with_costs_unknown(tmp_path):
    content = spent([1.0, 2.0])._content()
    for name in ("unit", "total_cost", "costs", "samples", "sizes"):
        del content[name]
    content |= {"curriculum_history": 1, "rows": content["rows"][:, :6]}
    history = CurriculumHistory.from_state_dict(content)
    assert history.draws.tolist() == [1, 1]
    assert np.isnan(history.costs).all()
    assert np.isnan(history.column("total_cost")).all()
    assert not history.count_in("tokens")
    history.record(Draw(2, 0, "a", 0.5, 2), progress=0.0, reward=0.0, loss=1.0, policy=POLICY, cost=3.0)
    assert history.column("cost").tolist()[2:] == [3.0]
    assert math.isnan(history.total_cost)


def test_costs_follow_their_tasks_by_name():
    history = spent([1.0, 20.0, 300.0])
    history.set_sizes({"a": 8})
    history.adopt(["c", "b", "a"])
    assert history.costs.tolist() == [0.0, 20.0, 301.0]
    np.testing.assert_array_equal(history.passes, [math.nan, math.nan, 1.0])


def test_shares_of_cost_and_of_draws():
    history = spent([1.0, 3.0] * 10)
    assert cost_shares(history).tolist() == [0.25, 0.75]
    assert costs_differ(history)
    assert not costs_differ(spent([2.0] * 10))
    np.testing.assert_allclose(binned_shares(history, 2, "cost"), [[0.25, 0.25], [0.75, 0.75]])
    np.testing.assert_allclose(binned_shares(history, 2), [[0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_allclose(np.stack([trace.y for trace in costs_chart(history).data]).sum(axis=0), 1.0)


def test_the_axis_of_cost_has_what_was_spent_before_each_step():
    steps, costs = cost_axis(spent([1.0, 2.0, 4.0, 8.0], draws=2))
    assert steps.tolist() == [0.0, 1.0, 2.0]
    assert costs.tolist() == [0.0, 3.0, 15.0]


@pytest.mark.parametrize("draw", OVER_TIME)
def test_a_chart_moves_to_the_axis_of_cost(draw):
    history = spent([1.0] * 50 + [9.0] * 50)
    figure = draw(history)
    moved = on_cost_axis(figure, history)
    steps, costs = cost_axis(history)
    for before, after in zip(figure.data, moved.data, strict=True):
        if before.type == "bar":
            assert sum(after.width) == pytest.approx(0.94 * 500, rel=1e-5)
            edge = before.x[-1] + before.width / 2
            assert after.x[-1] + after.width[-1] / 2 == pytest.approx(np.interp(edge, steps, costs), rel=1e-6)
        else:
            np.testing.assert_allclose(after.x, np.interp(before.x, steps, costs), rtol=1e-6)
        np.testing.assert_array_equal(after.y, before.y)
    axes = [axis for name, axis in moved.layout.to_plotly_json().items() if name.startswith("xaxis")]
    assert all(axis["range"] == [0, 500.0] for axis in axes)
    assert "tokens so far" in {axis["title"]["text"] for axis in axes}
    assert "optimiser steps" not in moved.to_json()


def test_a_task_learns_along_its_own_cost():
    history = spent([1.0, 10.0] * 10)
    first, second = learning_chart(history).data
    assert first.x.tolist() == list(range(1, 11))
    assert second.x.tolist() == list(range(10, 101, 10))
    assert len(learning_chart(_many()).data) == 10, "of many tasks the most practised"


def _many():
    history = staircase(30, steps=1)
    for number in range(90):
        draw = Draw(number, number % 30, str(number), 0.5, 0)
        history.record(draw, progress=0.0, reward=0.0, loss=1.0, policy=np.full(30, 1 / 30), cost=1.0)
    history.total_cost, history._tallies.costs = 90.0, [3.0] * 30
    return history


def test_what_is_not_known_is_said():
    unknown = staircase(3, steps=20)
    assert said(costs_chart(unknown)) == said(learning_chart(unknown)) == ["the cost is not known"]
    with pytest.raises(ValueError, match="needs a history whose cost is known, got a total of nan"):
        on_cost_axis(policy_chart(unknown), unknown)
    lossless = CurriculumHistory(["a"])
    lossless.record(Draw(0, 0, "a", 1.0, 0), progress=0, reward=0, loss=math.nan, policy=np.ones(1), cost=1.0)
    assert said(learning_chart(lossless)) == ["no loss was recorded"]


def test_the_page_has_the_charts_of_cost_where_they_say_something():
    def titles(found):
        return [panel["title"] for panel in found if "cost" in panel["title"].lower()]

    assert titles(_charts_of_cost(staircase(3, steps=20))) == []
    assert titles(_charts_of_cost(spent([2.0] * 20))) == ["Losses by task against their own cost"]
    found = panels(spent([1.0, 2.0] * 10, unit="<b>%{y}</b>"))
    assert titles(found) == ["Cost by task", "Losses by task against their own cost"]
    assert not [panel for panel in found if "<b>" in panel["specification"]], "the unit is text and nothing else"
    assert {panel["title"] for panel in found if panel["has_cost"]} == {
        "Policy over time",
        "Losses by task",
        "Draws by task",
        "Cost by task",
        "Rewards by task",
        "Progress and reward",
    }


def test_the_unit_is_shown_and_does_nothing():
    history = spent([1.0, 2.0] * 10, unit="<b>%{y}</b>")
    for draw in OVER_TIME:
        figure = draw(history)
        assert "<b>%{y}" not in str(cost_changes(figure, history))


def test_tables_have_costs_and_passes():
    history = spent([1.0, 3.0] * 10)
    history.set_sizes({"a": 16})
    columns = task_columns(history)
    assert columns["cost"].tolist() == [10.0, 30.0]
    assert columns["cost_share"].tolist() == [0.25, 0.75]
    assert columns["samples"].tolist() == [40.0, 40.0]
    row = dict(zip(("task", *TASK_COLUMNS), task_rows(history)[0], strict=True))
    assert (row["draws"], row["share of draws"], row["cost"], row["share of cost"]) == (10, 0.5, 10.0, 0.25)
    assert row["passes"] == 2.5
    first, second = task_table(history)
    assert (first["share of cost"], first["passes"], second["passes"]) == ("25.0%", "2.5", "–")
    assert facts(history)["cost"] == "40 tokens"
    assert "share of cost" not in task_table(staircase(3, steps=20))[0]


def test_loggers_get_the_cost_so_far_where_it_is_known():
    from curricula import Teacher

    scalars = Scalars(None, Stopwatch())
    assert scalars.take(Teacher(["a"]), 12.0)["curriculum/total_cost"] == 12.0
    assert "curriculum/total_cost" not in scalars.take(Teacher(["a"]), math.nan)
