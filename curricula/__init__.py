"""Automated curriculum learning for PyTorch Lightning."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curricula.callback import CurriculumCallback
    from curricula.data import CurriculumDataModule, CurriculumLoader
    from curricula.guard import Guard
    from curricula.mixture import Mixture
    from curricula.schedule import Schedule
    from curricula.teacher import Draw, Teacher
    from curricula.trainers import current_draws, current_task

__version__ = "0.1.0"

__all__ = [
    "CurriculumCallback",
    "CurriculumDataModule",
    "CurriculumLoader",
    "Draw",
    "Guard",
    "Mixture",
    "Schedule",
    "Teacher",
    "__version__",
    "current_draws",
    "current_task",
]

# Looked up at first use, so that the bandits can be had without waiting for torch and Lightning.
_HOMES = {
    "CurriculumCallback": "curricula.callback",
    "CurriculumDataModule": "curricula.data",
    "CurriculumLoader": "curricula.data",
    "Draw": "curricula.teacher",
    "Guard": "curricula.guard",
    "Mixture": "curricula.mixture",
    "Schedule": "curricula.schedule",
    "Teacher": "curricula.teacher",
    "current_draws": "curricula.trainers",
    "current_task": "curricula.trainers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
