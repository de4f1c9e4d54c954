"""Tasks on a grid of two axes: the policy as a map that moves through time."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from curricula.bandits.base import FloatArray
from curricula.tracking.charts.style import TARGET, label, labels, new_chart, says, small
from curricula.tracking.checks import check_history
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.summary import policy_in_parts

_MOMENTS = 24
_CELLS = 60_000
"""Most cells over all moments."""


def axes_of(history: CurriculumHistory) -> list[tuple[str, list[str]]] | None:
    """Return name and labels of the two axes (down, across) that the tasks fill, or ``None`` if there are none."""
    axes = list((history.grid or {}).items())
    if len(axes) != 2 or len(axes[0][1]) * len(axes[1][1]) != len(history.tasks):
        return None
    return axes


def has_grid(history: CurriculumHistory) -> bool:
    """Return whether the tasks lie on a grid of two axes."""
    return axes_of(history) is not None


def grid_chart(history: CurriculumHistory) -> go.Figure:
    """Draw the policy on the tasks' grid, with a slider through time.

    Every position of the slider is the mean over its part of the run; all have the same colours.

    Args:
        history: whose tasks lie on a grid of two axes; without one, or without a step, the chart says so.

    Returns:
        A ``plotly.graph_objects.Figure``; ``layout.sliders[0].steps`` restyle its only trace.
    """
    check_history(history)
    if axes_of(history) is None:
        return says("the tasks lie on no grid of two axes")
    if not history.steps:
        return says("no step was recorded")
    moments = max(2, min(_MOMENTS, _CELLS // len(history.tasks)))
    edges, policies = policy_in_parts(history, moments)
    figure = go.Figure()
    limits = (0.0, float(policies.max()))
    hover = "probability %{z:.2%}"
    cells(figure, history, policies[-1], "probability", hover, ".0%", "Viridis", limits, None, 1.01)
    frame_target(figure, history, None)
    shape = _shape(history)
    steps: list[dict[str, Any]] = [
        {
            "method": "restyle",
            "label": f"{low:,.0f}",
            "args": [{"z": [_rounded(policy.reshape(shape))]}, [0]],
        }
        for low, policy in zip(edges[:-1], policies, strict=True)
    ]
    slider = {"active": len(steps) - 1, "steps": steps, "currentvalue": {"prefix": "from step "}, "pad": {"t": 45}}
    return new_chart("The policy on the way", 480, figure).update_layout(sliders=[slider])


def cells(
    figure: go.Figure,
    history: CurriculumHistory,
    values: FloatArray,
    what: str,
    hover: str,
    ticks: str,
    colours: str,
    limits: tuple[float, float | None],
    column: int | None,
    bar_at: float,
) -> None:
    """Add a map of one value per task, shape ``(N,)``, to a figure or to its subplot in a column."""
    axes = axes_of(history)
    assert axes is not None
    (down, rows), (across, columns) = axes
    where = {} if column is None else {"row": 1, "col": column}
    row_labels, column_labels = labels(rows, length=14), labels(columns, length=14)
    high = limits[1]
    if high is None:
        high = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    figure.add_heatmap(
        x=column_labels,
        y=row_labels,
        z=small(values.reshape(_shape(history))),
        zmin=limits[0],
        zmax=high,
        colorscale=colours,
        xgap=1,
        ygap=1,
        hoverongaps=False,
        colorbar={
            "title": {"text": what, "side": "right", "font": {"size": 11}},
            "thickness": 10,
            "outlinewidth": 0,
            "tickformat": ticks,
            "nticks": 6,
            "x": bar_at,
        },
        hovertemplate=f"{label(down)} %{{y}}, {label(across)} %{{x}}<br>{hover}<extra></extra>",
        **where,
    )
    figure.update_xaxes(type="category", title={"text": label(across), "standoff": 8}, showgrid=False, **where)
    figure.update_yaxes(
        type="category", title={"text": label(down), "standoff": 8}, autorange="reversed", showgrid=False, **where
    )


def frame_target(figure: go.Figure, history: CurriculumHistory, column: int | None) -> None:
    """Frame the target's cell in a map, where there is a target."""
    if history.target not in history.tasks:
        return
    row, across = divmod(history.tasks.index(history.target), _shape(history)[1])
    where = {} if column is None else {"row": 1, "col": column}
    corners = {"x0": across - 0.5, "x1": across + 0.5, "y0": row - 0.5, "y1": row + 0.5}
    for colour, width in (("#FFFFFF", 5), (TARGET, 2.5)):
        figure.add_shape(type="rect", line={"color": colour, "width": width}, **corners, **where)


def _shape(history: CurriculumHistory) -> tuple[int, int]:
    axes = axes_of(history)
    assert axes is not None
    return len(axes[0][1]), len(axes[1][1])


def _rounded(policy: FloatArray) -> list[list[float]]:
    rows: list[list[float]] = policy.round(5).tolist()
    return rows
