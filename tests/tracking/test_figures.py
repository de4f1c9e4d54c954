"""The figures: what they show is what the history holds, whatever the number and the names of the tasks."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import curricula
from curricula.tracking import CurriculumHistory
from curricula.tracking.curves import Curve
from curricula.tracking.figures import comparison_figure, losses_figure, policy_figure, syllabus_figure
from curricula.tracking.figures.style import shown
from curricula.tracking.summary import binned_losses, effective_numbers, loss_scale, shares
from tests.tracking.histories import HOSTILE, lossless, staircase

FIGURES = [policy_figure, losses_figure, syllabus_figure]
every_figure = pytest.mark.parametrize("draw", FIGURES)
GRID = {"length": ["1", "2", "3"], "repeats": ["1", "2", "3", "4"]}


def texts(figure) -> list[str]:
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def pixels(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


@every_figure
@pytest.mark.parametrize("num_tasks", [1, 2, 3, 10, 11, 32, 169, 1000])
def test_any_number_of_tasks_is_drawn_without_a_warning(draw, num_tasks, recwarn):
    figure = draw(staircase(num_tasks, steps=300))
    assert pixels(figure).std() > 5
    assert figure.get_size_inches()[1] <= 9.0
    # What earlier tests left to the garbage collector may be found at any time.
    assert [str(found.message) for found in recwarn if found.category is not ResourceWarning] == []


@every_figure
def test_names_on_the_axis_do_not_overlap(draw):
    for num_tasks in (11, 40, 169, 1000):
        figure = draw(staircase(num_tasks, steps=200, target=f"task {num_tasks - 2}"))
        figure.canvas.draw()
        boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels() if label.get_text()]
        assert any("(target)" in label.get_text() for label in figure.axes[0].get_yticklabels())
        spans = sorted((box.y0, box.y1) for box in boxes)
        assert all(low[1] <= high[0] + 1.0 for low, high in pairwise(spans))


@every_figure
def test_an_empty_history_says_so(draw):
    assert any("was recorded" in text for text in texts(draw(CurriculumHistory(["a", "b"]))))


def test_a_history_without_losses_says_so_and_the_rest_is_drawn():
    assert texts(losses_figure(lossless())) == ["no loss was recorded"]
    assert len(policy_figure(lossless()).axes) == 2
    assert len(syllabus_figure(lossless()).axes) == 2


@every_figure
def test_one_step_is_enough(draw):
    pixels(draw(staircase(3, steps=1)))
    pixels(draw(staircase(30, steps=1)))
    pixels(draw(staircase(12, steps=1, grid=GRID)))


@every_figure
def test_hostile_names_are_drawn_as_they_are(draw):
    for names in (HOSTILE, [*HOSTILE, *map(str, range(20))]):
        drawn = " ".join(texts(draw(staircase(names, steps=100, target=names[1]))))
        assert shown(HOSTILE[0]) in drawn
        assert "\x00" not in drawn
        assert "x" * 100 not in drawn


def test_names_are_made_fit_to_be_drawn():
    assert shown("a\tb\x00\n c") == "a b c"
    assert shown("$1$") == r"\$1\$"
    assert shown("") == shown("\x07") == "(unnamed)"
    assert len(shown("x" * 500)) == 26
    assert shown("translation of English into German, length 16").endswith("length 16")
    assert len({shown(f"{'long ' * 9} {number}") for number in range(100)}) == 100


@every_figure
def test_nothing_global_is_touched(draw):
    before = dict(mpl.rcParams)
    pixels(draw(staircase(3)))
    assert dict(mpl.rcParams) == before


@every_figure
def test_the_style_of_the_user_is_left_out(draw):
    plain = pixels(draw(staircase(3)))
    theirs = {"text.color": "white", "axes.facecolor": "black", "xtick.color": "white"}
    with mpl.rc_context({**theirs, "text.usetex": True}):
        figure = draw(staircase(3))
        np.testing.assert_array_equal(pixels(figure), plain)


def test_pyplot_is_never_loaded():
    code = (
        "import sys; from curricula.tracking.figures import policy_figure; from curricula.tracking import *;"
        "policy_figure(CurriculumHistory(['a'])); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(curricula.__file__).parents[1])


def test_the_policy_map_holds_the_multiples_of_uniform():
    history = staircase(20)
    figure = policy_figure(history)
    image = figure.axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), history.policies()[1].T * 20, rtol=1e-6)
    assert image.get_extent() == [0, 600, 19.5, -0.5]
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata()[:-1], effective_numbers(history))


def test_the_areas_of_few_tasks_fill_up_to_1():
    history = staircase(4, target="task 3")
    axes = policy_figure(history).axes[0]
    assert len(axes.collections) == 4
    assert axes.collections[-1].get_paths()[0].vertices[:, 1].max() == pytest.approx(1.0)
    assert axes.get_legend().get_texts()[0].get_text() == "task 3 (target)"
    assert axes.collections[0].get_paths()[0].vertices[:, 0].max() == 600, "the last snapshot holds to the end"


def test_a_policy_of_one_step_can_be_seen():
    figure = policy_figure(staircase(2, steps=1))
    assert figure.axes[0].collections[0].get_paths()[0].vertices[:, 0].max() == 1
    assert figure.axes[0].get_title(loc="left") == "Policy over time: 2 tasks, 1 step"


def test_the_map_of_losses_holds_their_means():
    history = staircase(20)
    drawn = np.ma.filled(losses_figure(history).axes[0].images[0].get_array(), np.nan)
    np.testing.assert_allclose(drawn, binned_losses(history, 80), rtol=1e-9)


def test_few_tasks_have_a_line_each_on_a_logarithmic_scale():
    axes = losses_figure(staircase(3)).axes[0]
    assert [line.get_label() for line in axes.lines] == ["task 0", "task 1", "task 2"]
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize(
    ("losses", "scale"),
    [
        ([1.0, 0.1], "log"),
        ([0.7, 0.6], "linear"),
        ([9.0, 0.0], "linear"),
        ([5.0, -1.0], "linear"),
        ([np.nan], "linear"),
    ],
)
def test_a_logarithmic_scale_is_for_losses_that_span_one(losses, scale):
    assert loss_scale([*losses, np.nan, np.inf]) == scale


def test_tasks_on_a_grid_become_maps():
    history = staircase(12, grid=GRID)
    figure = syllabus_figure(history)
    share = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(share, shares(history).reshape(3, 4))
    assert figure.axes[0].get_xlabel() == "repeats"
    assert figure.axes[0].get_ylabel() == "length"
    assert sum(text.startswith("step ") for text in texts(figure)) == 5


def test_small_shares_are_told_apart_on_the_colour_bar():
    grid = {axis: [str(label) for label in range(13)] for axis in ("length", "repeats")}
    figure = syllabus_figure(staircase(169, steps=2000, grid=grid))
    bar = next(axes for axes in figure.axes if axes.get_ylabel() == "share of draws")
    figure.canvas.draw()
    written = [label.get_text() for label in bar.get_yticklabels()]
    assert len(set(written)) == len(written) > 2


def test_the_target_is_framed_on_the_maps():
    framed = syllabus_figure(staircase(12, grid=GRID, target="task 6")).axes[:2]
    assert [axes.patches[-1].get_xy() for axes in framed] == [(1.5, 0.5)] * 2
    assert not syllabus_figure(staircase(12, grid=GRID)).axes[0].patches


def test_a_grid_that_does_not_fit_the_tasks_is_left_out():
    assert len(syllabus_figure(staircase(11, grid=GRID)).axes[1].patches) == 11


def test_tasks_without_a_grid_become_rows():
    history = staircase(15)
    left, right = syllabus_figure(history).axes
    assert [bar.get_width() for bar in right.patches] == pytest.approx(shares(history).tolist())
    assert left.get_xlim() == (0, 600)


def test_the_comparison_shows_every_seed_and_the_medians():
    curves = {
        "uniform": [Curve([10, 20, 30], [1.0, 0.8, 0.6]), Curve([10, 20, 30], [1.0, 0.5, 0.05], 30)],
        "curriculum": [Curve([10, 20], [1.0, 0.05], 20, seed) for seed in range(3)],
    }
    figure = comparison_figure(curves, 0.1, label="loss of k=8")
    losses, steps = figure.axes
    assert len(losses.lines) == 2 + 1 + 3 + 1 + 1, "seeds, medians and the goal"
    assert losses.get_ylabel() == "loss of k=8"
    assert len(steps.collections) == 5
    assert "20" in texts(figure)
    assert steps.get_xlabel() == "optimiser steps to the goal\n(cross: not reached)"
    reached = [tuple(dots.get_offsets()[0]) for dots in losses.collections]
    assert reached == [(30, 0.6), (30, 0.1), (20, 0.1), (20, 0.1), (20, 0.1)], (
        "a cross where it ended, dots on the goal"
    )


def test_a_comparison_of_nothing_says_so():
    assert texts(comparison_figure({}, 0.1)) == ["no run was recorded"]
    pixels(comparison_figure({"a": [Curve([], [])]}, 0.1))


def test_labels_of_a_comparison_lie_within_the_figure():
    curves = {name: [Curve([10, 20], [1.0, 0.9]), Curve([10, 20], [1.0, 0.1], 20)] for name in ("uniform", "y" * 60)}
    figure = comparison_figure(curves, 0.2)
    figure.canvas.draw()
    left, right = figure.axes
    labels = [left.xaxis.label, left.yaxis.label, right.xaxis.label, *left.texts, *right.get_yticklabels()]
    for text in [*labels, *figure.legends[0].get_texts()]:
        box = text.get_window_extent()
        assert box.x0 >= 0, text.get_text()
        assert box.x1 <= figure.bbox.width, text.get_text()
