"""The curriculum data path: tasks in, batches out."""

from curricula.data.datamodule import CurriculumDataModule
from curricula.data.faults import TaskError
from curricula.data.loader import CurriculumLoader

__all__ = ["CurriculumDataModule", "CurriculumLoader", "TaskError"]
