"""Batches with samples of several tasks, in fixed proportions: what everybody trains on without a curriculum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch.utils.data import default_collate

Weights = npt.NDArray[np.float64]


class Mixture:
    """A sized loader of batches whose samples come from the tasks in fixed proportions.

    Args:
        tasks: name to a map-style dataset, which is shuffled anew in every pass, or to an iterable of samples.
        weights: share of each task, shape ``(N,)``, at least 0, at least one above 0.
        batch_size: samples per batch.
        steps: batches.
        seed: of order and draws.
        how: ``"independent"``: every sample's task is drawn by the weights. ``"quotas"``: counts follow the weights as
            closely as whole numbers can, over the batches too. ``"one"``: all samples of a batch are of one task.
        collate: from a list of samples to a batch.

    Raises:
        ValueError: if the weights are none.
    """

    def __init__(
        self,
        tasks: Mapping[str, Any],
        weights: Sequence[float] | Weights,
        *,
        batch_size: int,
        steps: int,
        seed: int,
        how: Literal["independent", "quotas", "one"] = "independent",
        collate: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        self.tasks = dict(tasks)
        self.reweight(weights)
        self._collate = collate or default_collate
        self.counts = np.zeros(len(tasks), dtype=np.int64)
        """Samples of each task that were given out."""
        self._batch_size = batch_size
        self._steps = steps
        self._how = how
        self._rng = np.random.default_rng(seed)
        self._streams = [samples_of(task, self._rng) for task in self.tasks.values()]

    def __len__(self) -> int:
        """Return the number of batches."""
        return self._steps

    def reweight(self, weights: Sequence[float] | Weights) -> None:
        """Set the share of each task from the next batch on."""
        shares = np.asarray(weights, dtype=np.float64)
        if shares.shape != (len(self.tasks),) or not (shares >= 0).all() or not shares.sum() > 0:
            raise ValueError(
                f"weights must be {len(self.tasks)} numbers >= 0, one per task and not all 0, got {shares.tolist()}"
            )
        self.weights = shares / shares.sum()

    def __iter__(self) -> Iterator[Any]:
        """Give out the batches."""
        for _ in range(self._steps):
            arms = self._draw()
            self.counts += np.bincount(arms, minlength=len(self.counts))
            yield self._collate([next(self._streams[arm]) for arm in arms])

    def _draw(self) -> npt.NDArray[np.int64]:
        size, number = self._batch_size, len(self.weights)
        if self._how == "independent":
            return self._rng.choice(number, size=size, p=self.weights)
        if self._how == "one":
            return np.full(size, self._rng.choice(number, p=self.weights))
        owed = self.weights * (self.counts.sum() + size) - self.counts
        arms = []
        for _ in range(size):
            arm = int(owed.argmax())
            owed[arm] -= 1.0
            arms.append(arm)
        return np.array(arms)


class Script:
    """A sized loader whose batches have one task each: those of another run, in another order in every pass.

    Args:
        tasks: as for :class:`Mixture`.
        arms: index of the task of every batch of a pass, in any order.
        batch_size: samples per batch.
        seed: of the orders of batches and samples.
        collate: as for :class:`Mixture`.
    """

    def __init__(
        self,
        tasks: Mapping[str, Any],
        arms: Sequence[int],
        *,
        batch_size: int,
        seed: int,
        collate: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.given_out: list[int] = []
        """Index of the task of every batch that was given out."""
        self._arms = np.array(arms, dtype=np.int64)
        self._orders = np.random.default_rng([seed, 1])
        self._collate = collate or default_collate
        self._batch_size = batch_size
        self._streams = [samples_of(task, rng) for task in tasks.values()]

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._arms)

    def __iter__(self) -> Iterator[Any]:
        """Give out the batches."""
        for arm in self._orders.permutation(self._arms).tolist():
            self.given_out.append(arm)
            yield self._collate([next(self._streams[arm]) for _ in range(self._batch_size)])


def samples_of(task: Any, rng: np.random.Generator) -> Iterator[Any]:
    """Return the samples of a task without an end: a map-style one in a new order in every pass."""
    if hasattr(task, "__getitem__") and hasattr(task, "__len__"):
        while True:
            for index in rng.permutation(len(task)):
                yield task[int(index)]
    while True:
        yield from task


def sizes_of(tasks: Mapping[str, Any]) -> Weights:
    """Return the number of samples of each task, shape ``(N,)``; 1 for all where one is endless."""
    if all(hasattr(task, "__len__") for task in tasks.values()):
        return np.array([len(task) for task in tasks.values()], dtype=np.float64)
    return np.ones(len(tasks))


def tempered(sizes: Weights, temperature: float) -> Weights:
    r"""Return shares :math:`\propto n_i^{1/T}`: 1 is proportional to the sizes, infinity is uniform.

    Source: Devlin, multilingual BERT (2019); Arivazhagan et al. 2019 (arXiv:1907.05019).

    Example:
        >>> tempered(np.array([1.0, 4.0]), 2.0).round(3).tolist()
        [0.333, 0.667]
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    shares = (sizes / sizes.max()) ** (0.0 if math.isinf(temperature) else 1.0 / temperature)
    result: Weights = shares / shares.sum()
    return result
