"""MLflow: numbers, and pictures as artifacts of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curricula.tracking.loggers.scalars import PREFIX
from curricula.tracking.loggers.sink import Sink

if TYPE_CHECKING:
    from curricula.tracking.loggers.pictures import Pictures


class MLFlowSink(Sink):
    """Writes every picture over the one before it: ``curriculum/policy.png`` always shows the run so far."""

    def pictures(self, pictures: Pictures, step: int, *, last: bool) -> None:
        """Log a figure each."""
        for name, figure in pictures.figures(all_of_them=last) if self.figures else ():
            self.logger.experiment.log_figure(self.logger.run_id, figure, f"{PREFIX}{name}.png")
