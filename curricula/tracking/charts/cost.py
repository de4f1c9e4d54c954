"""What tasks have cost: their shares of it, what they learned by it, and charts with an axis of cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from curricula.tracking.charts.by_task import share_chart, task_lines
from curricula.tracking.charts.style import label, loss_axis, new_chart, says
from curricula.tracking.checks import check_history
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.summary import cost_axis, has_cost

_UNKNOWN = "the cost is not known"
_STEPS = "optimiser steps"


def costs_chart(history: CurriculumHistory) -> go.Figure:
    """Draw each task's share of the cost over time, where :func:`draws_chart` has its share of the draws.

    Args:
        history: without a cost, the chart says so.

    Returns:
        A ``plotly.graph_objects.Figure``.
    """
    check_history(history)
    if not has_cost(history):
        return says(_UNKNOWN)
    return share_chart(
        history, "cost", f"Share of the {label(history.unit)} of each task", f"share of {_unit(history)}"
    )


def learning_chart(history: CurriculumHistory) -> go.Figure:
    """Draw the training loss of every task against what the task itself has cost so far.

    Of many tasks, the most practised ones and the target. Lines are smoothed over a thirtieth of a task's own draws.

    Args:
        history: without a cost, or without a finite loss, the chart says so.

    Returns:
        A ``plotly.graph_objects.Figure``.
    """
    check_history(history)
    if not has_cost(history):
        return says(_UNKNOWN)
    if not np.isfinite(history.column("loss")).any():
        return says("no loss was recorded")
    figure = new_chart("Training loss of each task against its own cost", 400)
    hover = f"%{{x:,}} {_unit(history)}<br>loss %{{y:.3g}}"
    task_lines(figure, history, "task_cost", "loss", hover, smoothing=30)
    figure.update_xaxes(
        rangemode="tozero", tickformat="~s", title={"text": _unit(history, "of the task"), "standoff": 8}
    )
    return loss_axis(figure, np.concatenate([np.asarray(trace.y) for trace in figure.data]), title="loss")


def on_cost_axis(figure: go.Figure, history: CurriculumHistory) -> go.Figure:
    """Return a chart over steps as one over the cost of the run so far.

    Args:
        figure: of :func:`policy_chart`, :func:`losses_chart`, :func:`rewards_chart`, :func:`draws_chart`,
            :func:`costs_chart` or :func:`quantiles_chart`; it stays as it is.
        history: whose cost is known.

    Returns:
        A new ``plotly.graph_objects.Figure``.

    Raises:
        ValueError: if the cost is not known.
    """
    check_history(history)
    if not has_cost(history):
        raise ValueError(f"an axis of cost needs a history whose cost is known, got a total of {history.total_cost}")
    changes, moved = cost_changes(figure, history), go.Figure(figure)
    for trace, change in zip(moved.data, changes["data"], strict=True):
        trace.update(change)
    return moved.update_layout(changes["layout"])


def cost_changes(figure: go.Figure, history: CurriculumHistory) -> dict[str, Any]:
    """Return what is to be changed in a chart over steps to make it one over cost.

    Returns:
        ``data``: for each trace what is new; ``layout``: the x axes.
    """
    steps, costs = cost_axis(history)

    def moved(values: Any) -> list[float]:
        return [float(f"{cost:.7g}") for cost in np.interp(np.asarray(values, dtype=np.float64), steps, costs)]

    data = []
    for trace in figure.data:
        change: dict[str, Any] = {"x": moved(trace.x)}
        if trace.type == "bar":
            x, half = np.asarray(trace.x), trace.width / 2
            low, high = np.array(moved(x - half)), np.array(moved(x + half))
            change = {"x": ((low + high) / 2).tolist(), "width": (high - low).tolist()}
        if trace.hovertemplate is not None:
            change["hovertemplate"] = trace.hovertemplate.replace("step %{x", f"{_unit(history)} %{{x")
        data.append(change)
    layout = {}
    for name, axis in figure.layout.to_plotly_json().items():
        if name.startswith("xaxis"):
            text = axis["title"]["text"].replace(_STEPS, _unit(history, "so far"))
            kept = {key: value for key, value in axis.items() if key != "dtick"}
            layout[name] = kept | {
                "range": [0, float(costs[-1])],
                "tickformat": "~s",
                "title": axis["title"] | {"text": text},
            }
    return {"data": data, "layout": layout}


def _unit(history: CurriculumHistory, rest: str = "") -> str:
    return f"{label(history.unit)} {rest}".strip()
