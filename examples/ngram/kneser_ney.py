r"""Interpolated Kneser-Ney sources over 32 symbols, in numpy: probabilities, and fast sampling.

The text is read as a circle: every context has a successor, and no start needs padding. A gram of k symbols is one
integer of 5k bits, the oldest symbol in the highest bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from examples.ngram.text import SYMBOLS, IntArray, encode

BITS = 5
MAX_ORDER = 12
"""Grams of 12 symbols are 60 bits, the most that an ``int64`` holds."""


class Level:
    r"""The grams of k symbols, with discounted counts.

    With the count c(hw) of symbol w after the context h, the total c(h) and the number of kinds N(h) of symbols that
    follow it, the next level below is mixed in:

    .. math:: p_k(w \mid h) = \frac{\max(c(hw) - D, 0)}{c(h)} + \frac{D \, N(h)}{c(h)} \; p_{k-1}(w \mid h')

    where h' is h without its oldest symbol. An unseen context is passed on to the level below as it is. The discount is
    D = n1 / (n1 + 2 n2), with n1 grams of count 1 and n2 of count 2 (Ney, Essen & Kneser 1994); 1/2 where n1 is 0, as
    unseen symbols would be impossible otherwise.

    Args:
        length: k, at least 1.
        grams: distinct packed grams in ascending order.
        counts: of each, at least 1.
    """

    def __init__(self, length: int, grams: IntArray, counts: IntArray) -> None:
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        self.discount = once / (once + 2 * twice) if once else 0.5
        self._mask = (1 << BITS * (length - 1)) - 1
        self._grams = grams
        self._kept = np.maximum(counts - self.discount, 0.0)
        self._contexts, first, kinds = np.unique(grams >> BITS, return_index=True, return_counts=True)
        self._totals = np.add.reduceat(counts, first)
        self._given_away = self.discount * kinds
        self._first = first
        self._ends = np.cumsum(self._kept)
        self._starts = (self._ends - self._kept)[first]
        self._widths = np.add.reduceat(self._kept, first)
        self._last = np.append(first[1:], len(grams)) - 1

    def mix(self, histories: IntArray, below: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return ``(n, 32)`` probabilities after ``n`` packed histories, given those of the level below."""
        row, seen = self._find(histories)
        queries = (histories & self._mask)[:, None] << BITS | np.arange(len(SYMBOLS))
        position = np.searchsorted(self._grams, queries).clip(max=len(self._grams) - 1)
        kept = np.where(self._grams[position] == queries, self._kept[position], 0.0)
        total = self._totals[row, None]
        return np.where(seen[:, None], kept / total + self._given_away[row, None] / total * below, below)

    def draw(self, histories: IntArray, uniform: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.bool_], IntArray]:
        """Draw the next symbols, as far as this level decides them.

        Args:
            histories: ``n`` packed histories.
            uniform: ``n`` random numbers in [0, 1).

        Returns:
            Which of the ``n`` this level decides, and the symbols of those. The level below draws the others.
        """
        row, seen = self._find(histories)
        offset = uniform * self._totals[row]
        decided = seen & (offset < self._widths[row])
        row = row[decided]
        position = np.searchsorted(self._ends, self._starts[row] + offset[decided], side="right")
        position = position.clip(self._first[row], self._last[row])  # rounding must not leave the context
        return decided, self._grams[position] & (len(SYMBOLS) - 1)

    def _find(self, histories: IntArray) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        contexts = histories & self._mask
        row = np.searchsorted(self._contexts, contexts).clip(max=len(self._contexts) - 1)
        return row, self._contexts[row] == contexts


