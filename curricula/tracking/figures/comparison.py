"""Methods against each other, over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from curricula.tracking.curves import Curve, check_curves, median_curve, median_reached
from curricula.tracking.figures.style import COLOURS, new_figure, says, shown, steps_axis, styled, tidy
from curricula.tracking.summary import loss_scale


@styled
def comparison_figure(
    curves: Mapping[str, Sequence[Curve]], goal: float, *, label: str = "loss on the target"
) -> Figure:
    """Draw the loss of every run on its way to the goal, and the steps that each run took to reach it.

    Thin lines are seeds, thick ones medians; a dot is where a run reached the goal, a cross where one
    ended without it.

    Args:
        curves: name of the method to one curve per seed.
        goal: the loss to reach.
        label: of the loss.
    """
    check_curves(curves, goal)
    groups = {name: list(group) for name, group in curves.items() if group}
    figure = new_figure(9.0, 3.6 + 0.25 * max(0, len(groups) - 2))
    if not groups:
        return says(figure, "no run was recorded")
    left, right = figure.subplots(1, 2, width_ratios=[1.7, 1.0])
    _losses(left, groups, goal, label)
    figure.legend(loc="outside upper left", ncols=min(4, len(groups)), frameon=False, fontsize=9)
    _steps(right, groups)
    return figure


def _losses(axes: Axes, groups: Mapping[str, list[Curve]], goal: float, label: str) -> None:
    longest = max((max(curve.updates, default=0) for group in groups.values() for curve in group), default=1)
    finite = [goal]
    for colour, (name, group) in zip(_colours(groups), groups.items(), strict=True):
        for curve in group:
            axes.plot(curve.updates, curve.loss, color=colour, linewidth=0.7, alpha=0.35)
            finite += [loss for loss in curve.loss if math.isfinite(loss)]
            if curve.reached is not None:
                axes.scatter([curve.reached], [goal], s=14, color=colour, alpha=0.75, linewidths=0, zorder=3)
            elif curve.updates:
                axes.scatter(curve.updates[-1:], curve.loss[-1:], marker="x", s=18, color=colour, alpha=0.75, zorder=3)
        at, median = median_curve(group)
        axes.plot(at, median, color=colour, linewidth=2.2, label=shown(name))
    axes.axhline(goal, color="#444444", linewidth=1, linestyle="--")
    axes.annotate("goal", (1.01, goal), xycoords=("axes fraction", "data"), ha="left", va="center", fontsize=9)
    axes.set_yscale(loss_scale(finite))
    axes.set_ylabel(shown(label, 60))
    axes.set_title("Thin: seeds. Thick: their median", fontsize=10, loc="left")
    axes.grid(color="#eeeeee")
    steps_axis(axes, longest)
    tidy(axes)


def _steps(axes: Axes, groups: Mapping[str, list[Curve]]) -> None:
    unsolved = False
    for row, (colour, group) in enumerate(zip(_colours(groups), groups.values(), strict=True)):
        offsets = np.linspace(-0.18, 0.18, len(group)) if len(group) > 1 else np.zeros(1)
        for offset, curve in zip(offsets, group, strict=True):
            solved = curve.reached is not None
            unsolved |= not solved
            at = curve.reached if curve.reached is not None else max(curve.updates, default=0)
            marker, face = ("o", colour) if solved else ("x", colour)
            axes.scatter([at], [row + offset], marker=marker, s=26, color=face, alpha=0.75, linewidths=1.2)
        median = median_reached(group)
        if math.isfinite(median):
            axes.plot([median, median], [row - 0.32, row + 0.32], color=colour, linewidth=3, solid_capstyle="butt")
            text = f"{median:,.0f}"
            axes.annotate(text, (median, row - 0.34), ha="center", va="bottom", fontsize=9, fontweight="bold")
    axes.set_ylim(len(groups) - 0.4, -0.75)
    axes.set_yticks(range(len(groups)), [shown(name, 22) for name in groups])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, axes.get_xlim()[1] * 1.03)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("optimiser steps to the goal" + ("\n(cross: not reached)" if unsolved else ""))
    axes.set_title("Each dot: a seed. Bar: median", fontsize=10, loc="left")
    axes.grid(axis="x", color="#eeeeee")
    tidy(axes)


def _colours(groups: Mapping[str, list[Curve]]) -> list[str]:
    # Uniform sampling is the grey that others stand out against.
    bright = iter(COLOURS * (len(groups) // len(COLOURS) + 1))
    return ["#777777" if name == "uniform" else next(bright) for name in groups]
