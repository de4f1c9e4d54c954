"""What is asked of a ``DataLoader`` that is a task, or is made of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from curricula.data.tasks import Task


def batches_of(
    task: Task, batch_size: int | None, drop_last: bool, collate_fn: Callable[[list[Any]], Any] | None
) -> Any:
    """Return the re-iterable of batches of an iterable task: itself, unless it is an ``IterableDataset``."""
    if isinstance(task, IterableDataset):
        return DataLoader(task, batch_size=batch_size, drop_last=drop_last, collate_fn=collate_fn)
    return task


def set_epoch(loader: DataLoader[Any], number: int) -> None:
    """Tell a loader's samplers and dataset which pass this is, where they ask for it."""
    for part in [*samplers_of(loader), loader.dataset]:
        method = getattr(part, "set_epoch", None)
        if callable(method):
            method(number)


def samplers_of(loader: DataLoader[Any]) -> list[Any]:
    """Return the samplers of a loader, each once."""
    parts = [loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None), loader.sampler]
    return list({id(part): part for part in parts if part is not None}.values())
