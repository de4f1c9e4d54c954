"""The global random streams, captured and put back."""

from __future__ import annotations

import ctypes
import random
from typing import Any

import numpy as np
import torch

_MT19937_BYTES = 624 * 4 + 4


class RandomState:
    """The global random streams (torch CPU, one accelerator, numpy, Python) at one moment.

    Args:
        device: whose stream is captured beside those of the CPU.
    """

    __slots__ = ("_cpu", "_device", "_device_state", "_numpy", "_python")

    def __init__(self, device: torch.device) -> None:
        self._cpu = torch.get_rng_state()
        self._device = device
        self._device_state = _accelerator(device).get_rng_state(device) if device.type == "cuda" else None
        self._numpy = _numpy_stream.capture()
        self._python = random.getstate()

    def restore(self) -> None:
        """Put the global streams back to this moment."""
        torch.set_rng_state(self._cpu)
        if self._device_state is not None:
            _accelerator(self._device).set_rng_state(self._device_state, self._device)
        _numpy_stream.restore(self._numpy)
        random.setstate(self._python)


def _accelerator(device: torch.device) -> Any:
    return getattr(torch, device.type)


class _NumpyStream:
    """numpy's global stream, which takes longer to read or write than all others together (27 us each way).

    Most training steps never touch it. Its bits are therefore compared with those of the last capture, in place, and
    only a stream that has moved is read. A cached second Gaussian is no part of the bits: a capture that has one is not
    remembered.
    """

    def __init__(self) -> None:
        self._bits: bytes | None = None
        self._state: Any = None

    def capture(self) -> Any:
        bits = self._read()
        if bits is not None and bits == self._bits:
            return self._state
        state = np.random.get_state(legacy=False)  # noqa: NPY002 - the user's training step may use the global stream
        self._bits, self._state = (None, None) if state["has_gauss"] else (bits, state)
        return state

    def restore(self, state: Any) -> None:
        if self._bits is None or state is not self._state or self._read() != self._bits:
            np.random.set_state(state)  # noqa: NPY002

    def _read(self) -> bytes | None:
        numpy_random: Any = np.random  # its stubs leave the function out
        generator = numpy_random.get_bit_generator()
        if type(generator).__name__ != "MT19937":
            return None
        return ctypes.string_at(generator.ctypes.state_address, _MT19937_BYTES)


_numpy_stream = _NumpyStream()
