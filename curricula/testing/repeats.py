"""The same random numbers again, and digests that tell whether what came of them is the same."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curricula.signals.random_state import RandomState


@contextmanager
def alone(seed: int) -> Iterator[None]:
    """Seed the global random numbers, compute on one thread, and put both back afterwards."""
    before, threads = RandomState(torch.device("cpu")), torch.get_num_threads()
    torch.set_num_threads(1)  # such a model would only wait for a second one
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global stream is the point
    torch.manual_seed(seed)
    try:
        yield
    finally:
        before.restore()
        torch.set_num_threads(threads)


def digest(value: Any) -> str:
    """Return a text that is the same for equal values, to the last bit."""
    found = hashlib.sha256()
    _add(found, value)
    return found.hexdigest()[:16]


def _add(found: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        dense = value.detach().to_dense() if value.layout != torch.strided else value.detach()
        flat = dense.cpu().reshape(-1).clone(memory_format=torch.contiguous_format)
        found.update(f"{value.dtype}{tuple(value.shape)}".encode())
        found.update(flat.view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        for key in value:
            found.update(repr(key).encode())
            _add(found, value[key])
    elif isinstance(value, (list, tuple)):
        found.update(str(len(value)).encode())
        for part in value:
            _add(found, part)
    else:
        found.update(repr(value).encode())
