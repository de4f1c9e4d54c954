"""Tasks that keep their own place in the data: who has one, and how it goes into a checkpoint and comes back."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from curricula.data.sources.loaders import iterates_plainly
from curricula.encoding import decoded, encoded


def keeper_of(batches: Any) -> Any:
    """Return the object that knows the place of a stream by ``state_dict`` and ``load_state_dict``, or ``None``.

    That is the stream itself, or the dataset of a plain ``DataLoader`` without workers, which reads an item when it is
    asked for. Any other loader may have read further than what it has given.
    """
    if _has_place(batches):
        return batches
    if isinstance(batches, DataLoader) and iterates_plainly(batches) and batches.num_workers == 0:
        dataset = batches.dataset
        if isinstance(dataset, IterableDataset) and _has_place(dataset):
            return dataset
    return None


def _has_place(task: Any) -> bool:
    if isinstance(task, (nn.Module, type)):  # its parameters are no place in the data
        return False
    save, load = getattr(task, "state_dict", None), getattr(task, "load_state_dict", None)
    return callable(save) and callable(load) and not _asks_for_arguments(save)


def _asks_for_arguments(function: Any) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of what is not written in Python
        return False
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return any(entry.default is entry.empty and entry.kind not in optional for entry in parameters)


def place_of(name: str, keeper: Any) -> Any:
    """Return the state of a task in a form that our seal and ``weights_only=True`` accept, as a copy.

    Raises:
        TypeError: if it holds anything but plain containers, numbers, text, bytes and tensors.
    """
    return encoded(f"task {name!r}", keeper.state_dict(), "state_dict()")


def load_place(keeper: Any, place: Any) -> None:
    """Give a task the state that :func:`place_of` returned."""
    keeper.load_state_dict(decoded(place))
