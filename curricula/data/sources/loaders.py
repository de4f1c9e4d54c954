"""What is asked of a ``DataLoader`` that is a task, or is made of one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, IterDataPipe, RandomSampler, SequentialSampler

from curricula.data.tasks import Task, is_map_style


def batches_of(
    task: Task, batch_size: int | None, drop_last: bool, collate_fn: Callable[[list[Any]], Any] | None
) -> Any:
    """Return the re-iterable of batches of an iterable task: itself, unless it is an ``IterableDataset``."""
    if isinstance(task, IterableDataset):
        return DataLoader(task, batch_size=batch_size, drop_last=drop_last, collate_fn=collate_fn)
    return task


def samples_of(task: IterableDataset[Any]) -> DataLoader[Any]:
    """Return the re-iterable of single samples of an iterable dataset."""
    kind = DataLoader if isinstance(task, IterDataPipe) else _SampleLoader  # which torch shuffles and seeds by itself
    return kind(task, batch_size=1, collate_fn=_only)


class _SampleLoader(DataLoader[Any]):
    """Gives the samples as the dataset does, without the twenty microseconds that a ``DataLoader`` adds to each."""

    def __iter__(self) -> Any:
        torch.empty((), dtype=torch.int64).random_()  # as a DataLoader, so that the dataset finds the same numbers
        return iter(self.dataset)


def _only(samples: list[Any]) -> Any:
    return samples[0]


def set_epoch(loader: DataLoader[Any], number: int) -> None:
    """Tell a loader's samplers and dataset which pass this is, where they ask for it."""
    for part in [*samplers_of(loader), loader.dataset]:
        method = getattr(part, "set_epoch", None)
        if callable(method):
            method(number)


def samplers_of(loader: DataLoader[Any]) -> list[Any]:
    """Return the samplers of a loader, each once."""
    parts = [loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None), loader.sampler]
    return list({id(part): part for part in parts if part is not None}.values())


def iterates_plainly(loader: DataLoader[Any]) -> bool:
    """Tell whether the batches of a loader are what torch's own ``DataLoader`` makes of its dataset."""
    kind = type(loader)
    own = kind.__iter__ in (DataLoader.__iter__, _SampleLoader.__iter__)
    own = own and kind._get_iterator is DataLoader._get_iterator
    return own and "_get_iterator" not in vars(loader)


def samples_plainly(loader: DataLoader[Any]) -> bool:
    """Tell whether a loader reads a map-style dataset once per pass, in its order or in a random one."""
    plain = type(loader.sampler) in (RandomSampler, SequentialSampler)
    # A loader with a batch sampler of the user's has no batch size.
    return plain and is_map_style(loader.dataset) and (loader.batch_size is not None or loader.batch_sampler is None)


def second_of(batches: Any) -> Any:
    """Return what can be iterated while ``batches`` is: persistent workers serve one iterator at a time.

    A loader that reads a map-style dataset in the order of the dataset is given a random one.
    """
    if isinstance(batches, DataLoader):
        other = copy.copy(batches)
        parts = vars(other)
        parts["_iterator"] = None
        if samples_plainly(batches) and type(batches.sampler) is SequentialSampler:
            parts["sampler"] = RandomSampler(batches.dataset)  # type: ignore[arg-type]
            if batches.batch_size is not None:
                parts["batch_sampler"] = BatchSampler(parts["sampler"], batches.batch_size, batches.drop_last)
        return other
    loaders = {name: part for name, part in getattr(batches, "__dict__", {}).items() if isinstance(part, DataLoader)}
    if not loaders:
        return batches
    other = copy.copy(batches)
    for name, part in loaders.items():
        object.__setattr__(other, name, second_of(part))
    return other
