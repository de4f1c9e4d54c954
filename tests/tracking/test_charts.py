"""The charts hold the numbers of the figures, stay small, and read names as names."""

from __future__ import annotations

import json

import numpy as np
import plotly.graph_objects as go
import pytest

from curricula.tracking import CurriculumHistory, effective_number
from curricula.tracking.charts import (
    comparison_chart,
    draws_chart,
    grid_chart,
    losses_chart,
    policy_chart,
    quantiles_chart,
    rewards_chart,
    runs_chart,
    syllabus_chart,
)
from curricula.tracking.charts.style import COLOURS, GREY, ON_DARK, TARGET, label, labels
from curricula.tracking.curves import Comparison, Curve
from curricula.tracking.summary import binned_losses, leading, shares
from tests.tracking.histories import HOSTILE, lossless, staircase

OF_A_RUN = [
    draws_chart,
    grid_chart,
    losses_chart,
    policy_chart,
    quantiles_chart,
    rewards_chart,
    syllabus_chart,
    lambda history: runs_chart({"a": [history], "b": [history, history]}),
]
GRID = {"a": ["1", "2", "3"], "b": ["1", "2", "3", "4"]}


def heat(figure: go.Figure) -> go.Heatmap:
    return next(trace for trace in figure.data if trace.type == "heatmap")


def said(figure: go.Figure) -> list[str]:
    return [note.text for note in figure.layout.annotations]


@pytest.mark.parametrize("draw", OF_A_RUN)
def test_a_history_without_a_step_says_so(draw):
    assert said(draw(CurriculumHistory(["a", "b"])))


def test_what_was_not_recorded_is_said():
    assert said(losses_chart(lossless())) == ["no loss was recorded"]
    assert said(rewards_chart(lossless())) == ["no reward was recorded"]
    assert said(quantiles_chart(lossless())) == ["no progress was recorded"]
    assert said(grid_chart(staircase(4, steps=9))) == ["the tasks lie on no grid of two axes"]
    assert said(comparison_chart(Comparison({"none": []}, 0.1))) == ["no run was recorded"]


def test_few_tasks_are_areas_of_their_probability():
    history = staircase(3, steps=200)
    figure = policy_chart(history)
    steps, policies = history.policies()
    for arm, trace in enumerate(figure.data[:3]):
        assert trace.stackgroup == "policy"
        assert trace.x.tolist() == [*steps, 200]
        np.testing.assert_array_equal(trace.y, np.append(policies[:, arm], policies[-1, arm]))
    last = effective_number(policies[-1].astype(np.float64))
    assert figure.data[3].y[-1] == pytest.approx(last, rel=1e-6)


def test_many_tasks_are_rows_of_a_map():
    history = staircase(13, steps=100, target="task 12")
    trace = heat(policy_chart(history))
    np.testing.assert_allclose(trace.customdata, history.policies()[1].T, rtol=1e-6)
    np.testing.assert_allclose(2.0**trace.z, trace.customdata * 13, rtol=1e-5)
    assert trace.y[12] == "<b>task 12 (target)</b>"
    assert len(trace.x) == trace.z.shape[1] + 1


def test_of_a_thousand_tasks_the_most_practised_have_rows_and_the_others_share_one():
    history = staircase(1000, steps=500, target="task 999")
    history._tallies.draws[999] = 0
    trace = heat(policy_chart(history))
    kept, others = leading(history, 199)
    assert trace.z.shape[0] == len(trace.y) == 200
    assert trace.y[-1] == "mean of 801 others"
    assert trace.y[-2] == "<b>task 999 (target)</b>"
    assert set(kept) | set(others) == set(range(1000))
    total = trace.customdata[:-1].sum(axis=0) + 801 * trace.customdata[-1]
    np.testing.assert_allclose(total, 1.0, rtol=1e-4)


@pytest.mark.parametrize("size", [3, 13, 169, 1000])
def test_the_charts_of_a_run_stay_small(size):
    history = staircase(size, steps=1500, max_rows=1000)
    assert sum(len(draw(history).to_json(engine="json")) for draw in OF_A_RUN) < 1_500_000


def test_losses_are_those_of_the_summary():
    history = staircase(13, steps=600)
    trace = heat(losses_chart(history))
    np.testing.assert_allclose(trace.customdata, binned_losses(history, 160), rtol=1e-6)
    np.testing.assert_allclose(trace.z, np.log10(trace.customdata), rtol=1e-5, atol=1e-6)
    line = losses_chart(staircase(1, steps=10)).data[0]
    assert line.x.tolist() == list(range(10))


