"""The curriculum in the trainer's loggers, one file per kind of logger."""

from curricula.tracking.loggers.scalars import PREFIX
from curricula.tracking.loggers.writer import Loggers

__all__ = ["PREFIX", "Loggers"]
