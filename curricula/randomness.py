"""Counter-based random numbers: every stream is a pure function of (seed, stream, position)."""

from __future__ import annotations

import hashlib
import threading
from enum import IntEnum

import numpy as np

_WORD = 2**64


class Stream(IntEnum):
    """What a stream of random numbers is for; streams of one seed never overlap."""

    DRAWS = 0
    RESERVOIR = 1
    TASK_ORDER = 2
    TASK_ITERATOR = 3
    PROBE_ORDER = 4
    PROBE_ITERATOR = 5
    PROBE_TASK = 6
    WORKERS = 7


class CounterGenerator:
    """A numpy generator that can be put at any position of its stream at once.

    The position is the counter of the Philox block cipher (Salmon et al. 2011, "Parallel random numbers: as easy as
    1, 2, 3"), so there is no generator state to save, to send to other ranks or to lose in a crash: whoever knows the
    seed and the position gets the same numbers.

    Args:
        seed: in ``[0, 2**64)``.
        stream: which of the seed's independent streams.

    Raises:
        TypeError: if ``seed`` is not an int.
        ValueError: if ``seed`` is out of range.

    Example:
        >>> numbers = CounterGenerator(seed=7, stream=Stream.DRAWS)
        >>> numbers.at(3).random() == CounterGenerator(seed=7, stream=Stream.DRAWS).at(3).random()
        True
    """

    def __init__(self, seed: int, stream: Stream) -> None:
        check_seed(seed)
        self._bits = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))
        self._generator = np.random.Generator(self._bits)
        self._origin = self._bits.state
        self._counter = self._origin["state"]["counter"]

    def at(self, position: int, lane: int = 0) -> np.random.Generator:
        """Return the generator, moved to ``position`` of ``lane``; valid until the next call.

        Args:
            position: in ``[0, 2**64)``; each position has ``2**128`` numbers of its own.
            lane: in ``[0, 2**64)``; lanes are independent (one per task, say).
        """
        self._counter[2] = lane
        self._counter[3] = position
        self._bits.state = self._origin
        return self._generator

    def _at(self, seed: int, stream: Stream, position: int, lane: int) -> np.random.Generator:
        key = self._origin["state"]["key"]
        key[0] = seed
        key[1] = stream
        return self.at(position, lane)


def numbers_at(seed: int, stream: Stream, position: int, lane: int = 0) -> np.random.Generator:
    """Return the generator of ``CounterGenerator(seed, stream).at(position, lane)``, made once per thread.

    For those of whom there are many, and who need numbers now and then: a generator takes two kilobytes and twenty
    microseconds. It is valid until the next call, by whomever: take the numbers at once, and do not keep it.

    Example:
        >>> here = numbers_at(7, Stream.TASK_ORDER, position=3, lane=5).random()
        >>> here == CounterGenerator(7, Stream.TASK_ORDER).at(3, lane=5).random()
        True
    """
    return _of_thread.numbers._at(seed, stream, position, lane)


def lane_of(name: str) -> int:
    """Return the lane of a task in the streams of its data: its order stays, whichever other tasks there are."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def check_seed(seed: int) -> None:
    """Raise unless ``seed`` is an int in ``[0, 2**64)``."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed must be an int, got {seed!r} ({type(seed).__name__})")
    if not 0 <= seed < _WORD:
        raise ValueError(f"seed must be in [0, 2**64), got {seed}")


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.numbers = CounterGenerator(0, Stream.DRAWS)


_of_thread = _OfThread()
