"""The report: one self-contained, interactive HTML page that explains a curriculum, and compares it with others."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curricula.tracking.checks import check_groups, check_history
from curricula.tracking.curves import Comparison
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.panels import json_for_page, panels
from curricula.tracking.summary import cost_shares, has_cost, leading, peak_steps, shares
from curricula.tracking.whole_files import written_whole
from curricula.tracking.words import facts

_FILES = ("report.html.j2", "report.js")

_ROWS = 40
"""Most tasks in a table."""

# Control characters, marks that turn the writing direction, and halves of characters, which no file can hold.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


@dataclass(frozen=True)
class Section:
    """One part of a report: a run, a comparison, or both.

    Args:
        title: heading.
        text: a sentence or two below it.
        table: rows of results, all with the same columns.
        history: the run whose curriculum is shown.
        comparison: losses of several methods on the way to a goal.
        runs: histories of several runs by name, shown side by side; several of one name (its seeds) become a band.

    Raises:
        TypeError: if a part is of another kind.
        ValueError: if the rows of the table have not the same columns.
    """

    title: str
    text: str = ""
    table: Sequence[Mapping[str, object]] = ()
    history: CurriculumHistory | None = None
    comparison: Comparison | None = None
    runs: Mapping[str, Sequence[CurriculumHistory]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.title, str) or not isinstance(self.text, str):
            raise TypeError(f"title and text of a Section must be strings, got {self.title!r} and {self.text!r}")
        if not isinstance(self.table, (list, tuple)) or not all(isinstance(row, Mapping) for row in self.table):
            raise TypeError(f"table of a Section must be a list of rows, [{{column: value}}, ...], got {self.table!r}")
        if len({tuple(row) for row in self.table}) > 1:
            raise ValueError(f"the rows of a Section's table must have the same columns, got {self.table!r}")
        if self.history is not None:
            check_history(self.history)
        if self.comparison is not None and not isinstance(self.comparison, Comparison):
            raise TypeError(f"comparison of a Section must be a Comparison, got {self.comparison!r}")
        check_groups(self.runs, "runs")


def write_report(path: str | Path, sections: Sequence[Section], *, title: str = "Curriculum") -> Path:
    """Write one HTML page that needs no network and no other file: about 5 MB, of which 4.8 are plotly.js.

    The page's own policy lets nothing run but plotly.js and the few lines that draw the charts, and lets nothing be
    loaded. The file appears whole or not at all.

    Args:
        path: of the page; missing folders are made.
        sections: at least one.
        title: of the page.

    Returns:
        The path.

    Raises:
        ImportError: if the ``plots`` extra is not installed.
        TypeError: if the sections are no list of them.
        ValueError: if there is no section.

    Example:
        >>> import tempfile
        >>> from curricula import Teacher
        >>> teacher = Teacher(["easy", "hard"])
        >>> history = CurriculumHistory(teacher.tasks)
        >>> for _ in range(20):
        ...     draw = teacher.draw()
        ...     reward = teacher.reward(draw, progress=float(draw.arm))
        ...     history.record(draw, progress=0.0, reward=reward, loss=0.7, policy=teacher.probabilities())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_report(f"{folder}/page.html", [Section("A run", history=history)]).stat().st_size > 10_000
        True
    """
    if not isinstance(sections, (list, tuple)) or not all(isinstance(section, Section) for section in sections):
        raise TypeError(f"sections must be a list of Section, got {sections!r}: [Section(title, history=history)]")
    if not sections:
        raise ValueError("a report needs at least one Section, got none")
    try:
        from jinja2 import Environment, StrictUndefined
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError(
            f"reports need the plots extra ({error}): pip install 'lightning-curricula[plots]'"
        ) from error
    from curricula.tracking.charts.style import ON_DARK

    template, script = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in _FILES)
    library = get_plotlyjs()
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    contents = [_content(section) for section in sections]
    page = environment.from_string(template).render(
        title=title,
        sections=contents,
        has_cost=any(chart["has_cost"] for content in contents for chart in content["charts"]),
        theme=json_for_page({"colours": ON_DARK, "light": _theme(**_LIGHT), "dark": _theme(**_DARK)}),
        hashes=[_hash(library), _hash(script)],
        script=script,
    )
    # After the escaping, in which no such comment can survive: the library is no template and must not be changed.
    page = _UNPRINTABLE.sub("\ufffd", page).replace("<!--plotly.js-->", library, 1)
    with written_whole(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def task_table(history: CurriculumHistory) -> list[dict[str, str]]:
    """Return a row per task: draws, cost and passes where they are known, losses, step of the highest probability."""
    share, peaks, draws = shares(history), peak_steps(history), history.draws
    costs, passes = cost_shares(history), history.passes
    any_passes = bool(np.isfinite(passes).any())
    first, last = history.first_losses, history.last_losses
    return [
        {
            "task": name + (" (target)" if name == history.target else ""),
            "draws": f"{draws[arm]:,}",
            "share of draws": f"{share[arm]:.1%}",
            **({"share of cost": f"{costs[arm]:.1%}"} if has_cost(history) else {}),
            **({"passes": f"{passes[arm]:,.1f}" if np.isfinite(passes[arm]) else "–"} if any_passes else {}),
            "first loss": _number(first[arm]),
            "last loss": _number(last[arm]),
            "most probable at step": "–" if np.isnan(peaks[arm]) else f"{peaks[arm]:,.0f}",
        }
        for arm, name in enumerate(history.tasks)
    ]


def _content(section: Section) -> dict[str, Any]:
    tables, details = [], []
    if section.table:
        tables.append(_table("Results", list(section.table)))
    if section.history is not None:
        details = _task_tables(section.history)
    return {
        "title": section.title,
        "text": section.text,
        "facts": {} if section.history is None else facts(section.history),
        "tables": tables,
        "charts": panels(section.history, section.comparison, section.runs),
        "details": details,
    }


def _task_tables(history: CurriculumHistory) -> list[dict[str, Any]]:
    rows = task_table(history)
    kept, others = leading(history, _ROWS)
    note = ""
    if len(others):
        left_out = shares(history)[others].sum()
        named = ", the target among them" if history.target in history.tasks else ""
        note = (
            f"The {len(kept)} most practised of {len(rows):,} tasks{named}; the other {len(others):,}, with "
            f"{left_out:.0%} of the draws, are left out here."
        )
    return [_table("Tasks", [rows[arm] for arm in kept], note)]


def _table(title: str, rows: Sequence[Mapping[str, object]], note: str = "") -> dict[str, Any]:
    columns = list(rows[0])
    numbers = {column for column in columns if all(_is_number(row[column]) for row in rows)}
    return {"title": title, "columns": columns, "numbers": numbers, "rows": rows, "note": note}


def _is_number(value: object) -> bool:
    return str(value).strip("–%x").replace(",", "").replace(".", "").replace("e-", "").isdigit() or str(value) == "–"


def _number(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "–"


_LIGHT = {"text": "#1c1c1c", "soft": "#5c5c5c", "line": "#dcdcd8", "card": "#ffffff"}
_DARK = {"text": "#e8e8e6", "soft": "#a9a9a5", "line": "#3a3c40", "card": "#212326"}


def _theme(text: str, soft: str, line: str, card: str) -> dict[str, Any]:
    clear = "rgba(0,0,0,0)"
    axis = {"gridcolor": line, "zerolinecolor": line, "linecolor": line, "automargin": True}
    hover = {"bgcolor": card, "bordercolor": soft, "font": {"color": text}}
    return {
        "layout": {
            "font": {"color": text},
            "paper_bgcolor": clear,
            "plot_bgcolor": clear,
            "xaxis": axis,
            "yaxis": axis,
            "legend": {"bgcolor": clear},
            "hoverlabel": hover,
            "modebar": {"bgcolor": clear, "color": soft, "activecolor": text},
            "annotationdefaults": {"font": {"color": text}},
        }
    }


def _hash(script: str) -> str:
    # Browsers take the digest after they have made every line end a line feed.
    text = script.replace("\r\n", "\n").replace("\r", "\n")
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
