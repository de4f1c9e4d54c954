"""The curriculum's entry in the trainer's progress bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class ProgressBarEntry:
    """Adds items to a progress bar's metrics, without going through the module's logging.

    Args:
        trainer: whose bar, if it has one, gets the items.
        items: asked at every refresh of the bar.
    """

    def __init__(self, trainer: Any, items: Callable[[], dict[str, Any]]) -> None:
        self._bar = trainer.progress_bar_callback
        if self._bar is None:
            return
        original = self._bar.get_metrics

        def get_metrics(*args: Any, **kwargs: Any) -> dict[str, Any]:
            return {**original(*args, **kwargs), **items()}

        self._bar.get_metrics = get_metrics

    def remove(self) -> None:
        """Give the bar its own metrics back."""
        if self._bar is not None:
            vars(self._bar).pop("get_metrics", None)
