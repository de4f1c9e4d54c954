"""The tasks of a loader as sources of samples: which of them are read by index and which are streamed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from curricula.data.faults import LOST, described
from curricula.data.options import Collate, length_of
from curricula.data.reads import Share
from curricula.data.sharding import Presharded, check_presharded, warn_of_double_split
from curricula.data.sizes import follow_size, forget_restarts, restore_sizes, sizes_of
from curricula.data.sources.loaders import batches_of, samples_of
from curricula.data.sources.map_order import MapSource
from curricula.data.sources.slot_order import SlotOrder
from curricula.data.sources.stream import StreamSource
from curricula.data.tasks import Task, check_slots, gives_samples, is_map_style
from curricula.data.workers import pids_in


class Sources:
    """The sources of all tasks, by arm.

    Args:
        tasks: by name, checked.
        batch_size: samples per batch and rank; ``None`` for ready batches.
        draws_per_batch: slots of a batch.
        shuffle, drop_last, collate_fn, seed: as in :class:`~curricula.CurriculumLoader`.
        retries: how many further batches are asked for when a task raises.
        presharded: as in :class:`~curricula.CurriculumLoader`.

    Attributes:
        batch_size: samples per batch and rank; ``None`` for ready batches.
        names: of the tasks, in the order of the arms.
        tasks: by name.
        maps: orders of the map-style tasks, by arm.
        streams: the other tasks, by arm.
        presharded: names of the tasks that split themselves by rank.

    Raises:
        ValueError: if a task can fill no slot, or ``presharded`` names none that is streamed.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        *,
        batch_size: int | None,
        draws_per_batch: int,
        shuffle: bool,
        drop_last: bool,
        collate_fn: Collate | None,
        seed: int,
        retries: int,
        presharded: Presharded,
    ) -> None:
        self.tasks = dict(tasks)
        self.names = tuple(self.tasks)
        self.batch_size = batch_size
        self._slots = draws_per_batch
        self._shuffle = shuffle
        self._drop_last = drop_last
        self._collate_fn = collate_fn
        self._seed = seed
        self._retries = retries
        self.presharded = check_presharded(presharded, self.tasks)
        self._all_presharded = presharded is True
        self.maps: dict[int, MapSource] = {}
        self.streams: dict[int, StreamSource] = {}
        self._processes = 0  # that the streams were told of
        self._looked_at: set[str] = set()  # streams of which it was asked whether they split themselves
        for arm, (name, task) in enumerate(self.tasks.items()):
            self._open(arm, name, task)

    def _open(self, arm: int, name: str, task: Task) -> None:
        size = self.batch_size
        if self._slots > 1:
            check_slots(name, task, size and size // self._slots, self._slots)
        if is_map_style(task):
            kind, per_slot = (MapSource, size) if self._slots == 1 else (SlotOrder, size and size // self._slots)
            self.maps[arm] = kind(name, len(task), per_slot or 1, self._shuffle, self._drop_last, self._seed)
            return
        if self._slots > 1 and size is not None and isinstance(task, IterableDataset):
            batches = samples_of(task)
        else:
            batches = batches_of(task, size, self._drop_last, self._collate_fn)
        self.streams[arm] = StreamSource(
            name, batches, self._seed, retries=self._retries, presharded=name in self.presharded
        )

    def gives_samples(self, arm: int) -> bool:
        """Tell whether a task gives single samples where a batch has several slots, and not ready batches."""
        return self.batch_size is not None and gives_samples(self.tasks[self.names[arm]])

    @property
    def slot_size(self) -> int:
        """Samples of a draw on one process; 0 where no task is read by index and the batches are ready ones."""
        if self.batch_size is None:
            return min(1, len(self.maps))
        return self.batch_size // self._slots

    def follow_processes(self, share: Share) -> None:
        """Tell the streams how many processes read, and warn of those that seem to split themselves."""
        if share.processes == self._processes:
            return
        self._processes = share.processes
        for source in self.streams.values():
            source.processes = share.processes
            if share.processes > 1 and share.is_first and source.name not in self._looked_at:
                self._looked_at.add(source.name)
                if not source.presharded:
                    warn_of_double_split(source.name, source.batches)

    def check_passes(self, world_size: int) -> None:
        """Raise ``ValueError`` if a task fills no batch of so many processes."""
        for source in self.maps.values():
            if source.batches_per_pass(world_size) == 0:
                raise ValueError(
                    f"task {source.name!r} has {source.size} samples, fewer than one batch of "
                    f"{source.batch_size} x {world_size} ranks, and drop_last=True leaves nothing: "
                    "make the batch smaller or set drop_last=False"
                )

    def steps_per_pass(self, world_size: int) -> int:
        """Return the number of batches that one pass over all tasks takes.

        Raises:
            ValueError: if a task has no length.
        """
        draws = sum(source.batches_per_pass(world_size) for source in self.maps.values())
        draws += sum(math.ceil(self.visits_of(arm, world_size, "steps_per_epoch")) for arm in self.streams)
        return max(1, -(-draws // self._slots))

    def visits_of(self, arm: int, world_size: int, needed_for: str) -> float:
        """Return the number of draws that a pass over a streamed task takes."""
        source = self.streams[arm]
        length = length_of(source.name, source.batches, needed_for)
        return length / (world_size * (self.slot_size if self._slots > 1 and self.gives_samples(arm) else 1))

    def sizes(self) -> list[float]:
        """Return the number of samples of each task; of batches, where no dataset is known.

        Raises:
            ValueError: if a task has no length.
        """
        data = {name: task.dataset if isinstance(task, DataLoader) else task for name, task in self.tasks.items()}
        return [float(length_of(name, source, "sizes")) for name, source in data.items()]

    def known_sizes(self) -> dict[str, int]:
        """Return the number of samples of each task that tells it, by name."""
        found = {}
        for arm, (name, task) in enumerate(self.tasks.items()):
            if arm in self.maps and self.batch_size is not None:
                found[name] = self.maps[arm].size  # that passes are counted with: within an epoch it stays
                continue
            ready = task.batch_sampler is None if isinstance(task, DataLoader) else self.batch_size is None
            data: Any = task.dataset if isinstance(task, DataLoader) else task
            if not ready and (gives_samples(task) or isinstance(task, DataLoader)):
                with suppress(Exception):  # a dataset of the user's may answer with any error
                    found[name] = len(data)
        return found

    def follow_sizes(self, visits: list[int], left_out: Any, world_size: int, *, shrink_only: bool) -> bool:
        """Look at the sizes of the map-style tasks as they are now, and tell whether one has changed.

        Args:
            visits: the next of every task, by arm.
            left_out: whether the task of an arm is removed.
            world_size: number of processes that share a draw.
            shrink_only: keep to the size of before while a task has so many samples, as in an epoch that goes on.

        Raises:
            ValueError: if a task that is drawn has become too small.
        """
        changed = False
        for arm, source in self.maps.items():
            if not left_out(arm):
                task: Any = self.tasks[source.name]
                changed |= follow_size(source, task, visits[arm], world_size, shrink_only=shrink_only)
        return changed

    def add(self, name: str, task: Task, presharded: bool | None, world_size: int) -> bool:
        """Add a task as the last arm, and return whether it splits itself by rank.

        Args:
            name: unlike all others.
            task: checked.
            presharded: whether it splits itself by rank; ``None``: it does if all streamed tasks do.
            world_size: number of processes that share a draw.

        Raises:
            ValueError: if it fills no batch, or is to split itself and is not streamed. Then nothing has changed.
        """
        by_itself = self._all_presharded and not is_map_style(task) if presharded is None else presharded
        own = check_presharded([name] if by_itself else [], {name: task})
        self.presharded |= own
        self.tasks[name] = task
        self.names = (*self.names, name)
        try:
            self._open(len(self.names) - 1, name, task)
            self.check_passes(world_size)
        except Exception:
            self.remove_last()
            raise
        self._processes = 0
        return bool(own)

    def remove_last(self) -> None:
        """Take back :meth:`add`."""
        *names, last = self.names
        self.maps.pop(len(names), None)
        self.streams.pop(len(names), None)
        self.presharded -= {last}
        del self.tasks[last]
        self.names = tuple(names)

    def explain(self, error: BaseException) -> str | None:
        """Return which task was lost, if an error tells of a worker process of a task's own loader that died."""
        if not pids_in(error):
            return None
        for source in self.streams.values():
            if source.lost_worker(error):
                return f"task {source.name!r} lost a worker process ({described(error)}): {LOST}"
        return None

    def shut_down(self) -> None:
        """Stop the worker processes of the tasks' own loaders until further batches are asked for."""
        for source in self.streams.values():
            source.shut_down()

    # ---------------------------------------------------------------- the places in the tasks

    def rewind(self) -> None:
        """Begin with the first pass of every task, of the size that it has."""
        forget_restarts(self.maps)
        for source in self.streams.values():
            source.seek([0, 0])

    def take_over(self, before: Sources, *, same: bool) -> None:
        """Go on from the sources of a loader that is replaced; tasks are matched by name.

        Args:
            before: of that loader.
            same: whether both read a task in the same way.
        """
        arms = {name: arm for arm, name in enumerate(before.names)}
        for source in self.maps.values():
            ordered = before.maps.get(arms.get(source.name, -1))
            if ordered is not None:
                source.restore(ordered.place())  # of another size now: the next pass begins with the epoch
        for arm, stream in self.streams.items():
            running = before.streams.get(arms.get(stream.name, -1))
            if running is not None and same and self.tasks[stream.name] is before.tasks[stream.name]:
                self.streams[arm] = running
            elif running is not None:
                stream.seek(running.next_pass())
                running.shut_down()
        self._looked_at |= before._looked_at

    def map_state(self) -> dict[str, Any]:
        """Return the sizes and passes of the map-style tasks."""
        return sizes_of(self.maps, self.names)

    def stream_state(self) -> list[list[Any]]:
        """Return the place in every streamed task."""
        return [[source.name, source.position()] for source in self.streams.values()]

    def restore(self, content: Mapping[str, Any]) -> None:
        """Go to the places of a loader's state, in the tasks that are still there."""
        restore_sizes(self.maps, self.names, content)
        places = dict(content["streams"])
        for source in self.streams.values():
            if source.name in places:
                source.seek(places[source.name])
