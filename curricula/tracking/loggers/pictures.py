"""Pictures: the figures and charts of a history, drawn once for all loggers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from curricula.tracking.history import CurriculumHistory

_log = logging.getLogger(__name__)

NAMES = ("policy", "losses", "syllabus")


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

    def clear(self) -> None:
        """Forget what was drawn."""
        self._drawn.clear()

    def figure(self, name: str) -> Any:
        """Return a matplotlib figure, one of :data:`NAMES`, or ``None`` if it cannot be drawn."""
        return self._draw("figure", name)

    def figures(self) -> Iterator[tuple[str, Any]]:
        """Yield the name and the matplotlib figure of all that can be drawn."""
        for name in NAMES:
            figure = self.figure(name)
            if figure is not None:
                yield name, figure

    def chart(self, name: str) -> Any:
        """Return a Plotly figure, one of :data:`NAMES`, or ``None`` if it cannot be drawn."""
        return self._draw("chart", name)

    def _draw(self, kind: str, name: str) -> Any:
        key = (kind, name)
        if key not in self._drawn and key not in self._broken:
            try:
                draw = getattr(import_module(f"curricula.tracking.{kind}s"), f"{name}_{kind}")
                self._drawn[key] = draw(self.history)
            except ImportError as error:
                if not self._broken:
                    _log.info("fewer pictures of the curriculum: %s; pip install 'lightning-curricula[plots]'", error)
                self._broken |= {(kind, other) for other in NAMES}
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
