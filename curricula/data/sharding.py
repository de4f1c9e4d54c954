"""Tasks that split themselves by rank: which ones they are said to be, and which ones seem to be."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from torch.utils.data import DataLoader, DistributedSampler

from curricula.data.sources.loaders import samplers_of
from curricula.data.tasks import Task, is_map_style

_log = logging.getLogger(__name__)

Presharded: TypeAlias = bool | Sequence[str]
"""All streamed tasks, none, or those of these names."""

_LIBRARIES = ("streaming", "litdata")
"""Packages whose datasets split themselves by rank."""


def check_presharded(value: Presharded, tasks: Mapping[str, Task]) -> frozenset[str]:
    """Return the names of the tasks of which every rank reads batches of its own.

    Raises:
        TypeError: if the value is neither a bool nor a sequence of names.
        ValueError: if a name is that of no task, or of one that is read by index.
    """
    if value is False:
        return frozenset()
    streamed = [name for name, task in tasks.items() if not is_map_style(task)]
    if isinstance(value, bool):
        if not streamed:
            raise ValueError(
                "presharded=True is for streamed tasks, and there are none: tasks that are read by index are split by "
                "this loader"
            )
        return frozenset(streamed)
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, set, frozenset)):
        raise TypeError(f'presharded must be True, False or a list of task names such as ["web"], got {value!r}')
    unknown = [name for name in value if name not in tasks]
    if unknown:
        raise ValueError(f"presharded has {unknown}, which are no tasks: the tasks are {list(tasks)}")
    by_index = [name for name in value if name not in streamed]
    if by_index:
        raise ValueError(
            f"presharded has {by_index}, which are read by index and split by this loader: give all ranks the whole "
            "dataset, or a rank's own part as DataLoader(part, batch_size=...)"
        )
    return frozenset(value)


def warn_of_double_split(name: str, batches: Any) -> None:
    """Warn if a task seems to split itself by rank.

    Args:
        name: of the task, which is not presharded.
        batches: what is iterated on every rank.
    """
    found = next(_signs(batches), None)
    if found is None:
        return
    _log.warning(
        "task %r seems to split itself by rank (%s), and the loader splits its batches among the ranks once more: most "
        "of its data would never be trained on. Give CurriculumLoader(presharded=[%r]), or let the task read the same "
        "on every rank",
        name,
        found,
        name,
    )


def _signs(batches: Any) -> Iterator[str]:
    parts = [batches]
    if isinstance(batches, DataLoader):
        parts.append(batches.dataset)
        for sampler in samplers_of(batches):
            if isinstance(sampler, DistributedSampler) and sampler.num_replicas > 1:
                yield type(sampler).__name__
    for part in parts:
        if getattr(part, "_distributed", None) is not None:
            yield "its dataset was given a rank, as by split_dataset_by_node"
        if any(kind.__module__.partition(".")[0] in _LIBRARIES for kind in type(part).__mro__):
            yield f"it is a {type(part).__module__}.{type(part).__name__}"
        stages = getattr(part, "pipeline", None)  # of a WebDataset
        for stage in stages if isinstance(stages, (list, tuple)) else ():
            if getattr(stage, "__name__", type(stage).__name__) == "split_by_node":
                yield "its pipeline has split_by_node"