class KneserNey:
    """A source of text: the probabilities of the next symbol given the ``order - 1`` before it.

    Order 0 draws all symbols with equal probability, order 1 with their frequencies. The highest level has the counts
    of the text, every level below the number of different symbols that stand before the gram (Kneser & Ney 1995);
    level 1 is mixed with the equal probabilities of level 0.

    Args:
        levels: from 1 to the order.
    """

    def __init__(self, levels: Sequence[Level]) -> None:
        self._levels = tuple(levels)

    @property
    def order(self) -> int:
        """Length of the longest grams."""
        return len(self._levels)

    def probabilities(self, histories: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return ``(n, 32)`` probabilities of the next symbol after ``n`` packed histories."""
        packed = np.asarray(histories, np.int64)
        result = np.full((len(packed), len(SYMBOLS)), 1 / len(SYMBOLS))
        for level in self._levels:
            result = level.mix(packed, result)
        return result

    def log_likelihood(self, sequences: npt.ArrayLike, start: int) -> npt.NDArray[np.float64]:
        """Return the log probability, in nats, of every symbol from position ``start`` on.

        Args:
            sequences: shape ``(n, length)``, positions in ``SYMBOLS``.
            start: at least ``order - 1``, so that every history is whole.

        Returns:
            Shape ``(n, length - start)``.

        Raises:
            ValueError: if ``start`` is too small.
        """
        codes = np.asarray(sequences, np.int64)
        if start < self.order - 1:
            raise ValueError(f"start must be at least {self.order - 1} for order {self.order}, got {start}")
        columns = []
        for position in range(start, codes.shape[1]):
            rows = self.probabilities(pack(codes[:, max(0, position - self.order + 1) : position]))
            columns.append(rows[np.arange(len(codes)), codes[:, position]])
        return np.log(np.stack(columns, axis=1))

    def sample(
        self, histories: npt.ArrayLike, length: int, generator: np.random.Generator
    ) -> tuple[IntArray, IntArray]:
        """Continue ``n`` histories.

        A draw descends from the longest context: each level either decides the symbol or leaves it to the level below,
        with the probability that the discount has set aside. So no distribution over all symbols is ever computed.

        Args:
            histories: packed.
            length: symbols to draw for each.
            generator: of the randomness.

        Returns:
            The symbols, shape ``(n, length)``, and the ``n`` histories after them.
        """
        packed = np.array(histories, np.int64)
        symbols = np.empty((len(packed), length), np.int64)
        memory = (1 << BITS * max(0, self.order - 1)) - 1
        for position in range(length):
            open_ = np.arange(len(packed))
            for level in reversed(self._levels):
                decided, drawn = level.draw(packed[open_], generator.random(len(open_)))
                symbols[open_[decided], position] = drawn
                open_ = open_[~decided]
            symbols[open_, position] = generator.integers(len(SYMBOLS), size=len(open_))
            packed = (packed << BITS | symbols[:, position]) & memory
        return symbols, packed


def pack(contexts: npt.ArrayLike) -> IntArray:
    """Return each row of symbols, the oldest first, as one integer."""
    rows = np.asarray(contexts, np.int64)
    packed = np.zeros(len(rows), np.int64)
    for column in rows.T:
        packed = packed << BITS | column
    return packed


def estimate(text: str, max_order: int) -> tuple[KneserNey, ...]:
    """Return the sources of orders 0 to ``max_order``; their lower levels are shared.

    Args:
        text: of characters in ``SYMBOLS``; read as a circle.
        max_order: from 0 to ``MAX_ORDER``.

    Raises:
        ValueError: if the order is out of range, or the text shorter than the longest gram.
    """
    if not 0 <= max_order <= MAX_ORDER:
        raise ValueError(f"the order must be from 0 to {MAX_ORDER}, got {max_order}")
    codes = encode(text)
    if len(codes) < max(1, max_order):
        raise ValueError(f"a text of {len(codes)} characters is too short for order {max_order}; give a longer one")
    grams = np.sort(pack(np.stack([np.roll(codes, -shift) for shift in range(max_order)], axis=1)))
    highest, lower = [], []
    for length in range(1, max_order + 1):
        kinds, counts = np.unique(grams >> BITS * (max_order - length), return_counts=True)
        highest.append(Level(length, kinds, counts))
        if length > 1:
            lower.append(Level(length - 1, *np.unique(kinds & (1 << BITS * (length - 1)) - 1, return_counts=True)))
    return (KneserNey([]), *(KneserNey([*lower[:length], level]) for length, level in enumerate(highest)))
