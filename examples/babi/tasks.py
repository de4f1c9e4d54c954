"""The twenty training tasks as endless streams, and held-out batches that no stream ever yields."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache
from random import Random

from torch import Tensor
from torch.utils.data import IterableDataset, default_collate, get_worker_info

from examples.babi.generators import GENERATORS
from examples.babi.samples import Sample
from examples.babi.vocabulary import vectorise

HELD_OUT_QUESTIONS = 256
"""Held-out questions per type: near an error of 5 %, the standard error is 1.4 points."""

HELD_OUT_SHARE = 8
"""One of so many samples is for evaluation, by its text."""


def is_held_out(sample: Sample) -> bool:
    """Return whether a sample is for evaluation: a checksum of story and question decides, and nothing else."""
    return zlib.crc32(sample.text().encode()) % HELD_OUT_SHARE == 0


class Stream(IterableDataset[dict[str, Tensor]]):
    """An endless stream of samples of one type, generated on the fly.

    Every iteration starts the same stream again. Workers of a loader yield different samples; processes that train
    together need a seed each.

    Args:
        name: of the type, a key of ``GENERATORS``.
        seed: of the stream.
    """

    def __init__(self, name: str, seed: int) -> None:
        if name not in GENERATORS:
            raise ValueError(f"There is no type {name!r}; allowed are: {', '.join(GENERATORS)}.")
        self.name = name
        self.seed = seed

    def samples(self) -> Iterator[Sample]:
        """Yield samples as text, none of them held out."""
        worker = get_worker_info()
        random = Random(f"{self.name} {self.seed} {worker.id if worker else 0}")
        while True:
            sample = GENERATORS[self.name](random)
            if not is_held_out(sample):
                yield sample

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return map(vectorise, self.samples())


def tasks(seed: int) -> dict[str, Stream]:
    """Return the twenty training tasks; streams of different seeds differ."""
    return {name: Stream(name, seed) for name in GENERATORS}


@cache
def held_out_samples(name: str) -> tuple[Sample, ...]:
    """Return ``HELD_OUT_QUESTIONS`` distinct samples of one type for evaluation, always the same."""
    random = Random(f"{name} held out")
    samples: dict[str, Sample] = {}
    while len(samples) < HELD_OUT_QUESTIONS:
        sample = GENERATORS[name](random)
        if is_held_out(sample):
            samples[sample.text()] = sample
    return tuple(samples.values())


def held_out() -> dict[str, dict[str, Tensor]]:
    """Return one batch of ``HELD_OUT_QUESTIONS`` distinct questions per type, the same in every run.

    Whether a sample is held out depends on a checksum of its text alone (``is_held_out``). Streams leave such samples
    out and these batches hold nothing else, so no seed can bring one into a training.
    """
    return {name: default_collate([vectorise(sample) for sample in held_out_samples(name)]) for name in GENERATORS}
