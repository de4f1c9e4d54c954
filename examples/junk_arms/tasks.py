"""Nested parities among tasks that teach nothing: labels that are coin flips, and copies of the easiest parity."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from examples.parity_staircase.tasks import INPUTS, Parity
from examples.workload import Workload


class Noise:
    """An endless stream of batches whose labels are coin flips: nothing can be learned from it, for ever.

    The inputs are those of :class:`~examples.parity_staircase.tasks.Parity`.

    Args:
        arm: index of the task.
        num_tasks: length of the one-hot code.
        batch_size: samples per batch.
        seed: of the stream.
    """

    def __init__(self, arm: int, num_tasks: int, batch_size: int, seed: int) -> None:
        self.signs = Parity(arm, num_tasks, 1, batch_size, seed)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.signs.seed * 10_007 + self.signs.arm + 5_000_000_000)
        for inputs, labels in self.signs:
            yield inputs, torch.randint(0, 2, labels.shape, generator=generator).float()


def junk_arms(*, useful: int = 4, noise: int = 10, duplicates: int = 6, batch_size: int = 64) -> Workload:
    """Return the workload.

    Args:
        useful: parities of 1 .. ``useful`` signs, at least 1; the last one is the target.
        noise: tasks whose labels are coin flips, at least 0. A signal that rewards the fitting of a batch's own noise
            prefers them to all others.
        duplicates: copies of the easiest task, at least 0. They are solved at once.
        batch_size: samples per batch.
    """
    from examples.parity_staircase.model import ParityModel

    factors = {f"k={k}": k for k in range(1, useful + 1)} | {f"easy copy {n + 1}": 1 for n in range(duplicates)}
    noises = [f"noise {n + 1}" for n in range(noise)]
    count = len(factors) + noise

    def tasks(seed: int, size: int = batch_size) -> dict[str, Parity | Noise]:
        learnable = {name: Parity(arm, count, k, size, seed) for arm, (name, k) in enumerate(factors.items())}
        junk = {name: Noise(arm, count, size, seed) for arm, name in enumerate(noises, len(factors))}
        return {**learnable, **junk}

    def held_out() -> dict[str, tuple[Tensor, Tensor]]:
        return {name: next(iter(task)) for name, task in tasks(987_654, 1024).items() if name.startswith("k=")}

    return Workload(
        name=f"junk_arms_{useful}_{noise}_{duplicates}",
        title=f"Junk arms, {useful} useful of {count} tasks, {noise} of them noise",
        text=(
            f"y = x1 * ... * xk for k = 1 .. {useful} over {INPUTS} random signs, learned by one MLP. Beside them lie "
            f"{noise} tasks whose labels are coin flips and {duplicates} copies of the easiest task: a curriculum has "
            "to find the useful tasks, and must not take the fitting of noise for learning."
        ),
        tasks=tasks,
        held_out=held_out,
        model=lambda: ParityModel(INPUTS + count),
        target=f"k={useful}",
        goal=0.1,
        budget=8_000 if useful <= 4 else 16_000,
        evaluate_every=50,
    )
