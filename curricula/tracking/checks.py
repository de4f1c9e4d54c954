"""Checks of what figures, charts, tables and pages are made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curricula.tracking.history import CurriculumHistory


def check_history(value: Any, what: str = "history") -> CurriculumHistory:
    """Return the history, or raise ``TypeError`` that says where to get one.

    Args:
        value: what was given.
        what: the name of the argument.
    """
    if isinstance(value, CurriculumHistory):
        return value
    if hasattr(value, "current_draw"):
        hint = ": give callback.history"
    elif isinstance(value, (str, Path)):
        hint = ": read it with curricula.tracking.files.read_history(path)"
    else:
        hint = ""
    raise TypeError(f"{what} must be a CurriculumHistory, got {value!r}{hint}")


def check_groups(value: Any, what: str) -> None:
    """Raise ``TypeError`` unless the value is a mapping from a name to the histories of its runs."""
    example = 'write {"name": [history, ...]}'
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} must be a mapping from name to the histories of its runs, got {value!r}: {example}")
    for name, runs in value.items():
        if not isinstance(runs, (list, tuple)):
            raise TypeError(f"{what}[{name!r}] must be a list of histories, got {runs!r}: {example}")
        for place, run in enumerate(runs):
            check_history(run, f"{what}[{name!r}][{place}]")
