"""The curriculum data path: tasks in, batches out."""

from curricula.data.datamodule import CurriculumDataModule
from curricula.data.loader import CurriculumLoader
from curricula.data.tasks import TaskError

__all__ = ["CurriculumDataModule", "CurriculumLoader", "TaskError"]
