"""The tasks: sequences written by the sources of orders 0 to 10."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from examples.ngram.kneser_ney import KneserNey, estimate, pack
from examples.ngram.text import encode, king_james

ORDERS = range(11)
"""As in the paper."""

BURN_IN = 50
"""Symbols that the network only reads, so that it can tell the source; as in the paper."""

PREDICTED = 100
"""Symbols that it predicts; as in the paper."""

HELD_OUT = 128
"""Held-out sequences per task: 12,800 predicted symbols, a standard error of about .01 nats."""

_STREAMS = 1_024  # texts written side by side: the arrays of a source are then searched for many at a time
_TRAINING, _EVALUATION = 0, 1


class Sequences(IterableDataset[tuple[Tensor, Tensor]]):
    """An endless stream of sequences of one source.

    A sample is ``(inputs, targets)`` of shapes ``(149,)`` and ``(100,)``: symbols 1 to 149 of a sequence of 150, and
    its symbols 51 to 150. The sequences are disjoint pieces of texts that the source writes on and on, from histories
    drawn from the King James text.

    Args:
        order: of the source, one of ``ORDERS``.
        seed: of the stream, at least 0.

    Raises:
        ValueError: if the order or the seed is out of range.
    """

    def __init__(self, order: int, seed: int) -> None:
        if order not in ORDERS:
            raise ValueError(f"order must be from {ORDERS[0]} to {ORDERS[-1]}, got {order}")
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        self.order = order
        self.seed = seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return _stream(self.order, np.random.default_rng([_TRAINING, self.order, self.seed]), _STREAMS)


@lru_cache(maxsize=1)
def sources() -> tuple[KneserNey, ...]:
    """Return the sources of orders 0 to 10. They take a second to estimate, once per process."""
    return estimate(king_james(), ORDERS[-1])


def tasks(seed: int) -> dict[str, Sequences]:
    """Return the training tasks, ``"0-gram"`` to ``"10-gram"``: endless streams, other ones for every seed."""
    return {f"{order}-gram": Sequences(order, seed) for order in ORDERS}


def held_out() -> dict[str, tuple[Tensor, Tensor]]:
    """Return ``HELD_OUT`` sequences per task, always the same.

    They come from random numbers with a key that no training seed has, so no stream of ``tasks`` is theirs. That two
    sequences are equal by chance is out of the question: a sequence of the most predictable source has some 100 nats.
    """
    batches = {}
    for order in ORDERS:
        stream = _stream(order, np.random.default_rng([_EVALUATION, order]), HELD_OUT)
        inputs, targets = zip(*(next(stream) for _ in range(HELD_OUT)), strict=True)
        batches[f"{order}-gram"] = torch.stack(inputs), torch.stack(targets)
    return batches


@lru_cache(maxsize=1)
def floors() -> dict[str, float]:
    """Return per task the loss, in nats per character, that the source itself has on the held-out sequences.

    A network that knew the source would come to this. The excess of a loss over its floor can be averaged over tasks.
    """
    found = {}
    for source, (name, (inputs, targets)) in zip(sources(), held_out().items(), strict=True):
        sequences = torch.cat([inputs, targets[:, -1:]], dim=1).numpy()
        found[name] = float(-source.log_likelihood(sequences, BURN_IN).mean())
    return found


def _stream(order: int, generator: np.random.Generator, streams: int) -> Iterator[tuple[Tensor, Tensor]]:
    source = sources()[order]
    text = encode(king_james())
    starts = generator.integers(len(text), size=streams)
    histories = pack(text[(starts[:, None] + np.arange(max(0, order - 1))) % len(text)])
    while True:
        symbols, histories = source.sample(histories, BURN_IN + PREDICTED, generator)
        for sequence in torch.from_numpy(symbols):
            yield sequence[:-1].clone(), sequence[BURN_IN:].clone()
