"""Tasks that grow or shrink: their sizes are looked at when an epoch begins, and are part of the state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curricula.data.sources.map_order import MapSource
from curricula.data.tasks import Indexed


def follow_size(source: MapSource, task: Indexed, visit: int, world_size: int, *, shrink_only: bool = False) -> bool:
    """Begin a new pass over a task whose size is another one now, and tell whether it is.

    Args:
        source: the task's order.
        task: its data.
        visit: the next of the task.
        world_size: number of processes that share a batch.
        shrink_only: keep to the size of before while the task has so many samples, as in an epoch that goes on.

    Raises:
        ValueError: if the task has no samples any more, or fewer than one batch and ``drop_last=True``.
    """
    size = len(task)
    if size == source.size or (shrink_only and size > source.size):
        return False
    if size == 0:
        raise ValueError(
            f"task {source.name!r} had {source.size} samples and has none now: fill it before the epoch begins, or "
            f"take it out with teacher.remove_task({source.name!r})"
        )
    before = source.place()
    source.resize(size, visit, world_size)
    if source.batches_per_pass(world_size) == 0:
        source.restore(before)
        raise ValueError(
            f"task {source.name!r} had {source.size} samples and has {size} now, fewer than one batch of "
            f"{source.batch_size} x {world_size} ranks, and drop_last=True leaves nothing: make the batch smaller, set "
            f"drop_last=False, or take the task out with teacher.remove_task({source.name!r})"
        )
    return True


def sizes_of(sources: Mapping[int, MapSource], names: Sequence[str]) -> dict[str, Any]:
    """Return the sizes and passes of map-style tasks as plain containers, for :func:`restore_sizes`."""
    places = {arm: source.place() for arm, source in sources.items()}
    return {
        "sizes": [places[arm][0] if arm in places else None for arm in range(len(names))],
        "restarts": [[names[arm], *rest] for arm, (_, *rest) in places.items() if any(rest)],
    }


def restore_sizes(sources: Mapping[int, MapSource], names: Sequence[str], content: Mapping[str, Any]) -> None:
    """Go back to what :func:`sizes_of` told of the tasks that are still there; older states tell nothing.

    Args:
        sources: of the tasks of now.
        names: of the tasks of now.
        content: the loader's state, with the names of its tasks.
    """
    restarts = {name: rest for name, *rest in content.get("restarts", ())}
    sizes = dict(zip(content["tasks"], content.get("sizes", ()), strict=False))
    for arm, source in sources.items():
        size = sizes.get(names[arm])
        source.restore([source.size if size is None else size, *restarts.get(names[arm], (0, 0))])


def forget_restarts(sources: Mapping[int, MapSource]) -> None:
    """Begin with the first pass of every task, of the size that it has."""
    for source in sources.values():
        source.restore([source.size, 0, 0])