def test_the_shares_of_the_steps_fill_every_part():
    for size in (3, 13):
        figure = draws_chart(staircase(size, steps=300))
        rows = heat(figure).z if size == 13 else np.stack([trace.y for trace in figure.data])
        np.testing.assert_allclose(rows.sum(axis=0), 1.0, rtol=1e-5)


def test_quantiles_hold_the_recorded_rewards():
    history = staircase(3, steps=300)
    lines = {trace.name: trace.y for trace in quantiles_chart(history).data if trace.yaxis == "y2"}
    rewards = history.column("reward")
    assert lines["median"][0] == pytest.approx(np.median(rewards[:5]), abs=1e-6)
    assert (lines["quantile 0.1"] <= lines["median"]).all()


def test_a_grid_becomes_maps_and_a_slider():
    history = staircase(12, steps=200, grid=GRID, target="task 5")
    share, peak = syllabus_chart(history).data
    np.testing.assert_allclose(share.z.ravel(), shares(history), rtol=1e-6)
    assert peak.z.shape == (3, 4)
    figure = grid_chart(history)
    steps = figure.layout.sliders[0].steps
    assert [np.shape(step.args[0]["z"][0]) for step in steps] == [(3, 4)] * 24
    np.testing.assert_allclose(figure.data[0].z, steps[-1].args[0]["z"][0], atol=1e-5)
    assert (figure.layout.shapes[-1].x0, figure.layout.shapes[-1].y0) == (0.5, 0.5)


def test_rows_tell_when_and_how_much():
    history = staircase(5, steps=300, target="task 4")
    spans, middles, share = syllabus_chart(history).data
    np.testing.assert_allclose(share.x, shares(history), rtol=1e-6)
    assert (spans.base <= middles.x).all()
    assert share.marker.color[4] == TARGET


def test_seeds_become_a_median_with_a_band():
    curves = {"uniform": [Curve([1, 2], [1.0, 0.5])], "ours": [Curve([1, 2], [3.0, 0.1], 2), Curve([1, 2], [1.0, 0.9])]}
    lines = [trace for trace in comparison_chart(Comparison(curves, 0.1)).data if trace.mode == "lines"]
    uniform, low, high, median = lines
    assert (low.y.tolist()[0], median.y.tolist()[0], high.y.tolist()[0]) == (1.0, 2.0, 3.0)
    assert (uniform.line.color, median.line.color) == (GREY, COLOURS[0])
    crosses = comparison_chart(Comparison(curves, 0.1)).data[-1].marker.symbol
    assert list(crosses) == ["circle", "x-thin-open"]


def test_runs_of_other_lengths_lie_on_common_steps():
    figure = runs_chart({"long": [staircase(3, steps=400, target="task 2")], "short": [staircase(3, steps=100)] * 2})
    assert len({trace.yaxis for trace in figure.data}) == 3
    short = next(trace for trace in figure.data if trace.name == "short (2 runs)")
    assert np.isfinite(short.y).sum() == np.sum(np.asarray(short.x) <= 100)


def test_labels_are_different_and_mark_the_target():
    assert labels(["a", "a ", "b"], "b") == ["a", "a [2]", "<b>b (target)</b>"]


def test_names_hold_nothing_that_plotly_reads():
    for name in [*HOSTILE, '<a href="javascript:alert(1)">x</a>', "%{y}", "#0072B2"]:
        text = label(name)
        assert not set("<>\"'$%{}") & set(text)
        assert "&" not in text.replace("&#", "")
    names = ["<b>bold</b>", "%{fullData.name}", "$x$"]
    for draw in OF_A_RUN:
        text = json.dumps(json.loads(draw(staircase(names, steps=40)).to_json(engine="json")))
        assert not any(name in text for name in names)


def test_every_colour_is_at_least_three_to_one_on_its_page():
    def luminance(colour):
        parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722] + 0.05

    for light, dark in ON_DARK.items():
        assert luminance("#FFFFFF") / luminance(light) >= 3.0, light
        assert luminance(dark) / luminance("#212326") >= 3.0, dark
    assert set(ON_DARK) == {*COLOURS, GREY, TARGET}
