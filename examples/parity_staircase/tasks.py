"""Nested parities: learnable one after the other, hopeless alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from examples.workload import Workload

INPUTS = 30
STEPS = 8


class Parity:
    """An endless stream of batches of one parity.

    The inputs are ``INPUTS`` random signs and the one-hot index of the task; the label is 1 where the product of the
    first ``factors`` signs is 1.

    Args:
        arm: index of the task.
        num_tasks: length of the one-hot code.
        factors: number of signs multiplied, at least 1.
        batch_size: samples per batch.
        seed: of the stream.
    """

    def __init__(self, arm: int, num_tasks: int, factors: int, batch_size: int, seed: int) -> None:
        self.arm = arm
        self.num_tasks = num_tasks
        self.factors = factors
        self.batch_size = batch_size
        self.seed = seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed * 10_007 + self.arm)
        code = torch.zeros(self.batch_size, self.num_tasks)
        code[:, self.arm] = 1.0
        while True:
            signs = torch.randint(0, 2, (self.batch_size, INPUTS), generator=generator) * 2.0 - 1.0
            labels = (signs[:, : self.factors].prod(dim=1) > 0).float()
            yield torch.cat([signs, code], dim=1), labels


def staircase(*, duplicates: int = 24, batch_size: int = 64) -> Workload:
    """Return the workload.

    Args:
        duplicates: copies of the easiest task beside the ``STEPS`` useful ones, at least 0. They are solved at once
            and teach nothing from then on: a curriculum has to find the useful tasks among them.
        batch_size: samples per batch.
    """
    from examples.parity_staircase.model import ParityModel

    factors = {f"k={k}": k for k in range(1, STEPS + 1)} | {f"easy copy {n + 1}": 1 for n in range(duplicates)}

    def tasks(seed: int, size: int = batch_size) -> dict[str, Parity]:
        return {name: Parity(arm, len(factors), count, size, seed) for arm, (name, count) in enumerate(factors.items())}

    def held_out() -> dict[str, tuple[Tensor, Tensor]]:
        return {name: next(iter(task)) for name, task in tasks(987_654, 1024).items() if name.startswith("k=")}

    copies = f" Beside them lie {duplicates} copies of the easiest task." if duplicates else ""
    return Workload(
        name="parity_staircase" if duplicates else "parity_staircase_8",
        title=f"Parity staircase, {STEPS} useful of {len(factors)} tasks"
        if duplicates
        else f"Parity staircase, {STEPS} tasks",
        text=(
            f"y = x1 * ... * xk for k = 1 .. {STEPS} over {INPUTS} random signs, learned by one MLP. Each task is "
            f"within reach once the one before is learned; the last one alone is never learned.{copies}"
        ),
        tasks=tasks,
        held_out=held_out,
        model=lambda: ParityModel(INPUTS + len(factors)),
        target=f"k={STEPS}",
        goal=0.1,
        budget=24_000 if duplicates else 8_000,
        evaluate_every=50,
    )
