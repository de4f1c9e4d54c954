"""The report: one self-contained HTML page that explains a curriculum, and compares it with others."""

from __future__ import annotations

import base64
import io
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curricula.tracking.curves import Comparison
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.summary import peak_steps, shares

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS = 40
"""Most tasks in a table."""

# Control characters, marks that turn the writing direction, and halves of characters, which no file can hold.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Section:
    """One part of a report: a run, a comparison, or both.

    Args:
        title: heading.
        text: a sentence or two below it.
        table: rows of results, all with the same columns.
        history: the run whose curriculum is shown.
        comparison: runs of several methods.
    """

    title: str
    text: str = ""
    table: Sequence[Mapping[str, object]] = ()
    history: CurriculumHistory | None = None
    comparison: Comparison | None = None


def write_report(path: str | Path, sections: Sequence[Section], *, title: str = "Curriculum") -> Path:
    """Write one HTML page that needs no network, no script and no other file.

    The file appears whole or not at all.

    Args:
        path: of the page; missing folders are made.
        sections: at least one.
        title: of the page.

    Returns:
        The path.

    Raises:
        ImportError: if the ``plots`` extra is not installed.
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
    if not sections:
        raise ValueError("a report needs at least one Section, got none")
    try:
        from jinja2 import Environment, StrictUndefined
        from matplotlib.figure import Figure as _  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"reports need the plots extra ({error}): pip install 'lightning-curricula[plots]'"
        ) from error
    template = Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(template).render(title=title, sections=[_content(section) for section in sections])
    return _write(Path(path), _UNPRINTABLE.sub("\ufffd", page))


def task_table(history: CurriculumHistory) -> list[dict[str, str]]:
    """Return a row per task: steps, share, first and last loss, step of the highest probability."""
    share, peaks, draws = shares(history), peak_steps(history), history.draws
    first, last = history.first_losses, history.last_losses
    return [
        {
            "task": name + (" (target)" if name == history.target else ""),
            "steps": f"{draws[arm]:,}",
            "share": f"{share[arm]:.1%}",
            "first loss": _number(first[arm]),
            "last loss": _number(last[arm]),
            "most probable at step": "–" if np.isnan(peaks[arm]) else f"{peaks[arm]:,.0f}",
        }
        for arm, name in enumerate(history.tasks)
    ]


def _content(section: Section) -> dict[str, Any]:
    from curricula.tracking.figures import comparison_figure, losses_figure, policy_figure, syllabus_figure

    tables, figures, details = [], [], []
    if section.table:
        tables.append(_table("Results", list(section.table)))
    if section.comparison is not None:
        curves = section.comparison
        figures.append(
            _figure(
                "Curriculum against others",
                "Left: the loss on the way to the goal. Right: how many steps each seed took to reach it; fewer is "
                "better. A cross is a run that did not reach it.",
                comparison_figure(curves.curves, curves.goal, label=curves.label),
            )
        )
    if section.history is not None:
        history = section.history
        figures += [
            _figure(
                "Policy over time",
                "Which tasks were favoured when. A task that rises is one on which the model is learning; a task that "
                "falls is learned, or not yet within reach. Below, the effective number of tasks: all of them when the "
                "policy is uniform, 1 when a single task is drawn.",
                policy_figure(history),
            ),
            _figure(
                "The syllabus as a map",
                "Which task was practised when, and how much of the training it got. The target is marked in red.",
                syllabus_figure(history),
            ),
            _figure("Losses by task", "The loss on the batches of each task, as they came.", losses_figure(history)),
        ]
        details = _task_tables(history)
    return {"title": section.title, "text": section.text, "tables": tables, "figures": figures, "details": details}


def _task_tables(history: CurriculumHistory) -> list[dict[str, Any]]:
    rows = task_table(history)
    note = ""
    if len(rows) > _ROWS:
        kept = np.argsort(-history.draws, kind="stable")[:_ROWS].tolist()
        note = f"The {_ROWS} most practised of {len(rows)} tasks"
        if history.target in history.tasks and history.tasks.index(history.target) not in kept:
            kept[-1] = history.tasks.index(history.target)
            note = f"The {_ROWS - 1} most practised of {len(rows)} tasks and the target"
        left_out = 1 - shares(history)[kept].sum()
        note += f"; the other {len(rows) - _ROWS}, with {left_out:.0%} of the steps, are left out here."
        rows = [rows[arm] for arm in kept]
    return [_table("Tasks", rows, note)]


def _table(title: str, rows: Sequence[Mapping[str, object]], note: str = "") -> dict[str, Any]:
    columns = list(rows[0])
    numbers = {column for column in columns if all(_is_number(row[column]) for row in rows)}
    return {"title": title, "columns": columns, "numbers": numbers, "rows": rows, "note": note}


def _is_number(value: object) -> bool:
    return str(value).strip("–%x").replace(",", "").replace(".", "").replace("e-", "").isdigit() or str(value) == "–"


def _number(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "–"


def _figure(title: str, caption: str, figure: Figure) -> dict[str, str]:
    from PIL import Image  # matplotlib requires it

    drawn, buffer = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=140, facecolor="white")
    # 256 colours: a third of the size, with no difference that can be seen.
    picture = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    picture.save(buffer, "png", optimize=True)
    source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"title": title, "caption": caption, "source": source}


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
