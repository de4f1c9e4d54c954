"""What a batch holds, whatever kind of object it is: a copy of it, and a comparison of two."""

from __future__ import annotations

import copy
import functools
from collections import deque
from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

_ATOMS = frozenset((int, float, bool, str, bytes, complex, type(None), torch.Size, torch.dtype, torch.device))
_LEAVES = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, functools.partial, type, nn.Module, Iterator)
"""Neither copied nor compared: functions, classes, modules, and what is read only once."""


def copied(batch: Any) -> Any:
    """Return a batch with containers, tensors and arrays of its own, so that nothing done to one is seen in the other.

    Dicts, lists, tuples, sets, dataclasses, and other objects with attributes are followed to any depth. Functions,
    modules, iterators and objects that refuse to be copied are shared.

    Example:
        >>> batch = {"inputs": torch.zeros(2), "labels": [1, 2]}
        >>> other = copied(batch)
        >>> batch.pop("labels"), batch["inputs"].add_(1.0)
        ([1, 2], tensor([1., 1.]))
        >>> other
        {'inputs': tensor([0., 0.]), 'labels': [1, 2]}
    """
    return _copy(batch, {})


def _copy(value: Any, made: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in _ATOMS:
        return value
    if id(value) in made:
        return made[id(value)]  # one tensor may be both input and target
    if kind is Tensor or isinstance(value, Tensor):
        other: Any = _copy_tensor(value)
    elif isinstance(value, _LEAVES):
        return value
    elif isinstance(value, np.ndarray):
        other = value.copy()
    elif isinstance(value, tuple):
        parts = [_copy(part, made) for part in value]
        other = _tuple_of(kind, parts)
    else:
        return _copy_object(value, made)
    made[id(value)] = other
    return other


def _tuple_of(kind: Any, parts: list[Any]) -> Any:
    if kind is tuple or hasattr(kind, "n_sequence_fields"):  # what torch functions return takes its parts like a tuple
        return kind(parts)
    return tuple.__new__(kind, parts)  # whatever its own constructor takes


def _copy_tensor(tensor: Tensor) -> Tensor:
    other = tensor.detach().clone()
    if vars(tensor):
        vars(other).update(vars(tensor))
    return other.requires_grad_() if tensor.requires_grad else other


def _copy_object(value: Any, made: dict[int, Any]) -> Any:
    try:
        other = copy.copy(value)
    except Exception:  # noqa: BLE001 - a class of the user's can do anything here
        other = value
    made[id(value)] = other
    if other is value:
        return value
    if isinstance(other, dict):
        for key, part in other.items():
            other[key] = _copy(part, made)
    elif isinstance(other, (list, deque)):
        for place, part in enumerate(other):
            other[place] = _copy(part, made)
    set_attributes(other, {name: _copy(part, made) for name, part in attributes_of(other)})
    return other


def set_attributes(value: Any, attributes: Mapping[str, Any]) -> None:
    """Write attributes past whatever guards them: frozen dataclasses, properties of the same name."""
    own = getattr(value, "__dict__", {})
    for name, part in attributes.items():
        if name in own:
            own[name] = part
        else:
            object.__setattr__(value, name, part)


def attributes_of(value: Any) -> list[tuple[str, Any]]:
    """Return the attributes of an object by name, those in slots too."""
    found = dict(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        slots = getattr(kind, "__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                found[name] = getattr(value, name)
    return list(found.items())


def samples_in(batch: Any) -> int | None:
    """Return the number of samples in a batch: the first dimension of all its tensors; ``None`` if they have no such.

    Example:
        >>> samples_in({"inputs": torch.zeros(4, 2), "labels": (torch.zeros(4), "name")})
        4
    """
    leaves = [leaf for leaf in tree_flatten(batch)[0] if isinstance(leaf, (Tensor, np.ndarray)) and leaf.ndim > 0]
    sizes = {len(leaf) for leaf in leaves}
    return sizes.pop() if len(sizes) == 1 else None


def alike(left: Any, right: Any) -> bool:
    """Tell whether nothing that can be compared differs between two batches.

    NaN equals NaN. What cannot be compared (functions, objects with neither attributes nor an ``==`` of their own)
    counts as alike, so that two batches that differ in nothing else are not taken for different ones.

    Example:
        >>> alike([float("nan"), len], [float("nan"), max]), alike({"x": torch.zeros(2)}, {"x": torch.ones(2)})
        (True, False)
    """
    return _alike(left, right, set())


def _alike(left: Any, right: Any, seen: set[tuple[int, int]]) -> bool:
    pair = id(left), id(right)
    if left is right or pair in seen:
        return True
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return _alike_tensors(left, right)
    if type(left) is not type(right):
        return False
    if isinstance(left, _LEAVES):
        return True
    if type(left) in _ATOMS:
        return bool(left == right or (left != left and right != right))
    seen.add(pair)
    if isinstance(left, np.ndarray):
        return left.shape == right.shape and _alike_arrays(left, right, seen)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_alike(part, right[key], seen) for key, part in left.items())
    if isinstance(left, (list, tuple, deque)):
        return len(left) == len(right) and all(_alike(a, b, seen) for a, b in zip(left, right, strict=True))
    ours, theirs = dict(attributes_of(left)), dict(attributes_of(right))
    own_comparison: Any = type(left).__eq__
    if own_comparison is not object.__eq__:
        try:
            same = bool(left == right)
        except Exception:  # noqa: BLE001 - such as tensors within, of which == has many answers
            same = False
        if same or not ours:  # else they may differ in a NaN or a function alone
            return same
    return ours.keys() == theirs.keys() and all(_alike(part, theirs[name], seen) for name, part in ours.items())


def _alike_tensors(left: Tensor, right: Tensor) -> bool:
    if left.shape != right.shape or left.dtype != right.dtype or left.layout != right.layout:
        return False
    if left.layout != torch.strided or left.is_quantized or left.is_nested:
        return True  # compared nowhere else either
    left, right = left.detach(), right.detach().to(left.device)
    return bool(((left == right) | ((left != left) & (right != right))).all())


def _alike_arrays(left: Any, right: Any, seen: set[tuple[int, int]]) -> bool:
    if left.dtype != right.dtype:
        return False
    if left.dtype == object:
        return _alike(left.tolist(), right.tolist(), seen)
    return bool(((left == right) | ((left != left) & (right != right))).all())
