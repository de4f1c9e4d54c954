"""Progress and reward over time, as quantiles over the steps of each part of the run."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from curricula.tracking.charts.style import GREY, colour, faded, new_chart, says, small, steps_axis
from curricula.tracking.checks import check_history
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.summary import binned_quantiles, part_edges

_PARTS = 80
_BANDS = ((0.1, 0.9, "middle 80 %"), (0.25, 0.75, "middle 50 %"))


def quantiles_chart(history: CurriculumHistory) -> go.Figure:
    """Draw the quantiles of the raw progress and of the reward over time: the median, the middle 50 % and 80 %.

    A scaler at work keeps the rewards spread over ``[-1, 1]`` while the progress shrinks by orders of magnitude.

    Args:
        history: without finite progress, the chart says so.

    Returns:
        A ``plotly.graph_objects.Figure``.
    """
    check_history(history)
    if not np.isfinite(history.column("progress")).any():
        return says("no progress was recorded")
    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.07)
    new_chart("Progress and reward", 460, figure)
    for row, (column, text) in enumerate((("progress", "progress"), ("reward", "reward")), 1):
        _bands(figure, history, column, row)
        figure.update_yaxes(title=text, row=row, col=1)
        figure.add_hline(y=0, line={"color": GREY, "width": 1, "dash": "dot"}, row=row, col=1)
    figure.update_yaxes(range=[-1.05, 1.05], row=2, col=1)
    figure.update_layout(hovermode="x unified")
    steps_axis(figure, history.steps, "", row=1, col=1)
    return steps_axis(figure, history.steps, row=2, col=1)


def _bands(figure: go.Figure, history: CurriculumHistory, column: str, row: int) -> None:
    bins = max(1, min(_PARTS, history.steps // 5))
    edges = part_edges(history, bins)
    at = (edges[:-1] + edges[1:]) / 2
    wanted = sorted({0.5, *(value for low, high, _ in _BANDS for value in (low, high))})
    found = dict(zip(wanted, binned_quantiles(history, column, bins, wanted), strict=True))
    for place, (low, high, name) in enumerate(_BANDS):
        for value, fill in ((low, None), (high, "tonexty")):
            figure.add_scatter(
                x=at,
                y=small(found[value]),
                name=name if fill else f"quantile {value:g}",
                legendgroup=name,
                mode="lines",
                line={"width": 0, "color": colour(0)},
                fill=fill,
                fillcolor=faded(colour(0), 0.18 + 0.12 * place),
                showlegend=bool(fill) and row == 1,
                hovertemplate=f"{value:.0%} quantile: %{{y:.3g}}<extra></extra>",
                row=row,
                col=1,
            )
    figure.add_scatter(
        x=at,
        y=small(found[0.5]),
        name="median",
        legendgroup="median",
        mode="lines",
        line={"color": colour(0), "width": 2},
        showlegend=row == 1,
        hovertemplate="median: %{y:.3g}<extra></extra>",
        row=row,
        col=1,
    )
