"""The text that the sources are estimated from: a million characters of the King James Bible, over 32 symbols."""

from __future__ import annotations

import bz2
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

SYMBOLS = " abcdefghijklmnopqrstuvwxyz,.:;?"
"""The 32 symbols; one is 5 bits, so that ten fit into 50."""

IntArray: TypeAlias = npt.NDArray[np.int64]

_PATH = Path(__file__).with_name("king_james.txt.bz2")


def king_james() -> str:
    """Return the text: Genesis to Judges 19, lower case. ``SOURCE.md`` beside the file says where it is from."""
    return bz2.decompress(_PATH.read_bytes()).decode("ascii")


def encode(text: str) -> IntArray:
    """Return the position in ``SYMBOLS`` of every character.

    Raises:
        ValueError: if a character is none of them.
    """
    unknown = sorted(set(text) - set(SYMBOLS))
    if unknown:
        raise ValueError(f"the text has characters that are no symbols: {unknown}; allowed are {SYMBOLS!r}")
    table = np.zeros(128, np.int64)
    table[[ord(symbol) for symbol in SYMBOLS]] = np.arange(len(SYMBOLS))
    codes: IntArray = table[np.frombuffer(text.encode("ascii"), np.uint8)]
    return codes


def decode(codes: npt.ArrayLike) -> str:
    """Return the text of an array of positions in ``SYMBOLS``."""
    return "".join(SYMBOLS[code] for code in np.asarray(codes).tolist())
