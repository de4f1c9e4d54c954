"""What is followed from a module to all that a forward pass may change: containers, helper objects, generators."""

from __future__ import annotations

import enum
import functools
import io
import random
import sys
from collections import deque
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

CONTAINERS = (list, dict, set, deque)
MANY = 1000
"""Items above which a container's own containers are left alone (a replay buffer)."""

_UNCHANGING = (int, float, bool, str, bytes, complex, type(None), type, ModuleType, BuiltinFunctionType, enum.Enum)
_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random)
_TRAINING = {"torch", "torchmetrics", "torchvision", "torchaudio", "deepspeed", "apex", "triton", "jax", "tensorflow"}
_LIGHTNING = {"lightning", "lightning_fabric", "lightning_utilities", "pytorch_lightning", "curricula"}
_DATA = {"numpy", "scipy", "pandas", "polars", "pyarrow", "PIL", "h5py", "zarr", "datasets", "tokenizers"}
_LOGGERS = {"wandb", "tensorboard", "tensorboardX", "mlflow", "comet_ml", "neptune", "clearml", "tqdm"}
_CLOSED_PACKAGES = _TRAINING | _LIGHTNING | _DATA | _LOGGERS | {"ray", "omegaconf", "hydra"}
_OPEN_MODULES = frozenset(("builtins", "types", "abc", "typing", "typing_extensions", "argparse", "__main__"))


class Kind(enum.Enum):
    """How a value is kept."""

    ATOM = enum.auto()
    """Never changes, or is none of the module's own."""
    TENSOR = enum.auto()
    ARRAY = enum.auto()
    GENERATOR = enum.auto()
    CONTAINER = enum.auto()
    TUPLE = enum.auto()
    MODULE = enum.auto()
    HELPER = enum.auto()
    """An object with attributes, of a class of the user's."""
    CALLABLE = enum.auto()
    """A function or method, which may hold things."""
    ITERATOR = enum.auto()
    """Read only once, so that a step that reads it cannot be run again."""


ATOMS: set[type] = set()
"""Types met so far whose values are :attr:`Kind.ATOM`."""
_kinds: dict[type, Kind] = {}


def kind_of(value: Any) -> Kind:
    """Return how a value is kept."""
    kind = type(value)
    known = _kinds.get(kind)
    if known is None:
        known = _kinds[kind] = _classify(kind)
        if known is Kind.ATOM:
            ATOMS.add(kind)
    return known


def _classify(kind: type) -> Kind:
    for name, bases in (
        (Kind.ATOM, (UninitializedParameter, UninitializedBuffer, *_UNCHANGING)),
        (Kind.TENSOR, (Tensor,)),
        (Kind.MODULE, (nn.Module,)),
        (Kind.ARRAY, (np.ndarray,)),
        (Kind.ATOM, (random.SystemRandom,)),
        (Kind.GENERATOR, _GENERATORS),
        (Kind.CONTAINER, CONTAINERS),
        (Kind.TUPLE, (tuple,)),
        (Kind.CALLABLE, (FunctionType, MethodType, functools.partial)),
        (Kind.HELPER, (torch.quasirandom.SobolEngine, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)),
    ):
        if issubclass(kind, bases):
            return name
    if all(_is_open(base) for base in kind.__mro__):
        return Kind.HELPER
    return Kind.ITERATOR if issubclass(kind, Iterator) and not issubclass(kind, io.IOBase) else Kind.ATOM


def _is_open(kind: type) -> bool:
    """Tell whether a class is one whose instances may be looked into: the user's, or a simple one of Python's."""
    name = kind.__module__
    package = name.split(".")[0]
    if kind is object or package == "collections":
        return True
    if package == "builtins":
        return False  # what has no attributes to restore: iterators, ranges, memory views
    if name in _OPEN_MODULES:
        return not issubclass(kind, Iterator)
    return package not in _CLOSED_PACKAGES and package not in sys.stdlib_module_names


def held_by(function: Any) -> list[Any]:
    """Return what a function holds: the object of a method, the arguments of a partial, the cells of a closure."""
    if isinstance(function, MethodType):
        return [function.__self__]
    if isinstance(function, functools.partial):
        return [function.func, *function.args, *function.keywords.values()]
    cells = function.__closure__ or ()
    return [cell.cell_contents for cell in cells if _is_filled(cell)]


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - the only way to ask
    except ValueError:
        return False
    return True


class Unread:
    """Takes the place of an iterator while a step is run again, and refuses to be read."""

    def __init__(self, iterator: Any) -> None:
        self._kind = type(iterator).__name__

    def __iter__(self) -> Unread:
        """Return itself."""
        return self

    def __next__(self) -> Any:
        """Refuse.

        Raises:
            CannotRunAgainError: always.
        """
        raise CannotRunAgainError(
            f"reads from an iterator that the module keeps ({self._kind}), which cannot be wound back"
        )


class CannotRunAgainError(RuntimeError):
    """Why a training step cannot be run a second time from where it started."""
