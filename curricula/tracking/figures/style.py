"""What all figures share: size, colours, names that cannot do harm."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from curricula.tracking.names import shortened

_Arguments = ParamSpec("_Arguments")

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#8C564B", "#666666", "#B8A000")
"""Colours that people with any colour vision tell apart (after Okabe and Ito 2008), in order of use."""

TARGET = "#B3003C"
"""Colour of the target task's name."""

FEW = 10
"""Up to so many tasks each has a line or an area of its own; above, they are rows of a map."""

_LABELS = 40
"""Most names on an axis."""


def styled(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Make a function draw its figure in matplotlib's default style, whatever style the user has set."""

    @functools.wraps(draw)
    def draw_in_default_style(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        with style.context({}, after_reset=True):
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()  # ticks and labels are made at the first drawing
        return figure

    return draw_in_default_style


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches."""
    return Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")


def shown(name: str, length: int = 26) -> str:
    r"""Return a task name fit to be drawn: no control characters, no mathematics, not too long, not left out.

    Example:
        >>> print(shown("costs $5\n and more than anybody would believe"))
        costs \$5 and m…uld believe
    """
    text = shortened(name, length).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text  # matplotlib's legends leave out what begins so


def name_rows(axes: Axes, tasks: Sequence[str], target: str | None) -> None:
    """Write task names on the y axis, row ``k`` at ``y = k``: as many as fit, the target always."""
    every = math.ceil(len(tasks) / _LABELS)
    rows = set(range(0, len(tasks), every))
    if target in tasks:
        place = tasks.index(target)
        rows = {row for row in rows if abs(row - place) >= every} | {place}
    at = sorted(rows)
    names = [shown(tasks[row]) + (" (target)" if tasks[row] == target else "") for row in at]
    axes.set_yticks(at, names, fontsize=8 if len(at) > 16 else 9)
    for row, text in zip(at, axes.get_yticklabels(), strict=True):
        if tasks[row] == target:
            text.set_color(TARGET)
            text.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)


def steps_axis(axes: Axes, steps: int, label: str = "optimiser steps") -> None:
    """Make the x axis one of steps, from 0 to ``steps``."""
    axes.set_xlim(0, max(1, steps))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel(label)


def tidy(axes: Axes) -> None:
    """Take away the frame's upper and right side."""
    axes.spines[["top", "right"]].set_visible(False)


def says(figure: Figure, message: str) -> Figure:
    """Return the figure with nothing but a message."""
    figure.text(0.5, 0.5, message, ha="center", va="center", fontsize=12, color="#555555")
    return figure


def colour_bar(figure: Figure, image: Any, axes: Any, label: str) -> Any:
    """Add a slim colour bar at the right."""
    bar = figure.colorbar(image, ax=axes, pad=0.012, fraction=0.04, aspect=28)
    bar.outline.set_visible(False)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return bar
