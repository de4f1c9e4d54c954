"""TensorBoard: numbers and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curricula.tracking.loggers.scalars import PREFIX
from curricula.tracking.loggers.sink import Sink

if TYPE_CHECKING:
    from curricula.tracking.loggers.pictures import Pictures


class TensorBoardSink(Sink):
    """Adds the pictures as figures."""

    def pictures(self, pictures: Pictures, step: int, *, last: bool) -> None:
        """Add a figure each."""
        for name, figure in pictures.figures(all_of_them=last) if self.figures else ():
            self.logger.experiment.add_figure(PREFIX + name, figure, global_step=step, close=False)
