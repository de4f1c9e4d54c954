"""The random numbers of a worker process, which begin anew with every batch."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_process(seed: int) -> None:
    """Seed torch, Python and numpy, as ``torch.manual_seed``, ``random.seed`` and ``numpy.random.seed`` do.

    Args:
        seed: in ``[0, 2**63)``; numpy is given its lower 32 bits.
    """
    if _has_accelerator():
        with _no_traceback():
            torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the stream that tasks draw from


def _has_accelerator() -> bool:
    return _BUILT_FOR_ACCELERATORS or hasattr(torch, torch._C._get_privateuse1_backend_name())


def _built_for_accelerators() -> bool:
    """Tell whether this build of torch knows any device but the CPU, without touching one; if in doubt, it does."""
    return bool(
        torch.backends.cuda.is_built()  # type: ignore[no-untyped-call]
        or torch.backends.mps.is_built()
        or getattr(torch._C, "_has_xpu", True)
        or getattr(torch._C, "_mtia_isBuilt", lambda: True)()
    )


_BUILT_FOR_ACCELERATORS = _built_for_accelerators()


@contextmanager
def _no_traceback() -> Iterator[None]:
    """Let torch keep no stack with a seed that waits for a device: to write one takes longer than to read a batch."""
    missing = object()
    before = getattr(sys, "tracebacklimit", missing)
    sys.tracebacklimit = 0
    try:
        yield
    finally:
        if before is missing:
            del sys.tracebacklimit
        else:
            sys.tracebacklimit = before  # type: ignore[assignment]
