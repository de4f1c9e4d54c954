"""Every task over time: its loss, its reward, its share of the draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import plotly.graph_objects as go

from curricula.bandits.base import FloatArray
from curricula.tracking.charts.style import (
    FEW,
    PARTS,
    ROWS,
    colour,
    dash,
    labels,
    loss_axis,
    map_height,
    new_chart,
    rows_axis,
    says,
    small,
    steps_axis,
)
from curricula.tracking.checks import check_history
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.names import unlike
from curricula.tracking.summary import (
    binned_losses,
    binned_means,
    binned_shares,
    leading,
    loss_scale,
    part_edges,
    rolling_mean,
    rows_of_tasks,
)

_POINTS = 400
"""Most points of a line."""


def losses_chart(history: CurriculumHistory) -> go.Figure:
    """Draw the training loss of every task over time.

    Few tasks are lines, each smoothed over a thirtieth of its own steps; many are the rows of a map of means, each
    carried on until the task's next step. The scale is logarithmic where that helps
    (:func:`~curricula.tracking.summary.loss_scale`).

    Args:
        history: without a step, or without a finite loss, the chart says so.

    Returns:
        A ``plotly.graph_objects.Figure``.
    """
    check_history(history)
    if not np.isfinite(history.column("loss")).any():
        return says("no loss was recorded")
    title = "Training loss of each task"
    if len(history.tasks) > FEW:
        losses = binned_losses(history, _parts(history))
        return _map(history, losses, title, "loss", logarithmic=loss_scale(losses) == "log", means=_mean)
    figure = _lines(history, "loss", title, "loss %{y:.3g}", smoothing=30)
    drawn = np.concatenate([np.asarray(trace.y) for trace in figure.data])
    return loss_axis(figure, drawn, title="loss")


def rewards_chart(history: CurriculumHistory) -> go.Figure:
    """Draw the mean reward of every task over time, in ``[-1, 1]``.

    Few tasks are lines, many are the rows of a map, as in :func:`losses_chart`; blank is where a task was not drawn.

    Args:
        history: without a reward, the chart says so.

    Returns:
        A ``plotly.graph_objects.Figure``.
    """
    check_history(history)
    if not np.isfinite(history.column("reward")).any():
        return says("no reward was recorded")
    title = "Reward of each task"
    if len(history.tasks) > FEW:
        rewards = binned_means(history, "reward", _parts(history))
        return _map(history, rewards, title, "reward", limits=(-1.0, 1.0), means=_mean)
    figure = _lines(history, "reward", title, "reward %{y:.2f}", smoothing=12)
    return figure.update_yaxes(range=[-1.05, 1.05], title="reward, smoothed")


def draws_chart(history: CurriculumHistory) -> go.Figure:
    """Draw each task's share of the draws over time: what was drawn, where the policy is what was likely.

    Args:
        history: without a step, the chart says so.

    Returns:
        A ``plotly.graph_objects.Figure``.
    """
    check_history(history)
    if not history.steps:
        return says("no step was recorded")
    return share_chart(history, None, "Share of the draws of each task", "share of draws")


def share_chart(history: CurriculumHistory, column: str | None, title: str, what: str) -> go.Figure:
    """Draw each task's share of the sum of a column over time; ``None``: of the draws.

    Few tasks are bars that fill up to 1, many are the rows of a map.
    """
    if len(history.tasks) > FEW:
        shares = binned_shares(history, min(60, _parts(history)), column)
        return _map(history, shares, title, what, means=_mean, percent=True)
    shares = binned_shares(history, min(40, _parts(history)), column)
    edges = part_edges(history, shares.shape[1])
    figure = new_chart(title, 360)
    for arm, name in enumerate(labels(history.tasks, history.target)):
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=small(shares[arm]),
            width=float(edges[1] - edges[0]) * 0.94,
            name=name,
            marker={"color": colour(arm), "line": {"width": 0}},
            hovertemplate="%{y:.1%}",
        )
    figure.update_layout(barmode="stack", hovermode="x unified", bargap=0)
    figure.update_yaxes(range=[0, 1], tickformat=".0%", title=what)
    return steps_axis(figure, history.steps)


def _parts(history: CurriculumHistory) -> int:
    return max(1, min(PARTS, history.steps))


def _lines(history: CurriculumHistory, column: str, title: str, hover: str, *, smoothing: int) -> go.Figure:
    figure = new_chart(title, 400)
    task_lines(figure, history, "step", column, f"step %{{x:,}}<br>{hover}", smoothing=smoothing)
    return steps_axis(figure, history.steps)


def task_lines(
    figure: go.Figure, history: CurriculumHistory, across: str, column: str, hover: str, *, smoothing: int
) -> None:
    """Add a line for each of at most :data:`FEW` tasks: one column against another."""
    at, values = history.column(across), history.column(column)
    shown = leading(history, FEW).shown.tolist()
    names = dict(zip(shown, labels([history.tasks[arm] for arm in shown], history.target), strict=True))
    of_tasks = rows_of_tasks(history)
    for place, arm in enumerate(shown):
        rows = of_tasks[arm]
        rows = rows[np.isfinite(values[rows])]
        if not len(rows):
            continue
        smooth = rolling_mean(values[rows], max(1, len(rows) // smoothing))
        every = -(-len(rows) // _POINTS)
        width = 3 if history.tasks[arm] == history.target else 1.8
        figure.add_scatter(
            x=at[rows][::every],
            y=small(smooth[::every]),
            name=names[arm],
            mode="lines" if len(rows) > 1 else "markers",
            line={"color": colour(place), "dash": dash(place), "width": width},
            hovertemplate=f"{names[arm]}<br>{hover}<extra></extra>",
        )


def _mean(values: FloatArray) -> FloatArray:
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), dtype=np.float64)


def _map(
    history: CurriculumHistory,
    values: FloatArray,
    title: str,
    what: str,
    *,
    means: Callable[[FloatArray], FloatArray],
    limits: tuple[float, float] | None = None,
    logarithmic: bool = False,
    percent: bool = False,
) -> go.Figure:
    kept, others = leading(history, ROWS - 1 if len(history.tasks) > ROWS else ROWS)
    names = labels([history.tasks[arm] for arm in kept], history.target)
    rows = values[kept]
    if len(others):
        rows = np.vstack([rows, means(values[others])])
        names.append(unlike(f"mean of {len(others):,} others", names))
    finite = rows[np.isfinite(rows)]
    low, high = limits or (0.0 if percent else float(finite.min()), float(finite.max()))
    bar: dict[str, Any] = {"title": {"text": what, "side": "right", "font": {"size": 11}}, "thickness": 12}
    bar |= {"outlinewidth": 0, "x": 1.01, "tickformat": ".0%" if percent else None}
    shown = rows
    if logarithmic:
        low = max(low, high * 1e-4)
        shown, low, high = np.log10(np.maximum(rows, low)), float(np.log10(low)), float(np.log10(high))
        ticks = np.linspace(low, high, 6)
        bar |= {"tickvals": ticks.tolist(), "ticktext": [f"{10**tick:.2g}" for tick in ticks]}
    figure = new_chart(title, map_height(len(names)))
    figure.add_heatmap(
        x=part_edges(history, rows.shape[1]),
        y=names,
        z=small(shown),
        customdata=small(rows) if logarithmic else None,
        zmin=low,
        zmax=high,
        colorscale="Cividis",
        colorbar=bar,
        hoverongaps=False,
        hovertemplate="%{y}<br>about step %{x:,.0f}<br>"
        f"{what} %{{{'customdata' if logarithmic else 'z'}:{'.1%' if percent else '.3g'}}}<extra></extra>",
    )
    marked = next((name for name in names if name.startswith("<b>")), None)
    return steps_axis(rows_axis(figure, names, marked), history.steps)
