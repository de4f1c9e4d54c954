"""A loader while a training runs: tasks that come, grow or shrink, and a loader that takes the place of another."""

from __future__ import annotations

from typing import Any

from curricula.data.attached import AttachedLoader
from curricula.data.cursor import Cursor
from curricula.data.delivery import Delivery
from curricula.data.hooks import Hooks
from curricula.data.options import Collate
from curricula.data.pool import Pool
from curricula.data.sources.mixed_dataset import MixedDataset
from curricula.data.sources.task_dataset import TaskDataset
from curricula.data.tasks import Task, check_tasks


class ChangingLoader(AttachedLoader):
    """The side of a :class:`~curricula.CurriculumLoader` that changes while a model trains."""

    grid: dict[str, list[str]] | None
    batch_size: int | None
    draws_per_batch: int
    drop_last: bool
    seed: int
    num_workers: int
    _collate_fn: Collate | None
    _options: dict[str, Any]
    _retries: int
    _given_steps: int | None
    _plan_again: bool
    _delivery: Delivery

    def add_task(
        self, name: str, task: Task, *, probe_task: Task | None = None, presharded: bool | None = None
    ) -> None:
        """Add a task while a model trains, or before: the last arm of this loader and of its teacher.

        Call it between two batches, from any hook of a callback; with several ranks, on all of them at the same step.
        The bandit gives the new task the mean of the weights of the others (:meth:`Teacher.add_task`). Draws that were
        planned already come first. A resumed run is given the loader with all tasks, in the order in which they came.

        Args:
            name: unlike all others.
            task: as in ``tasks``.
            probe_task: as in ``probe_tasks``.
            presharded: whether the task splits itself by rank; ``None``: it does if it is streamed and the loader was
                made with ``presharded=True``.

        Raises:
            TypeError: if the task is none, or the name is not a string.
            ValueError: if there is such a task already, the task is empty, the loader has a grid or no
                ``steps_per_epoch``, or the bandit cannot change its arms.

        Example:
            >>> from curricula import CurriculumLoader
            >>> loader = CurriculumLoader({"easy": [1.0, 2.0]}, batch_size=2, steps_per_epoch=10)
            >>> loader.add_task("hard", [3.0, 4.0])
            >>> loader.names
            ('easy', 'hard')
        """
        check_tasks({name: task})
        if self.grid is not None:
            raise ValueError(
                f"the grid {list(self.grid)} has no cell for task {name!r}: make the loader without a grid"
            )
        if self._given_steps is None:
            raise ValueError(
                f"task {name!r} would change the length of the epoch: make the loader with steps_per_epoch=<batches>"
            )
        if name in self.tasks:
            raise ValueError(f"there is a task {name!r} already: the tasks are {list(self.names)}")
        splits_itself = self._sources.add(name, task, presharded, self._plan.share.world_size)
        try:
            self.samples.add_task(name, task, probe_task, presharded=splits_itself)
            self.teacher.add_task(name)
        except Exception:
            self._sources.remove_last()
            raise
        self._sources.follow_processes(self._plan.share)
        if self.teacher is not self._own_teacher:
            self._own_teacher.add_task(name)
        self._plan.cursor.visits.append(0)
        self._follow_passes()
        self._delivery.times.add_task()
        self._make_pool()  # worker processes have copies of the tasks: new ones are started
        self._pool.begin_epoch(self._plan.cursor.epoch)
        self._plan_again = True

    def take_over(self, before: ChangingLoader) -> None:
        """Go on from a loader that this one replaces at the end of an epoch, with the same teacher.

        A reload is not a resume: nothing is read again. A map-style task goes on in the order of its samples, or begins
        its next pass where it has another number of them. A stream that is the same object in both loaders goes on
        where it was; another one begins anew.

        Args:
            before: had the same tasks or others; they are matched by name.
        """
        self._reset()
        self._serve(before.teacher)
        self._plan.cursor = Cursor.loaded(before._plan.cursor.state(), before.names, self.names)
        same = self._reads_as(before)
        self._sources.take_over(before._sources, same=same)
        before._pool.stop(before._pool.loader._iterator)  # of persistent workers, which have copies of the data before
        self.samples.take_over(before.samples, same=same)

    def _reads_as(self, other: ChangingLoader) -> bool:
        return self._manner() == other._manner()

    def _manner(self) -> tuple[Any, ...]:
        return self.batch_size, self.draws_per_batch, self.drop_last, self._collate_fn, self.seed, self.on_error

    def _follow_sizes(self, goes_on: bool) -> None:
        """Look at the sizes of the tasks as they are now; within an epoch they stay what they were at its beginning."""
        world_size, visits = self._plan.share.world_size, self._plan.cursor.visits
        changed = self._sources.follow_sizes(visits, self.teacher.is_removed, world_size, shrink_only=goes_on)
        self.samples.follow_sizes(shrink_only=goes_on)
        if changed:
            self._pool.stop_persistent()  # they have copies of the tasks: new ones are started

    # ---------------------------------------------------------------- what is known of the tasks

    @property
    def plans_ahead(self) -> bool:
        """Whether worker processes are told what to read before it is asked for."""
        return self._pool.num_workers > 0 and bool(self._sources.maps)

    @property
    def sizes(self) -> list[float]:
        """Number of samples of each task, for size-proportional policies; of batches, where no dataset is known.

        Raises:
            ValueError: if a task has no length.
        """
        return self._sources.sizes()

    def known_sizes(self) -> dict[str, int]:
        """Return the number of samples of each task that tells it, by name; of ready batches nobody knows."""
        return self._sources.known_sizes()

    @property
    def seconds_per_batch(self) -> dict[str, float]:
        """Mean seconds that a batch of each task took to be read here, without the longest; NaN for fewer than two."""
        return dict(zip(self.names, self._delivery.times.means(), strict=True))

    @property
    def _iterator(self) -> Any:  # where Lightning looks for persistent workers, to stop them when training is over
        return self._pool.loader._iterator

    @_iterator.setter
    def _iterator(self, iterator: Any) -> None:
        self._pool.loader._iterator = iterator
        if iterator is None:  # training is over, for the workers of the tasks' own loaders as well
            self._sources.shut_down()
            self.samples.shut_down()

    # ---------------------------------------------------------------- the parts that belong to a process

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to a process or to the training in it: a training in spawned ones attaches anew."""
        state = dict(vars(self), _hooks=Hooks())
        del state["_pool"]  # has a generator, which cannot be sent, and may have workers
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make anew what was left out."""
        vars(self).update(state)
        self._make_pool()

    def _make_pool(self) -> None:
        names, tasks, collate, ready = self.names, list(self.tasks.values()), self._collate_fn, self.batch_size is None
        dataset = TaskDataset(names, tasks, collate, self._retries, ready)
        if self.draws_per_batch > 1:
            slot_size = None if ready else self._sources.slot_size
            dataset = self._delivery.dataset = MixedDataset(
                names, tasks, collate, self._retries, ready, slot_size=slot_size, num_workers=self.num_workers
            )
        self._pool = Pool(
            dataset,
            lambda: self._plan.reads(self._steps, self._hooks),
            seed=self.seed,
            parts=self._parts,
            tasks=self._plan.own_tasks,
            in_hand=self._delivery.in_hand,
            others=self._sources.explain,
            options=self._options,
        )

    def _parts(self) -> dict[str, Any]:
        tasks = {f"task {name!r}": task for name, task in self.tasks.items()}
        return {**tasks, "collate_fn": self._collate_fn, "worker_init_fn": self._options["worker_init_fn"]}
