"""What all charts share: colours, layout, and names that cannot do harm."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from curricula.tracking.names import numbered, shortened
from curricula.tracking.summary import loss_scale

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#C0659A", "#A87A00", "#2F8FC6", "#7A5195", "#8C564B", "#666666", "#8A7900")
"""Colours that people with any colour vision tell apart (after Okabe and Ito 2008), at least 3:1 against white."""

GREY = "#777777"
"""Colour of what others stand out against: uniform sampling, the goal."""

TARGET = "#B3003C"
"""Colour of the target task."""

_BRIGHT = ("#4AA8E0", "#FF8A3D", "#2CC79A", "#E59AC4", "#E6A817", "#9BD3F5", "#B99AD6", "#CC9A8E", "#ABABAB", "#D6C02E")

ON_DARK = {**dict(zip(COLOURS, _BRIGHT, strict=True)), GREY: "#9A9A9A", TARGET: "#FF7A9C"}
"""What each colour becomes on a dark page, at least 3:1 against it."""

FEW = 10
"""Up to so many tasks each has a line or an area of its own; above, they are rows of a map."""

ROWS = 200
"""Most rows of a map; of more tasks the most practised have a row each, and the others share the last one."""

PARTS = 160
"""Most equal parts of the run in a map."""

_DASHES = ("solid", "dash", "dot")
_ESCAPED = str.maketrans({sign: f"&#{ord(sign)};" for sign in "&<>\"'$%#{}"})


def label(name: str, length: int = 32) -> str:
    """Return a task name fit for plotly, which reads labels as a dialect of HTML, of TeX and of templates.

    Every sign that means something there becomes a character reference, which plotly turns back when it draws.

    Example:
        >>> label("<b>costs $5</b>")
        '&#60;b&#62;costs &#36;5&#60;/b&#62;'
    """
    return shortened(name, length).translate(_ESCAPED)


def labels(names: Iterable[str], target: str | None = None, length: int = 32) -> list[str]:
    """Return a label per name, all different as the categories of an axis must be; the target is marked.

    Example:
        >>> labels(["a", "b", "b "], target="b")
        ['a', '<b>b (target)</b>', 'b']
    """
    texts = [label(name, length) if name != target else f"<b>{label(name, length)} (target)</b>" for name in names]
    first = {text: place for place, text in reversed([*enumerate(texts)])}
    seen = Counter(dict.fromkeys(first, 1))
    return [
        text if first[text] == place else numbered(text, first, seen, "%s [%d]") for place, text in enumerate(texts)
    ]


def colour(place: int) -> str:
    """Return the colour of the line at this place."""
    return COLOURS[place % len(COLOURS)]


def dash(place: int) -> str:
    """Return the dash of the line at this place: colour is never the only difference for long."""
    return _DASHES[(place // 4) % len(_DASHES)]


def faded(hexadecimal: str, opacity: float) -> str:
    """Return a colour with an opacity, as ``#RRGGBBAA``.

    Example:
        >>> faded("#0072B2", 0.2)
        '#0072B233'
    """
    return f"{hexadecimal}{round(255 * opacity):02X}"


def new_chart(title: str, height: int, figure: go.Figure | None = None) -> go.Figure:
    """Return a figure with the layout that all charts have; the title stands in ``layout.title``."""
    figure = go.Figure() if figure is None else figure
    return figure.update_layout(
        template="plotly_white",
        title={"text": title, "x": 0, "xref": "container", "pad": {"l": 12}, "font": {"size": 16}},
        height=height,
        margin={"l": 60, "r": 20, "t": 60, "b": 50},
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13},
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "xanchor": "left"},
        hoverlabel={"align": "left", "namelength": -1},
        dragmode="zoom",
    )


def steps_axis(figure: go.Figure, steps: float, text: str = "optimiser steps", **where: Any) -> go.Figure:
    """Make an x axis one of steps, from 0 to ``steps``."""
    ticks = {"dtick": 1} if steps <= 6 else {"tickformat": "~s", "nticks": 8}
    return figure.update_xaxes(range=[0, max(1, steps)], title={"text": text, "standoff": 8}, **ticks, **where)


def loss_axis(figure: go.Figure, losses: npt.ArrayLike, **where: Any) -> go.Figure:
    """Make a y axis one of losses: logarithmic where that helps, with ticks that read as plain numbers."""
    if loss_scale(losses) == "linear":
        return figure.update_yaxes(type="linear", **where)
    finite = np.asarray(losses, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    decades = math.log10(finite.max() / finite.min())
    ticks = {"dtick": "D2"} if decades < 2 else {"dtick": max(1, round(decades / 6))}
    return figure.update_yaxes(type="log", tickformat="~g", **ticks, **where)


def says(message: str) -> go.Figure:
    """Return a chart with nothing but a message."""
    figure = new_chart("", 180)
    figure.add_annotation(text=message, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"size": 15})
    return figure.update_xaxes(visible=False).update_yaxes(visible=False)


def small(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return values as the 32-bit numbers that charts hold: a third of the page, and more digits than a screen."""
    return np.asarray(values, dtype=np.float32)


def rows_axis(figure: go.Figure, names: Sequence[str], marked: str | None = None, **where: Any) -> go.Figure:
    """Make a y axis one of named rows, the first at the top, the marked one framed by lines."""
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=list(names),
        range=[len(names) - 0.5, -0.5],
        tickfont={"size": 11},
        showgrid=False,
        automargin=True,
        **where,
    )
    if marked is not None and marked in names:
        place = list(names).index(marked)
        for edge in (place - 0.5, place + 0.5):
            figure.add_hline(y=edge, line={"color": TARGET, "width": 1.5}, **where)
    return figure


def map_height(rows: int) -> int:
    """Return the height in pixels of a map with so many rows."""
    return int(np.clip(140 + 17 * rows, 300, 860))
