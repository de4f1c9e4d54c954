"""The problems that can be compared on, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from examples.compare.methods import named
from examples.compare.problem import Problem, Scored
from examples.junk_arms import junk_arms
from examples.parity_staircase import ParityModel, staircase
from examples.parity_staircase.tasks import INPUTS
from examples.workload import Workload


class Samples(IterableDataset[tuple[Tensor, ...]]):
    """The samples of a stream of batches, one by one.

    Args:
        batches: that can be iterated anew; every batch is a tuple of tensors of one length.
    """

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Iterate over the samples."""
        for batch in self.batches:
            yield from zip(*batch, strict=True)


class Parity(ParityModel, Scored):
    """The parity model, scored by its loss."""

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the cross-entropy of every sample in nats, shape ``(batch,)``."""
        inputs, labels = batch
        return nn.functional.binary_cross_entropy_with_logits(self.network(inputs).squeeze(1), labels, reduction="none")

    def score(self, batch: tuple[Tensor, Tensor]) -> float:
        """Return the mean cross-entropy in nats."""
        return float(self.losses(batch).mean())


def _parity(workload: Workload) -> Problem:
    inputs = INPUTS + len(workload.tasks(0))

    def tasks(seed: int) -> Mapping[str, Samples]:
        return {name: Samples(task) for name, task in workload.tasks(seed).items()}

    return Problem(
        name=workload.name,
        title=workload.title,
        text=workload.text,
        tasks=tasks,
        held_out=workload.held_out,
        model=lambda lr: Parity(inputs, lr),
        goal=workload.goal,
        of="target",
        unit="nats",
        higher_is_better=False,
        target=workload.target,
        budget=workload.budget,
        evaluate_every=workload.evaluate_every,
        batch_size=64,
        learning_rates=(1e-3, 2e-3, 4e-3),
        trainer_options=workload.trainer_options,
    )


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "parity_staircase": lambda: _parity(staircase()),
    "parity_staircase_8": lambda: _parity(staircase(duplicates=0)),
    "junk_arms_4_10_6": lambda: _parity(junk_arms()),
}


@cache
def problem_of(name: str) -> Problem:
    """Return the problem of this name.

    Raises:
        ValueError: if there is none, with the nearest name.
    """
    make: Callable[[], Problem] = named("problem", name, PROBLEMS)
    torch.set_num_threads(1)
    return make()
