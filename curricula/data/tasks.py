"""Tasks as the user gives them, told apart by kind and checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeAlias, TypeGuard

from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler

from curricula.task_names import check_names, printable


class Batches(Protocol):
    """What can be iterated again and again."""

    def __iter__(self) -> Iterator[Any]: ...


class Indexed(Protocol):
    """Samples by their number."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


# Not `Any`: jsonargparse would make whatever a configuration file names. This lets it make datasets; of `Dataset[Any]`
# it would make a plain `Dataset`, whatever the file names.
Task: TypeAlias = Dataset | Batches | Indexed  # type: ignore[type-arg]
"""A map-style ``Dataset``, an ``IterableDataset``, or a re-iterable of ready batches such as a ``DataLoader``."""

Grid: TypeAlias = Mapping[str, int | Sequence[int | float | str]]
"""Axis name to number of values, or to their labels."""


def is_map_style(task: Task) -> TypeGuard[Indexed]:
    """Tell whether samples are read by index (a map-style dataset, or any sequence of samples)."""
    kind: Any = task.__class__
    if _is_iterated(kind):  # these have a `__getitem__` for the look of it
        return False
    return hasattr(task, "__getitem__") and hasattr(task, "__len__")


def gives_samples(task: Task) -> bool:
    """Tell whether a task gives single samples, by index or as a stream, and not ready batches."""
    return is_map_style(task) or isinstance(task, IterableDataset)


@lru_cache
def _is_iterated(kind: type[Any]) -> bool:
    return issubclass(kind, (DataLoader, IterableDataset))


@lru_cache
def _is_text_or_mapping(kind: type[Any]) -> bool:
    return issubclass(kind, (str, bytes, Mapping))


def check_tasks(tasks: Mapping[str, Task]) -> tuple[str, ...]:
    """Return the names, or raise if a task is none.

    Raises:
        TypeError: if ``tasks`` is no mapping, a name is no string, or a task can be neither indexed nor iterated.
        ValueError: if there are no tasks, or a task is empty or an iterator that cannot start over.
    """
    if not isinstance(tasks, Mapping):
        raise TypeError(
            f"tasks must be a mapping from name to dataset or loader, got {type(tasks).__name__}: "
            'write {"name": dataset, ...}'
        )
    names = check_names(list(tasks))
    for name, task in tasks.items():
        kind: Any = task.__class__
        if _is_text_or_mapping(kind):  # these can be indexed too, but hold no samples by number
            raise TypeError(
                f"task {name!r} must be a Dataset, an IterableDataset or an iterable of batches, got a "
                f"{type(task).__name__}: load what it names, or give a list of its samples"
            )
        if isinstance(task, type):
            raise TypeError(
                f"task {name!r} must be a Dataset, an IterableDataset or an iterable of batches, got the class "
                f"{task.__name__}: give an instance, {task.__name__}(...)"
            )
        if isinstance(task, (set, frozenset)):
            raise TypeError(
                f"task {name!r} is a {type(task).__name__}, whose order differs from one process to the next: "
                "give a list of its samples"
            )
        if is_map_style(task):
            if _length(name, task) == 0:
                raise ValueError(f"task {name!r} is an empty dataset: leave it out, or give it samples")
        elif not isinstance(task, (Iterable, IterableDataset)):
            raise TypeError(
                f"task {name!r} must be a Dataset, an IterableDataset or an iterable of batches, "
                f"got {type(task).__name__}"
            )
        elif iter_is_self(task):
            raise ValueError(
                f"task {name!r} is an iterator ({type(task).__name__}), which cannot start over when it is exhausted: "
                "give the object that makes it, or wrap it in an IterableDataset"
            )
        elif isinstance(task, DataLoader) and is_map_style(task.dataset) and len(task) == 0:
            raise ValueError(f"task {name!r} is a DataLoader without a batch: leave it out, or give it samples")
    return names


def check_slots(name: str, task: Task, slot_size: int | None, draws_per_batch: int) -> None:
    """Raise ``ValueError`` if the batches of a ``DataLoader`` task are known not to fill the slots of mixed batches.

    Args:
        name: of the task.
        task: of any kind; others are taken as they are.
        slot_size: samples of a slot, ``None`` where ready batches are mixed, each of which is one.
        draws_per_batch: slots of a batch.
    """
    size = getattr(task, "batch_size", None)
    if not isinstance(task, DataLoader) or not isinstance(size, int):
        return
    if slot_size is not None and size != slot_size:
        raise ValueError(
            f"task {name!r} is a DataLoader with batches of {size} samples, and with draws_per_batch={draws_per_batch} "
            f"a draw has {slot_size}: make it with batch_size={slot_size}, or give its dataset as the task"
        )
    if is_map_style(task.dataset) and not task.drop_last:
        rest = _length(name, task.dataset) % size
        if rest and type(task.sampler) in (RandomSampler, SequentialSampler):
            raise ValueError(
                f"task {name!r} is a DataLoader whose last batch has {rest} samples and the others {size}, and with "
                f"draws_per_batch={draws_per_batch} all must have equally many: make it with drop_last=True, or give "
                "its dataset as the task"
            )


def _length(name: str, task: Indexed) -> int:
    try:
        return len(task)
    except Exception as error:
        raise TypeError(
            f"task {name!r} ({type(task).__name__}) does not tell its length ({type(error).__name__}: {error}): a "
            "dataset that is read by index needs a __len__; one that is only iterated is an IterableDataset"
        ) from error


def iter_is_self(task: Task) -> bool:
    """Tell whether an iterable can be walked only once (a generator, a file, a zip)."""
    return hasattr(task, "__next__")


def check_grid(grid: Grid | None, num_tasks: int) -> dict[str, list[str]] | None:
    """Return the grid with a label for every value, or raise if it has not one cell per task.

    Example:
        >>> check_grid({"length": 2, "speed": ["slow", "fast"]}, 4)
        {'length': ['1', '2'], 'speed': ['slow', 'fast']}
    """
    if grid is None:
        return None
    if not isinstance(grid, Mapping):
        raise TypeError(
            f'grid must be a mapping from axis to number or labels, got {grid!r}: write {{"length": 5, "repeats": 3}}'
        )
    labels = {str(axis): _labels(axis, values) for axis, values in grid.items()}
    cells = math.prod(len(values) for values in labels.values())
    if cells != num_tasks:
        shape = " x ".join(f"{printable(axis)}: {len(values)}" for axis, values in labels.items())
        raise ValueError(
            f"grid ({shape}) has {cells} cells for {num_tasks} tasks: the axes' sizes must multiply to the number of "
            "tasks, which fill the grid row by row"
        )
    return labels


def _labels(axis: str, values: Any) -> list[str]:
    if isinstance(values, int) and not isinstance(values, bool) and values >= 1:
        return [str(k + 1) for k in range(values)]
    if isinstance(values, (str, set, frozenset, int)) or not isinstance(values, Iterable):
        raise TypeError(
            f"axis {axis!r} of the grid must be a number of values, at least 1, or their labels, got {values!r}"
        )
    labels = [str(value) for value in values]
    if len(set(labels)) < len(labels):
        raise ValueError(f"the labels of axis {axis!r} of the grid must differ from one another, got {labels}")
    return labels
