"""The policy over time."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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
from curricula.tracking.names import counted
from curricula.tracking.summary import effective_numbers


@styled
def policy_figure(history: CurriculumHistory) -> Figure:
    """Draw the probability of every task over time, and below it the effective number of tasks.

    Few tasks are areas that fill up to 1; many are the rows of a map, coloured by the multiple of uniform.

    Args:
        history: of any length; without a step, the figure says so.
    """
    check_history(history)
    many = len(history.tasks) > FEW
    height = min(9.0, 3.2 + 0.16 * len(history.tasks)) if many else 4.8
    figure = new_figure(9.0, height)
    if not history.steps:
        return says(figure, "no step was recorded")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[max(3.0, height - 1.2), 1.0])
    (_map if many else _areas)(figure, above, history)
    what = f"{counted(len(history.tasks), 'task')}, {counted(history.steps, 'step')}"
    above.set_title(f"Policy over time: {what}", loc="left", fontsize=11)
    _effective(below, history)
    return figure


def _areas(figure: Figure, axes: Axes, history: CurriculumHistory) -> None:
    steps, policies = history.policies()
    colours = [COLOURS[k % len(COLOURS)] for k in range(len(history.tasks))]
    # A snapshot holds until the next one, the last until the end of the run.
    steps, policies = np.append(steps, history.steps), np.vstack([policies, policies[-1:]])
    bands = axes.stackplot(steps, policies.T, colors=colours, linewidth=0, alpha=0.9)
    axes.set_ylim(0, 1)
    axes.set_ylabel("probability")
    names = [shown(name) + (" (target)" if name == history.target else "") for name in history.tasks]
    axes.legend(bands[::-1], names[::-1], loc="center left", bbox_to_anchor=(1.005, 0.5), frameon=False, fontsize=9)
    tidy(axes)


def _map(figure: Figure, axes: Axes, history: CurriculumHistory) -> None:
    tasks = history.tasks
    steps, policies = history.policies()
    multiples = policies.T * len(tasks)
    most = max(2.0, float(multiples.max()))
    least = max(float(multiples.min()), most / 1000, 1e-3)
    image = axes.imshow(
        np.maximum(multiples, least),
        aspect="auto",
        interpolation="nearest",
        cmap="viridis",
        norm=LogNorm(min(0.5, least), most),
        extent=(0, float(len(steps) * (steps[1] - steps[0] if len(steps) > 1 else 1)), len(tasks) - 0.5, -0.5),
    )
    bar = colour_bar(figure, image, axes, "probability, as a multiple of uniform")
    powers = range(math.ceil(math.log2(min(0.5, least)) - 1e-9), math.floor(math.log2(most)) + 1)
    every = max(1, math.ceil(len(powers) / 8))
    ticks = [2.0**power for power in powers if power % every == 0]
    bar.set_ticks(ticks, labels=[_multiple(tick) for tick in ticks])
    bar.ax.minorticks_off()
    bar.ax.axhline(1.0, color="white", linewidth=1.5)
    name_rows(axes, tasks, history.target)


def _multiple(value: float) -> str:
    if value == 1.0:
        return "uniform"
    return f"{value:g}×" if value > 1.0 else f"1/{1 / value:g}×"


def _effective(axes: Axes, history: CurriculumHistory) -> None:
    steps, _ = history.policies()
    numbers = effective_numbers(history)
    axes.plot(np.append(steps, history.steps), np.append(numbers, numbers[-1]), color=COLOURS[0], linewidth=1.4)
    axes.axhline(len(history.tasks), color="#999999", linewidth=1, linestyle=":")
    axes.set_ylim(0, len(history.tasks) * 1.12)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.set_ylabel("effective\ntasks", fontsize=9)
    axes.grid(axis="y", color="#eeeeee")
    steps_axis(axes, history.steps)
    tidy(axes)
