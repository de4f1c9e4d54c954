"""Runs against each other by their histories: where their policies and their losses went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from curricula.tracking.charts.comparison import group_colours
from curricula.tracking.charts.style import dash, faded, labels, loss_axis, new_chart, says, small, steps_axis
from curricula.tracking.checks import check_groups
from curricula.tracking.groups import Band, Line, band, effective_line, mean_loss_line, target_loss_line
from curricula.tracking.history import CurriculumHistory

_LINES: dict[str, Line] = {
    "effective tasks": effective_line,
    "training loss,<br>mean over tasks": mean_loss_line,
    "training loss<br>of the target": target_loss_line,
}


def runs_chart(groups: Mapping[str, Sequence[CurriculumHistory]]) -> go.Figure:
    """Draw the effective number of tasks, the mean training loss over tasks and that of the target, run by run.

    A line is the median over the runs of a group (its seeds), the band around it reaches from the least to the
    greatest.

    Args:
        groups: name to runs; groups without a step are left out.

    Returns:
        A ``plotly.graph_objects.Figure``.
    """
    check_groups(groups, "groups")
    begun = {name: [run for run in group if run.steps] for name, group in groups.items()}
    begun = {name: group for name, group in begun.items() if group}
    if not begun:
        return says("no step was recorded")
    panels = {text: {name: band(group, line) for name, group in begun.items()} for text, line in _LINES.items()}
    panels = {text: bands for text, bands in panels.items() if any(_drawn(one) for one in bands.values())}
    figure = make_subplots(len(panels), 1, shared_xaxes=True, vertical_spacing=0.05)
    new_chart("Runs side by side", 110 + 210 * len(panels), figure)
    names = dict(zip(begun, labels(begun), strict=True))
    for row, (text, bands) in enumerate(panels.items(), 1):
        for place, (name, one) in enumerate(bands.items()):
            _band(figure, one, names[name], group_colours(begun)[name], place, row, seeds=len(begun[name]))
        values = np.concatenate([one.median for one in bands.values()])
        if text.startswith("training"):
            loss_axis(figure, values, title=text, row=row, col=1)
        else:
            figure.update_yaxes(title=text, rangemode="tozero", row=row, col=1)
    longest = max(run.steps for group in begun.values() for run in group)
    steps_axis(figure, longest, "", col=1)
    return steps_axis(figure, longest, row=len(panels), col=1)


def _drawn(one: Band) -> bool:
    return bool(np.isfinite(one.median).any())


def _band(figure: go.Figure, one: Band, name: str, colour: str, place: int, row: int, *, seeds: int) -> None:
    if seeds > 1:
        for edge, fill in ((one.low, None), (one.high, "tonexty")):
            figure.add_scatter(
                x=one.steps,
                y=small(edge),
                mode="lines",
                line={"width": 0, "color": colour},
                fill=fill,
                fillcolor=faded(colour, 0.2),
                legendgroup=name,
                showlegend=False,
                hoverinfo="skip",
                row=row,
                col=1,
            )
    figure.add_scatter(
        x=one.steps,
        y=small(one.median),
        name=f"{name} ({seeds} runs)" if seeds > 1 else name,
        legendgroup=name,
        showlegend=row == 1,
        mode="lines",
        line={"color": colour, "width": 2.2, "dash": dash(place)},
        hovertemplate=f"{name}<br>step %{{x:,.0f}}<br>%{{y:.3g}}<extra></extra>",
        row=row,
        col=1,
    )
