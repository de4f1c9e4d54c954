"""Sink: what can be written to one logger. This one, to any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curricula.tracking.loggers.pictures import Pictures

    Settings = dict[str, dict[str, str | float]]


class Sink:
    """Writes numbers to a logger, and leaves everything else out.

    Args:
        logger: a Lightning logger.
        figures: whether pictures and charts are wanted.
    """

    def __init__(self, logger: Any, *, figures: bool) -> None:
        self.logger = logger
        self.figures = figures

    @property
    def name(self) -> str:
        """The logger's kind, for warnings."""
        return type(self.logger).__name__

    def start(self, settings: Settings) -> None:
        """Record what the run's configuration shall say."""

    def scalars(self, entry: dict[str, float], step: int) -> None:
        """Write one entry.

        Args:
            entry: names, with their prefix, to numbers.
            step: the trainer's, as Lightning's own metrics have it.
        """
        self.logger.log_metrics(entry, step=step)

    def pictures(self, pictures: Pictures, step: int, *, last: bool) -> None:
        """Send what shows the run so far.

        Args:
            pictures: drawn when asked for, which takes a good part of a second each.
            step: the trainer's.
            last: the run is over; before, the policy must do.
        """
