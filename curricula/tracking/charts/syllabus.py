"""The syllabus as a map: which task was practised when, and how much."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from curricula.bandits.base import FloatArray
from curricula.tracking.charts.grid import axes_of, cells, frame_target
from curricula.tracking.charts.style import (
    GREY,
    ROWS,
    TARGET,
    colour,
    labels,
    map_height,
    new_chart,
    rows_axis,
    says,
    small,
    steps_axis,
)
from curricula.tracking.checks import check_history
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.summary import cost_shares, costs_differ, leading, peak_steps, shares, spans


def syllabus_chart(history: CurriculumHistory) -> go.Figure:
    """Draw when and how much each task was practised.

    Tasks on a grid of two axes become maps: the share of draws and the step of the highest probability. Other tasks
    become rows: the time in which the middle four fifths of their draws lay, with their middle as a dot, and their
    share, with a dotted line at uniform sampling's, and a diamond at their share of the cost where that is another.

    Args:
        history: without a step, the chart says so.

    Returns:
        A ``plotly.graph_objects.Figure``.
    """
    check_history(history)
    if not history.steps:
        return says("no step was recorded")
    return _rows(history) if axes_of(history) is None else _maps(history)


def _maps(history: CurriculumHistory) -> go.Figure:
    titles = ("How much each task was practised", "When it was most probable (blank: never favoured)")
    figure = make_subplots(1, 2, horizontal_spacing=0.2, subplot_titles=titles)
    share, peaks = shares(history), peak_steps(history)
    cells(figure, history, share, "share of draws", "%{z:.1%} of the draws", ".0%", "Cividis", (0.0, None), 1, 0.41)
    limits = (0.0, float(history.steps))
    cells(figure, history, peaks, "step", "most probable at step %{z:,.0f}", "~s", "Viridis", limits, 2, 1.01)
    for column in (1, 2):
        frame_target(figure, history, column)
    figure.update_annotations(font_size=13)
    return new_chart("The syllabus as a map", 470, figure).update_layout(margin_t=80)


def _rows(history: CurriculumHistory) -> go.Figure:
    kept, others = leading(history, ROWS)
    names = labels([history.tasks[arm] for arm in kept], history.target)
    titles = ("When", "How much" + (" (diamonds: share of cost)" if costs_differ(history) else ""))
    height = map_height(len(names)) + 30
    figure = make_subplots(
        1, 2, shared_yaxes=True, column_widths=[0.68, 0.32], horizontal_spacing=0.05, subplot_titles=titles
    )
    early, middle, late = (values[kept] for values in spans(history))
    share = shares(history)[kept]
    colours = [TARGET if history.tasks[arm] == history.target else colour(0) for arm in kept]
    _spans(figure, names, colours, early, middle, late)
    figure.add_bar(
        y=names,
        x=small(share),
        orientation="h",
        marker={"color": colours, "line": {"width": 0}},
        hovertemplate="%{y}<br>%{x:.2%} of the draws<extra></extra>",
        row=1,
        col=2,
    )
    if costs_differ(history):
        figure.add_scatter(
            y=names,
            x=small(cost_shares(history)[kept]),
            mode="markers",
            marker={"symbol": "diamond", "color": GREY, "size": 9, "line": {"width": 1.5, "color": "#FFFFFF"}},
            hovertemplate="%{y}<br>%{x:.2%} of the cost<extra></extra>",
            row=1,
            col=2,
        )
    figure.add_vline(x=1 / len(history.tasks), line={"color": GREY, "dash": "dot", "width": 1.5}, row=1, col=2)
    title = "The syllabus" + (f": the {len(kept):,} most practised of {len(history.tasks):,} tasks" * bool(len(others)))
    new_chart(title, height, figure).update_layout(
        showlegend=False, bargap=0.2 if len(names) <= 60 else 0.0, margin_t=80
    )
    figure.update_annotations(font_size=13)
    for column in (1, 2):
        rows_axis(figure, names, row=1, col=column)
    figure.update_xaxes(
        tickformat=".0%" if share.max() > 0.03 else ".1%",
        rangemode="tozero",
        title={"text": "share of draws", "standoff": 8},
        nticks=5,
        row=1,
        col=2,
    )
    return steps_axis(figure, history.steps, row=1, col=1)


def _spans(
    figure: go.Figure, names: list[str], colours: list[str], early: FloatArray, middle: FloatArray, late: FloatArray
) -> None:
    times = np.stack([early, late], axis=1)
    figure.add_bar(
        y=names,
        x=small(late - early),
        base=early,
        orientation="h",
        marker={"color": colours, "opacity": 0.45, "line": {"width": 0}},
        customdata=times,
        hovertemplate="%{y}<br>80 % of its draws: %{customdata[0]:,.0f} to %{customdata[1]:,.0f}<extra></extra>",
        row=1,
        col=1,
    )
    figure.add_scatter(
        y=names,
        x=middle,
        mode="markers",
        marker={"color": colours, "size": 7 if len(names) <= 60 else 4},
        hovertemplate="%{y}<br>half of its draws before %{x:,.0f}<extra></extra>",
        row=1,
        col=1,
    )
