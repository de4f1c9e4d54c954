"""Tasks that keep their own place in the data: who has one, and how it goes into a checkpoint and comes back."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from curricula.data.sources.loaders import iterates_plainly


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
    return _encoded(name, keeper.state_dict(), "state_dict()")


def load_place(keeper: Any, place: Any) -> None:
    """Give a task the state that :func:`place_of` returned."""
    keeper.load_state_dict(_decoded(place))


def _encoded(name: str, value: Any, where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if type(value) is bytes:
        return {"bytes": value.hex()}
    if isinstance(value, Tensor) and _is_plain(value):
        return value.detach().clone()
    if type(value) in (list, tuple):
        parts = [_encoded(name, part, f"{where}[{place}]") for place, part in enumerate(value)]
        return {"tuple": parts} if type(value) is tuple else parts
    if isinstance(value, dict):
        return {
            "dict": [
                [_encoded(name, key, f"the keys of {where}"), _encoded(name, part, f"{where}[{key!r}]")]
                for key, part in value.items()
            ]
        }
    found = f"a tensor of {value.dtype}" if isinstance(value, Tensor) else f"a {_name_of(type(value))}"
    raise TypeError(
        f"task {name!r} has {found} at {where}, which a checkpoint cannot hold: its state_dict() may return dicts, "
        "lists, tuples, numbers, text, bytes and dense tensors (torch.from_numpy makes one of an array)"
    )


def _is_plain(tensor: Tensor) -> bool:
    try:
        tensor.detach().cpu().numpy()
    except (TypeError, RuntimeError, ValueError):  # sparse, quantised, bfloat16: what our digest cannot read
        return False
    return True


def _name_of(kind: type) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    if isinstance(value, Tensor):
        return value.clone()
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {_decoded(key): _decoded(part) for key, part in content}
    if kind == "tuple":
        return tuple(_decoded(part) for part in content)
    return bytes.fromhex(content) if kind == "bytes" else float(content)
