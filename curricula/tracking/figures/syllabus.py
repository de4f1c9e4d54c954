"""The syllabus as a map: which task was practised when, and how much."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, PercentFormatter

from curricula.bandits.base import FloatArray
from curricula.tracking.checks import check_history
from curricula.tracking.figures.style import (
    COLOURS,
    TARGET,
    colour_bar,
    name_rows,
    new_figure,
    says,
    shown,
    steps_axis,
    styled,
    tidy,
)
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.summary import cost_shares, costs_differ, peak_steps, shares, spans

_MOMENTS = 5
_WRITTEN = 64
"""Most cells of a map that have their value written into them."""


@styled
def syllabus_figure(history: CurriculumHistory) -> Figure:
    """Draw when and how much each task was practised.

    Tasks on a grid of two axes become maps: the share of draws, the step of the highest probability, and the policy at
    five moments. Other tasks become rows: the time in which the middle four fifths of their draws lay, and their share.

    Args:
        history: without a step, the figure says so.
    """
    check_history(history)
    if not history.steps:
        return says(new_figure(9.0, 3.0), "no step was recorded")
    grid = [len(labels) for labels in (history.grid or {}).values()]
    if len(grid) == 2 and grid[0] * grid[1] == len(history.tasks):
        return _maps(history)
    return _rows(history)


def _maps(history: CurriculumHistory) -> Figure:
    assert history.grid is not None
    (down, rows), (across, columns) = history.grid.items()
    shape = (len(rows), len(columns))
    figure = new_figure(9.0, 6.6)
    halves: Any = figure.subfigures(2, 1, height_ratios=[1.55, 1.0])
    above, below = halves
    left, right = above.subplots(1, 2)
    share = shares(history).reshape(shape)
    image = _cells(left, share, rows, columns, [f"{value:.0%}" for value in share.ravel()], "cividis")
    # is_latex: it does not look whether the user has set usetex.
    colour_bar(above, image, left, "share of draws").ax.yaxis.set_major_formatter(PercentFormatter(1.0, is_latex=True))
    left.set_title("How much each task was practised", fontsize=10, loc="left")
    peaks = peak_steps(history).reshape(shape)
    texts = [_brief(value) for value in peaks.ravel()]
    image = _cells(right, peaks, rows, columns, texts, "viridis", (0.0, float(history.steps)))
    colour_bar(above, image, right, "step").ax.yaxis.set_major_formatter(EngFormatter(sep=""))
    right.set_title("When it was most probable (blank: never favoured)", fontsize=10, loc="left")
    for axes in (left, right):
        axes.set_xlabel(shown(across))
        axes.set_ylabel(shown(down))
        if history.target in history.tasks:
            row, column = divmod(history.tasks.index(history.target), len(columns))
            for colour, width in (("white", 4.0), (TARGET, 2.0)):
                frame = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=colour, linewidth=width)
                axes.add_patch(frame).set_clip_on(False)
    steps, policies = history.policies()
    moments = np.unique(np.linspace(0, len(steps) - 1, min(_MOMENTS, len(steps))).round().astype(int))
    small = below.subplots(1, len(moments), squeeze=False)[0]
    most = float(policies[moments].max())
    for axes, moment in zip(small, moments, strict=True):
        image = axes.imshow(policies[moment].reshape(shape), aspect="auto", cmap="cividis", vmin=0.0, vmax=most)
        axes.set_title(f"step {steps[moment]:,}", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    colour_bar(below, image, list(small), "probability")
    below.suptitle("The policy on the way", fontsize=10, x=0.01, ha="left")
    return figure


def _brief(step: float) -> str:
    if np.isnan(step):
        return "–"
    return EngFormatter(places=int(step >= 1000), sep="")(step)


def _cells(
    axes: Axes,
    values: FloatArray,
    rows: list[str],
    columns: list[str],
    texts: list[str],
    colours: str,
    limits: tuple[float, float] | None = None,
) -> object:
    low, high = limits or (0.0, float(np.nanmax(values)))
    image = axes.imshow(values, aspect="auto", cmap=colours, vmin=low, vmax=high)
    axes.set_facecolor("#f2f2f2")
    for set_ticks, labels in ((axes.set_xticks, columns), (axes.set_yticks, rows)):
        every = -(-len(labels) // 14)
        set_ticks(range(0, len(labels), every), [shown(label, 12) for label in labels[::every]])
    if values.size <= _WRITTEN:
        middle = low + 0.6 * (high - low)
        for place, text in enumerate(texts):
            row, column = divmod(place, len(columns))
            dark = not values[row, column] < middle  # bright cells, and blank ones
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color="black" if dark else "white")
    return image


def _rows(history: CurriculumHistory) -> Figure:
    tasks = history.tasks
    figure = new_figure(9.0, min(9.0, 2.0 + 0.2 * len(tasks)))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[2.2, 1.0])
    early, middle, late = spans(history)
    at = np.arange(len(tasks))
    share = shares(history)
    width = float(np.clip(220.0 / len(tasks), 0.6, 7.0))
    colours = [TARGET if name == history.target else COLOURS[0] for name in tasks]
    left.hlines(at, early, late, colors=colours, linewidth=width, alpha=0.45)
    left.scatter(middle, at, s=np.clip(width * 5, 2, 30), c=colours, zorder=3)
    left.set_ylim(len(tasks) - 0.5, -0.5)
    left.set_title("When each task was practised: 80 % of its draws, and their middle", fontsize=10, loc="left")
    steps_axis(left, history.steps)
    name_rows(left, tasks, history.target)
    right.barh(at, share, height=0.8, color=colours)
    right.axvline(1 / len(tasks), color="#666666", linewidth=1, linestyle=":")
    differ = costs_differ(history)
    if differ:
        right.scatter(cost_shares(history), at, marker="D", s=30, color="#444444", edgecolors="white", zorder=3)
    right.set_title("How much (dotted: uniform)", fontsize=10, loc="left")
    right.set_xlabel("share of draws" + " (diamonds: of cost)" * differ)
    right.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if share.max() > 0.03 else 1, is_latex=True))
    right.tick_params(axis="y", length=0)
    for axes in (left, right):
        axes.grid(axis="x", color="#eeeeee")
        axes.set_axisbelow(True)
        tidy(axes)
    return figure
