"""Repeat copy on a grid of lengths and repeats, generated on the fly."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from examples.workload import Workload


class RepeatCopy:
    """An endless stream of batches of one task: a sequence of ``length`` bit vectors, to be written ``repeats`` times.

    Input, shape ``(batch, time, bits + 2)``: the vectors; then one step with a marker and the number of repeats; then
    silence while the network answers. Target, shape ``(batch, answer, bits + 1)``: the vectors, ``repeats`` times, and
    at last an end marker.

    Args:
        length: vectors per sequence, at least 1.
        repeats: at least 1.
        bits: per vector.
        batch_size: sequences per batch.
        seed: of the stream.
    """

    def __init__(self, length: int, repeats: int, bits: int, batch_size: int, seed: int) -> None:
        self.length = length
        self.repeats = repeats
        self.bits = bits
        self.batch_size = batch_size
        self.seed = seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed((self.seed * 1_009 + self.length) * 1_013 + self.repeats)
        answer = self.length * self.repeats + 1
        while True:
            vectors = torch.randint(0, 2, (self.batch_size, self.length, self.bits), generator=generator).float()
            inputs = torch.zeros(self.batch_size, self.length + 1 + answer, self.bits + 2)
            inputs[:, : self.length, : self.bits] = vectors
            inputs[:, self.length, self.bits] = 1.0
            inputs[:, self.length, self.bits + 1] = self.repeats / 10.0
            targets = torch.zeros(self.batch_size, answer, self.bits + 1)
            targets[:, :-1, : self.bits] = vectors.repeat(1, self.repeats, 1)
            targets[:, -1, self.bits] = 1.0
            yield inputs, targets


def repeat_copy(*, size: int = 5, hidden: int = 64, bits: int = 4, batch_size: int = 16) -> Workload:
    """Return the workload with lengths and repeats from 1 to ``size``; the target is the hardest task.

    Args:
        size: 5 runs in seconds; the paper has 13, with ``hidden=512``.
        hidden: units of the LSTM.
        bits: per vector.
        batch_size: sequences per batch.
    """
    from examples.repeat_copy.model import RepeatCopyModel

    cells = [(length, repeats) for length in range(1, size + 1) for repeats in range(1, size + 1)]

    def tasks(seed: int, samples: int = batch_size) -> dict[str, RepeatCopy]:
        return {f"{length} x {repeats}": RepeatCopy(length, repeats, bits, samples, seed) for length, repeats in cells}

    def held_out() -> dict[str, tuple[Tensor, Tensor]]:
        return {name: next(iter(task)) for name, task in tasks(987_654, 128).items()}

    return Workload(
        name="repeat_copy",
        title=f"Repeat copy, {size} x {size} tasks",
        text=(
            f"Read a sequence of {bits}-bit vectors, then write it several times: {size} lengths by {size} repeats, "
            f"learned by one LSTM with {hidden} units. The goal is the longest sequence, most often repeated."
        ),
        tasks=tasks,
        held_out=held_out,
        model=lambda: RepeatCopyModel(bits, hidden),
        target=f"{size} x {size}",
        goal=0.1,
        budget=12_000 if size <= 5 else 60_000,
        evaluate_every=100,
        grid={"length": size, "repeats": size},
        trainer_options={"gradient_clip_val": 1.0},
    )
