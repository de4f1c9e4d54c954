"""Methods against each other, over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from curricula.tracking.charts.style import (
    GREY,
    colour,
    dash,
    faded,
    label,
    labels,
    loss_axis,
    new_chart,
    says,
    small,
    steps_axis,
)
from curricula.tracking.curves import Comparison, Curve, median_curve, median_reached, range_curve
from curricula.tracking.summary import loss_scale


def comparison_chart(comparison: Comparison) -> go.Figure:
    """Draw the loss of every method on its way to the goal, and the steps that each run took to reach it.

    Lines are medians over the seeds, bands reach from the least to the greatest; on the right a dot is a seed that
    reached the goal, a cross one that ended without it, a bar the median.

    Args:
        comparison: without a run, the chart says so.

    Returns:
        A ``plotly.graph_objects.Figure``.
    """
    if not isinstance(comparison, Comparison):
        raise TypeError(f"comparison must be a Comparison, got {comparison!r}: Comparison(curves, goal)")
    groups = {name: list(group) for name, group in comparison.curves.items() if group}
    if not groups:
        return says("no run was recorded")
    titles = ("Line: median of the seeds. Band: all of them", "Each dot: a seed. Bar: median")
    figure = make_subplots(1, 2, column_widths=[0.62, 0.38], horizontal_spacing=0.2, subplot_titles=titles)
    names = dict(zip(groups, labels(groups, length=20), strict=True))
    new_chart("Curriculum against others", 400 + 26 * max(0, len(groups) - 2), figure)
    figure.update_layout(margin_t=90, legend_y=1.08).update_annotations(font_size=13)
    _losses(figure, groups, names, comparison)
    _steps(figure, groups, names)
    return figure


def group_colours(groups: Mapping[str, object]) -> dict[str, str]:
    """Return a colour per method; uniform sampling is the grey that others stand out against."""
    bright = [name for name in groups if name != "uniform"]
    return {"uniform": GREY} | {name: colour(place) for place, name in enumerate(bright)}


def _losses(
    figure: go.Figure, groups: Mapping[str, list[Curve]], names: Mapping[str, str], comparison: Comparison
) -> None:
    colours = group_colours(groups)
    finite = [comparison.goal]
    for place, (name, group) in enumerate(groups.items()):
        at, median = median_curve(group)
        low, high = range_curve(group)[1:]
        if len(group) > 1:
            for edge, fill in ((low, None), (high, "tonexty")):
                figure.add_scatter(
                    x=at,
                    y=small(edge[: len(at)]),
                    mode="lines",
                    line={"width": 0, "color": colours[name]},
                    fill=fill,
                    fillcolor=faded(colours[name], 0.2),
                    legendgroup=names[name],
                    showlegend=False,
                    hoverinfo="skip",
                    row=1,
                    col=1,
                )
        figure.add_scatter(
            x=at,
            y=small(median),
            name=names[name],
            legendgroup=names[name],
            mode="lines",
            line={"color": colours[name], "width": 2.4, "dash": dash(place)},
            hovertemplate=f"{names[name]}<br>step %{{x:,}}<br>median loss %{{y:.3g}}<extra></extra>",
            row=1,
            col=1,
        )
        finite += [loss for curve in group for loss in curve.loss if math.isfinite(loss)]
    logarithmic = loss_scale(finite) == "log"
    figure.add_annotation(
        x=1,
        xref="x domain",
        xanchor="right",
        y=math.log10(comparison.goal) if logarithmic else comparison.goal,
        yref="y",
        yanchor="bottom",
        text="goal",
        showarrow=False,
    )
    figure.add_hline(
        y=comparison.goal,
        line={"color": GREY, "dash": "dash", "width": 1.2},
        row=1,
        col=1,
    )
    loss_axis(figure, finite, title=label(comparison.label, 60), row=1, col=1)
    longest = max((max(curve.updates, default=0) for group in groups.values() for curve in group), default=0)
    steps_axis(figure, longest, row=1, col=1)


def _steps(figure: go.Figure, groups: Mapping[str, list[Curve]], names: Mapping[str, str]) -> None:
    colours, unsolved = group_colours(groups), False
    for row, (name, group) in enumerate(groups.items()):
        solved = [curve.reached is not None for curve in group]
        at = [max(curve.updates, default=0) if curve.reached is None else curve.reached for curve in group]
        unsolved |= not all(solved)
        figure.add_scatter(
            x=at,
            y=row + (np.linspace(-0.22, 0.22, len(group)) if len(group) > 1 else np.zeros(1)),
            mode="markers",
            legendgroup=names[name],
            showlegend=False,
            marker={
                "color": colours[name],
                "size": 9,
                "opacity": 0.8,
                "symbol": ["circle" if done else "x-thin-open" for done in solved],
                "line": {"width": [0 if done else 2 for done in solved]},
            },
            text=[_seed(curve) for curve in group],
            hovertemplate=f"{names[name]}, %{{text}}<extra></extra>",
            row=1,
            col=2,
        )
        median = median_reached(group)
        if math.isfinite(median):
            figure.add_scatter(
                x=[median, median],
                y=[row - 0.34, row + 0.34],
                mode="lines+text",
                text=[f"<b>{median:,.0f}</b>", ""],
                textposition="top center",
                line={"color": colours[name], "width": 4},
                legendgroup=names[name],
                showlegend=False,
                hovertemplate=f"{names[name]}<br>median {median:,.0f} steps<extra></extra>",
                row=1,
                col=2,
            )
    figure.update_yaxes(
        tickvals=list(range(len(groups))),
        ticktext=list(names.values()),
        range=[len(groups) - 0.4, -0.8],
        showgrid=False,
        zeroline=False,
        automargin=True,
        row=1,
        col=2,
    )
    text = "optimiser steps to the goal" + ("<br>(cross: not reached)" if unsolved else "")
    longest = max((max(curve.updates, default=0) for group in groups.values() for curve in group), default=0)
    steps_axis(figure, 1.05 * longest, text, row=1, col=2)


def _seed(curve: Curve) -> str:
    if curve.reached is not None:
        return f"seed {curve.seed}: {curve.reached:,} steps"
    return f"seed {curve.seed}: not reached in {max(curve.updates, default=0):,} steps"
