"""Random generators that a task owns: fresh batches of it must not move them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from curricula.generators import generator_state, set_generator_state

_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_ENTRIES = 16
"""How many entries of a container are looked at: a dataset may be a list of a million samples."""
_DEPTH = 4


def generators_of(*owners: Any) -> list[Any]:
    """Return the random generators that objects hold: in attributes, containers, and what is in these.

    Example:
        >>> class Augmented:
        ...     def __init__(self):
        ...         self.rng = np.random.default_rng(0)
        >>> len(generators_of([Augmented(), Augmented()]))
        2
    """
    found: dict[int, Any] = {}
    seen: set[int] = set()
    waiting = [(owner, 0) for owner in owners]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, _GENERATORS):
            found[id(value)] = value
        elif depth < _DEPTH and id(value) not in seen and not isinstance(value, (Tensor, np.ndarray, nn.Module, type)):
            seen.add(id(value))
            waiting += [(part, depth + 1) for part in _parts(value)]
    return list(found.values())


def _parts(value: Any) -> list[Any]:
    if isinstance(value, (str, bytes, int, float)):
        return []
    if isinstance(value, dict):
        return list(islice(value.values(), _ENTRIES))
    if isinstance(value, (list, tuple)):
        return list(value[:_ENTRIES])
    parts = list(getattr(value, "__dict__", {}).values())
    bound = getattr(value, "__self__", None)  # of a method
    cells = [cell.cell_contents for cell in getattr(value, "__closure__", None) or () if _is_full(cell)]
    return [*parts, *cells, *([] if bound is None else [bound])]


def _is_full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # of a function that refers to one not yet made
        return False


@contextmanager
def left_alone(generators: list[Any]) -> Iterator[None]:
    """Put generators back to where they were."""
    states = [generator_state(generator) for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            set_generator_state(generator, state)
