"""The policy over time."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from curricula.bandits.base import FloatArray
from curricula.tracking.charts.style import (
    FEW,
    GREY,
    PARTS,
    ROWS,
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
from curricula.tracking.names import counted, unlike
from curricula.tracking.summary import effective_numbers, leading, policy_in_parts


def policy_chart(history: CurriculumHistory) -> go.Figure:
    """Draw the probability of every task over time, and below it the effective number of tasks.

    Few tasks are areas that fill up to 1; many are the rows of a map, coloured by the multiple of uniform.

    Args:
        history: of any length; without a step, the chart says so.

    Returns:
        A ``plotly.graph_objects.Figure``.
    """
    check_history(history)
    if not history.steps:
        return says("no step was recorded")
    many = len(history.tasks) > FEW
    height = map_height(min(len(history.tasks), ROWS)) + 120 if many else 470
    share = 110 / height
    figure = make_subplots(2, 1, shared_xaxes=True, row_heights=[1 - share, share], vertical_spacing=28 / height)
    (_map if many else _areas)(figure, history)
    what = f"{counted(len(history.tasks), 'task')}, {counted(history.steps, 'step')}"
    new_chart(f"Policy over time: {what}", height, figure)
    _effective(figure, history)
    steps_axis(figure, history.steps, "", row=1, col=1)
    return steps_axis(figure, history.steps, row=2, col=1)


def _areas(figure: go.Figure, history: CurriculumHistory) -> None:
    steps, policies = history.policies()
    # A snapshot holds until the next one, the last until the end of the run.
    steps, policies = np.append(steps, history.steps), np.vstack([policies, policies[-1:]])
    for arm, name in enumerate(labels(history.tasks, history.target)):
        figure.add_scatter(
            x=steps,
            y=small(policies[:, arm]),
            name=name,
            mode="lines",
            line={"width": 0.5, "color": colour(arm), "shape": "hv"},
            fillcolor=colour(arm),
            stackgroup="policy",
            hovertemplate="%{y:.1%}",
            row=1,
            col=1,
        )
    figure.update_layout(hovermode="x unified")
    figure.update_yaxes(range=[0, 1], tickformat=".0%", title="probability", row=1, col=1)


def _map(figure: go.Figure, history: CurriculumHistory) -> None:
    tasks = len(history.tasks)
    edges, policies = policy_in_parts(history, PARTS)
    kept, others = leading(history, ROWS - 1 if tasks > ROWS else ROWS)
    rows = policies.T[kept]
    names = labels([history.tasks[arm] for arm in kept], history.target)
    if len(others):
        rows = np.vstack([rows, policies.T[others].mean(axis=0)])
        names.append(unlike(f"mean of {len(others):,} others", names))
    multiples = rows * tasks
    most = max(2.0, float(multiples.max()))
    least = min(0.5, max(float(multiples.min()), most / 1000, 1e-3))
    figure.add_heatmap(
        x=edges,
        y=names,
        z=small(np.log2(np.maximum(multiples, least))),
        customdata=small(rows),
        zmin=math.log2(least),
        zmax=math.log2(most),
        colorscale="Viridis",
        colorbar=_colour_bar(least, most) | {"y": 1, "yanchor": "top", "len": 0.72},
        hovertemplate="%{y}<br>about step %{x:,.0f}<br>probability %{customdata:.2%}<extra></extra>",
        row=1,
        col=1,
    )
    marked = next((name for name in names if name.startswith("<b>")), None)
    rows_axis(figure, names, marked, row=1, col=1)


def _colour_bar(least: float, most: float) -> dict[str, object]:
    powers = list(range(math.ceil(math.log2(least) - 1e-9), math.floor(math.log2(most)) + 1))
    every = max(1, math.ceil(len(powers) / 8))
    powers = [power for power in powers if power % every == 0]
    texts = ["uniform" if power == 0 else f"{2**power}×" if power > 0 else f"1/{2**-power}×" for power in powers]
    title = {"text": "probability, as a multiple of uniform", "side": "right", "font": {"size": 11}}
    return {"tickvals": powers, "ticktext": texts, "title": title, "thickness": 12, "outlinewidth": 0, "x": 1.01}


def _effective(figure: go.Figure, history: CurriculumHistory) -> None:
    steps, _ = history.policies()
    numbers: FloatArray = effective_numbers(history)
    figure.add_scatter(
        x=np.append(steps, history.steps),
        y=small(np.append(numbers, numbers[-1])),
        name="effective tasks",
        mode="lines",
        line={"color": colour(0), "width": 1.8},
        hovertemplate="%{y:.1f} effective tasks<extra></extra>",
        showlegend=False,
        row=2,
        col=1,
    )
    figure.add_hline(y=len(history.tasks), line={"color": GREY, "dash": "dot", "width": 1}, row=2, col=1)
    figure.update_yaxes(
        range=[0, len(history.tasks) * 1.12], nticks=4, title="effective<br>tasks", title_font_size=11, row=2, col=1
    )
