"""What the curriculum bought: the training loss of every task over time."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from curricula.tracking.checks import check_history
from curricula.tracking.figures.style import (
    COLOURS,
    FEW,
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
from curricula.tracking.summary import binned_losses, loss_scale, rolling_mean, rows_of_tasks

_PARTS = 80


@styled
def losses_figure(history: CurriculumHistory) -> Figure:
    """Draw the training loss of every task over time.

    Few tasks are lines, each smoothed over a thirtieth of its own steps; many are the rows of a map of means, each
    carried on until the task's next step. The scale is logarithmic where that helps
    (:func:`~curricula.tracking.summary.loss_scale`).

    Args:
        history: without a step, or without a finite loss, the figure says so.
    """
    check_history(history)
    many = len(history.tasks) > FEW
    figure = new_figure(9.0, min(8.0, 2.4 + 0.16 * len(history.tasks)) if many else 4.0)
    losses = history.column("loss")
    if not np.isfinite(losses).any():
        return says(figure, "no loss was recorded")
    axes = figure.subplots()
    (_map if many else _lines)(figure, axes, history)
    axes.set_title("Training loss of each task", loc="left", fontsize=11)
    steps_axis(axes, history.steps)
    return figure


def _lines(figure: Figure, axes: Axes, history: CurriculumHistory) -> None:
    steps, losses = history.column("step"), history.column("loss")
    drawn = []
    for arm, rows in enumerate(rows_of_tasks(history)):
        rows = rows[np.isfinite(losses[rows])]
        if len(rows):
            smooth = rolling_mean(losses[rows], max(1, len(rows) // 30))
            drawn.append(smooth)
            name = shown(history.tasks[arm]) + (" (target)" if history.tasks[arm] == history.target else "")
            width = 2.2 if history.tasks[arm] == history.target else 1.4
            axes.plot(steps[rows], smooth, color=COLOURS[arm % len(COLOURS)], linewidth=width, label=name)
    axes.set_yscale(loss_scale(np.concatenate(drawn)))
    axes.set_ylabel("loss")
    axes.grid(color="#eeeeee")
    axes.legend(loc="center left", bbox_to_anchor=(1.005, 0.5), frameon=False, fontsize=9)
    tidy(axes)


def _map(figure: Figure, axes: Axes, history: CurriculumHistory) -> None:
    means = binned_losses(history, min(_PARTS, history.steps))
    finite = means[np.isfinite(means)]
    low, high = float(finite.min()), float(finite.max())
    logarithmic = loss_scale(finite) == "log"
    scale = LogNorm(max(low, high * 1e-4), high) if logarithmic else Normalize(low, high)
    image = axes.imshow(
        np.clip(means, scale.vmin, scale.vmax),
        aspect="auto",
        interpolation="nearest",
        cmap=colormaps["cividis"].with_extremes(bad="#f2f2f2"),
        norm=scale,
        extent=(0, history.steps, len(history.tasks) - 0.5, -0.5),
    )
    colour_bar(figure, image, axes, "mean loss (blank: not drawn yet)")
    name_rows(axes, history.tasks, history.target)
