"""The tasks: sums of two numbers of 1 to ``DIGITS`` digits, as characters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

DIGITS = 4
"""Digits per number of the longest sums. With 5, uniform sampling has .01 of them right after 12,000 updates."""

SYMBOLS = "0123456789+ "
"""Characters of questions and answers; the last one pads."""

QUESTION = 2 * DIGITS + 1
"""Characters of a question."""

ANSWER = DIGITS + 1
"""Characters of an answer."""

HELD_OUT = 512
"""Most held-out sums per task: an accuracy has a standard error of 2.2 points at most."""

RESERVED = 8
"""One pair of numbers in so many is held out."""

_PAD = SYMBOLS.index(" ")
_CHUNK = 1024  # sums drawn at a time


class Sums(IterableDataset[tuple[Tensor, Tensor]]):
    """An endless stream of sums of two numbers that have ``digits`` digits each, without those that are held out.

    A sample is ``(question, answer)`` of shapes ``(QUESTION,)`` and ``(ANSWER,)``: positions in ``SYMBOLS``. Numbers
    are written from the last digit to the first. Spaces pad questions in front and answers at the end: 123 + 989 is
    ``"321+989"`` and ``"2111"``.

    Args:
        digits: from 1 to ``DIGITS``. With one digit numbers are 0 to 9; with more the first digit is not 0.
        seed: of the stream, at least 0.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(self, digits: int, seed: int) -> None:
        if not 1 <= digits <= DIGITS:
            raise ValueError(f"digits must be from 1 to {DIGITS}, got {digits}")
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        self.digits = digits
        self.seed = seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = np.random.default_rng([self.digits, self.seed])
        while True:
            pairs = _pairs(self.digits, generator, _CHUNK)
            questions, answers = write(pairs[~is_held_out(pairs)], self.digits)
            yield from zip(questions, answers, strict=True)


def tasks(seed: int) -> dict[str, Sums]:
    """Return the training tasks, ``"1 digit"`` and so on: endless streams, other ones for every seed."""
    return {name(digits): Sums(digits, seed) for digits in range(1, DIGITS + 1)}


def held_out() -> dict[str, tuple[Tensor, Tensor]]:
    """Return the held-out sums per task, always the same: ``HELD_OUT`` different ones, with one digit all there are.

    Whether a pair of numbers is held out is a function of the pair alone, whatever its order and the seed: see
    ``is_held_out``. The streams of ``tasks`` leave such pairs out.
    """
    batches = {}
    for digits in range(1, DIGITS + 1):
        pairs = _pairs(digits, np.random.default_rng(digits), 16 * _CHUNK)
        pairs = pairs[is_held_out(pairs)]
        _, first = np.unique(pairs, axis=0, return_index=True)
        batches[name(digits)] = write(pairs[np.sort(first)[:HELD_OUT]], digits)
    return batches


def name(digits: int) -> str:
    """Return the name of the task."""
    return f"{digits} digit{'s' if digits > 1 else ''}"


def is_held_out(pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return for ``(n, 2)`` numbers which pairs are held out: by a hash, so that no digit tells, and no order.

    The hash is the mixing function of SplitMix64 (Steele, Lea & Flood 2014).
    """
    bits = (pairs.min(axis=1) * 10**DIGITS + pairs.max(axis=1)).astype(np.uint64)
    bits += np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ bits >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ bits >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    found: npt.NDArray[np.bool_] = (bits ^ bits >> np.uint64(31)) % np.uint64(RESERVED) == 0
    return found


def write(pairs: npt.NDArray[np.int64], digits: int) -> tuple[Tensor, Tensor]:
    """Return the questions and answers of ``(n, 2)`` numbers of ``digits`` digits."""
    powers = 10 ** np.arange(ANSWER)
    numbers = pairs[:, :, None] // powers[:digits] % 10
    questions = np.full((len(pairs), QUESTION), _PAD)
    questions[:, QUESTION - 2 * digits - 1 : QUESTION - digits - 1] = numbers[:, 0]
    questions[:, QUESTION - digits - 1] = SYMBOLS.index("+")
    questions[:, QUESTION - digits :] = numbers[:, 1]
    totals = pairs.sum(axis=1, keepdims=True)
    written = (totals >= powers) | (powers == 1)
    answers = np.where(written, totals // powers % 10, _PAD)
    return torch.from_numpy(questions), torch.from_numpy(answers)


def _pairs(digits: int, generator: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
    least = 10 ** (digits - 1) if digits > 1 else 0
    return generator.integers(least, 10**digits, size=(count, 2))
