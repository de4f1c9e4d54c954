"""Pictures: the figures and charts of a history, drawn once for all loggers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from curricula.tracking.history import CurriculumHistory

_log = logging.getLogger(__name__)

FIGURES = ("policy", "losses", "syllabus")
"""What matplotlib draws."""


class Pictures:
    """Draws a history as it is at the first asking after :meth:`clear`.

    What cannot be drawn costs one warning and is then left out; a missing library is said once.

    Args:
        history: what is shown.
    """

    def __init__(self, history: CurriculumHistory) -> None:
        self.history = history
        self._drawn: dict[tuple[str, str], Any] = {}
        self._broken: set[tuple[str, str]] = set()
        self._missing: set[str] = set()

    def clear(self) -> None:
        """Forget what was drawn."""
        self._drawn.clear()

    def figure(self, name: str) -> Any:
        """Return a matplotlib figure, or ``None`` if it is none of :data:`FIGURES` or cannot be drawn."""
        return self._draw("figure", name) if name in FIGURES else None

    def figures(self, *, all_of_them: bool) -> Iterator[tuple[str, Any]]:
        """Yield name and matplotlib figure of all that can be drawn, or of the policy alone."""
        for name in FIGURES if all_of_them else FIGURES[:1]:
            figure = self.figure(name)
            if figure is not None:
                yield name, figure

    def chart(self, name: str) -> Any:
        """Return a Plotly figure by the name of its function in :mod:`curricula.tracking.charts`, or ``None``."""
        return self._draw("chart", name)

    def _draw(self, kind: str, name: str) -> Any:
        key = (kind, name)
        if key not in self._drawn and key not in self._broken and kind not in self._missing:
            try:
                draw = getattr(import_module(f"curricula.tracking.{kind}s"), f"{name}_{kind}")
                self._drawn[key] = draw(self.history)
            except ImportError as error:
                self._missing.add(kind)
                _log.info("no %ss of the curriculum: %s; pip install 'lightning-curricula[plots]'", kind, error)
            except Exception as error:  # noqa: BLE001 - whatever goes wrong in a drawing must not end the training
                self._broken.add(key)
                _log.warning(
                    "the %s %s of the curriculum cannot be drawn (%s: %s): it is left out; the training goes on",
                    name,
                    kind,
                    type(error).__name__,
                    error,
                )
        return self._drawn.get(key)
