"""What a curriculum did: history, loggers, figures, report."""

from curricula.tracking.history import CurriculumHistory, effective_number

__all__ = ["CurriculumHistory", "effective_number"]
