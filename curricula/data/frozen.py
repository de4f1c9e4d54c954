"""Tasks that hold a module and are read by worker processes, where it is a copy that does not learn."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import islice
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from curricula.data.tasks import Task, is_map_style

_log = logging.getLogger(__name__)

_ENTRIES = 8
"""How many entries of a container are looked at: a dataset may be a list of a million samples."""


def warn_of_frozen_modules(tasks: Mapping[str, Task], num_workers: int) -> None:
    """Warn, by name, of tasks that hold a module with parameters and are served by worker processes.

    Args:
        tasks: by name.
        num_workers: of the loader, which serve its map-style tasks.
    """
    for name, task in tasks.items():
        of_own = isinstance(task, DataLoader) and task.num_workers > 0
        served = num_workers > 0 and is_map_style(task)
        module = _module_in(task.dataset if isinstance(task, DataLoader) else task) if of_own or served else None
        if module is not None:
            _log.warning(
                "task %r holds a module (%s) and is read by worker processes: they use a copy from when they were "
                "started, which does not learn with the model. If it is to act as it is now, read the task with "
                "num_workers=0, or call the module in the training step",
                name,
                type(module).__name__,
            )


def _module_in(task: Any) -> nn.Module | None:
    outer = _parts(task)
    inner = [part for value in outer for part in _parts(value)]
    for part in (task, *outer, *inner):
        if isinstance(part, nn.Module) and any(True for _ in part.parameters()):  # transforms have none
            return part
    return None


def _parts(value: Any) -> list[Any]:
    if isinstance(value, nn.Module):
        return []
    if isinstance(value, dict):
        return list(islice(value.values(), _ENTRIES))
    if isinstance(value, (list, tuple)):
        return list(value[:_ENTRIES])
    return list(getattr(value, "__dict__", {}).values())
