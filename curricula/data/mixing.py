"""One batch of several tasks: samples collated together, ready batches put one behind the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from curricula.data.faults import no_batch

_PER_SAMPLE = (str, bytes, int, float, bool)


class Filled(NamedTuple):
    """What fills a slot."""

    task: str
    data: Any
    """A list of samples, or a ready batch of them."""
    ready: bool


class SlotError(Exception):
    """The data of one slot cannot be made part of any batch.

    Args:
        place: of the slot.
        error: what was raised.
    """

    def __init__(self, place: int, error: Exception) -> None:
        super().__init__(place, error)
        self.place = place
        self.error = error


def mixed(slots: Sequence[Filled], collate: Callable[[list[Any]], Any], size: int | None) -> Any:
    """Return the batch of all slots, in their order.

    Args:
        slots: at least one.
        collate: list of samples to batch.
        size: samples of a ready batch; ``None``: as many as the first has.

    Raises:
        SlotError: if the data of one slot are at fault.
        ValueError: if two slots do not fit together; it names their tasks and says what differs.
    """
    if not any(slot.ready for slot in slots):
        return _collated(slots, 0, collate)
    parts: list[Any] = []
    first = 0
    for place, slot in enumerate(slots):
        if slot.ready:
            if first < place:
                parts.append(_collated(slots[first:place], first, collate))
            parts.append(slot.data)
            size = _check_size(slot, size)
            first = place + 1
    if first < len(slots):
        parts.append(_collated(slots[first:], first, collate))
    return _concatenated_slots(slots, parts, collate)


def _collated(slots: Sequence[Filled], first: int, collate: Callable[[list[Any]], Any]) -> Any:
    try:
        batch = collate([sample for slot in slots for sample in slot.data])
    except Exception as error:
        _blame(slots, first, collate, error)
        raise
    if batch is None:
        place = next((place for place, slot in enumerate(slots) if collate(slot.data) is None), 0)
        raise SlotError(first + place, no_batch("got None instead of a batch from collate_fn", 0))
    return batch


def _blame(slots: Sequence[Filled], first: int, collate: Callable[[list[Any]], Any], error: Exception) -> None:
    """Raise an error that says whose samples cannot be collated, alone or with those of another task."""
    for place, slot in enumerate(slots):
        own = _error_of(collate, slot.data)
        if own is not None:
            raise SlotError(first + place, own) from own
    for place, slot in enumerate(slots):
        for other in slots[:place]:
            own = _error_of(collate, [*other.data, *slot.data])
            if own is not None:
                raise ValueError(_misfit(other, slot, other.data[0], slot.data[0], own)) from error


def _error_of(collate: Callable[[list[Any]], Any], samples: list[Any]) -> Exception | None:
    try:
        collate(samples)
    except Exception as error:  # noqa: BLE001 - of the user's data
        return error
    return None


def _misfit(one: Filled, other: Filled, left: Any, right: Any, error: Exception | None) -> str:
    if one.task == other.task:
        whose = f"two draws of task {one.task!r}"
    else:
        whose = f"the tasks {one.task!r} and {other.task!r}"
    found = difference(left, right)
    if found is None:
        found = "" if error is None else f"{type(error).__name__}: {error}"
    return (
        f"{whose} do not make one batch ({found}): let their samples be alike, give a collate_fn that makes one batch "
        "of them (by padding, say), or set draws_per_batch=1"
    )


def difference(left: Any, right: Any, where: str = "") -> str | None:
    """Return the first thing in which two samples, or two batches, differ in kind; ``None`` if there is none.

    Example:
        >>> difference({"x": torch.zeros(2)}, {"x": torch.zeros(3)})
        "['x'] has the shape (2,) and (3,)"
    """
    what = where or "a sample"
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        if set(left) != set(right):
            return f"{what} has the keys {sorted(map(str, left))} and {sorted(map(str, right))}"
        parts = [(left[key], right[key], f"{where}[{key!r}]") for key in left]
    elif isinstance(left, (Tensor, np.ndarray)) and isinstance(right, (Tensor, np.ndarray)):
        if left.shape != right.shape:
            return f"{what} has the shape {tuple(left.shape)} and {tuple(right.shape)}"
        if type(left) is type(right) and left.dtype != right.dtype:
            return f"{what} has the type {left.dtype} and {right.dtype}"
        parts = []
    elif isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        if len(left) != len(right):
            return f"{what} has {len(left)} parts and {len(right)}"
        parts = [(one, other, f"{where}[{place}]") for place, (one, other) in enumerate(zip(left, right, strict=True))]
    else:
        return None if type(left) is type(right) else f"{what} is a {type(left).__name__} and a {type(right).__name__}"
    if type(left) is not type(right):
        return f"{what} is a {type(left).__name__} and a {type(right).__name__}"
    return next((found for part in parts if (found := difference(*part)) is not None), None)


# ---------------------------------------------------------------- ready batches


def _check_size(slot: Filled, size: int | None) -> int:
    sizes = sorted(set(_sizes(slot.task, slot.data)))
    if len(sizes) != 1 or size not in (None, sizes[0]):
        wanted = "equally many each, as the other ready batches have" if size is None else f"{size} each"
        raise ValueError(
            f"a ready batch of task {slot.task!r} has {' or '.join(map(str, sizes)) or 'no'} samples, and to be one of "
            f"several in a batch it must have {wanted}: make its DataLoader with batch_size={size or '...'} and "
            "drop_last=True, or give its dataset as the task"
        )
    return sizes[0]


def _sizes(task: str, batch: Any) -> list[int]:
    if isinstance(batch, (Tensor, np.ndarray)) and batch.ndim > 0:
        return [len(batch)]
    if isinstance(batch, Mapping):
        return [size for part in batch.values() for size in _sizes(task, part)]
    if _lists_samples(batch):
        return [len(batch)]
    if isinstance(batch, (list, tuple)):
        return [size for part in batch for size in _sizes(task, part)]
    raise ValueError(_cannot_join(task, batch))


def _cannot_join(task: str, part: Any) -> str:
    what = "a number" if isinstance(part, (Tensor, np.ndarray)) else f"a {type(part).__name__}"
    return (
        f"a ready batch of task {task!r} holds {what}, which cannot be put behind that of another draw: ready batches "
        "are mixed where they are tensors, arrays, or lists with an entry per sample, in dicts, lists and tuples; give "
        "the task's dataset instead, whose samples are collated together, or set draws_per_batch=1"
    )


def _lists_samples(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(entry, _PER_SAMPLE) for entry in value)


def _concatenated_slots(slots: Sequence[Filled], parts: list[Any], collate: Callable[[list[Any]], Any]) -> Any:
    try:
        return concatenated(parts)
    except (TypeError, ValueError, RuntimeError) as error:
        alone = [slot.data if slot.ready else collate(slot.data) for slot in slots]
        for place, slot in enumerate(slots):
            for before, other in enumerate(slots[:place]):
                own = _error_of(concatenated, [alone[before], alone[place]])
                if own is not None:
                    raise ValueError(_misfit(other, slot, alone[before], alone[place], own)) from error
        raise


def concatenated(parts: Sequence[Any]) -> Any:
    """Return ready batches one behind the other, in the structure that all of them have.

    Args:
        parts: at least one; tensors and arrays with samples along their first dimension, or lists with an entry per
            sample, in dicts, lists and tuples.

    Raises:
        TypeError: if they differ in structure, or hold something else.

    Example:
        >>> concatenated([{"x": torch.zeros(2, 1), "name": ["a", "b"]}, {"x": torch.ones(1, 1), "name": ["c"]}])
        {'x': tensor([[0.],
                [0.],
                [1.]]), 'name': ['a', 'b', 'c']}
    """
    first = parts[0]
    if any(type(part) is not type(first) for part in parts):
        raise TypeError(f"batches of the types {sorted({type(part).__name__ for part in parts})}")
    if isinstance(first, Tensor):
        if len({part.dtype for part in parts}) > 1:
            raise TypeError(f"tensors of the types {sorted({str(part.dtype) for part in parts})}")
        return torch.cat(list(parts))
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    if isinstance(first, Mapping):
        if any(part.keys() != first.keys() for part in parts):
            raise TypeError("dicts with other keys")
        joined = {key: concatenated([part[key] for part in parts]) for key in first}
        return joined if type(first) is dict else type(first)(joined)  # type: ignore[call-arg]
    if all(map(_lists_samples, parts)):
        return type(first)(entry for part in parts for entry in part)
    if isinstance(first, (list, tuple)):
        if any(len(part) != len(first) for part in parts):
            raise TypeError("lists of other lengths")
        columns = [concatenated(column) for column in zip(*parts, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else type(first)(columns)
    raise TypeError(f"a {type(first).__name__}")
