"""CurriculumLoader: one training loader over all tasks; a Teacher says whose batch is next."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, default_collate

from curricula.bandits.base import check_range
from curricula.bandits.fixed import FixedPolicy
from curricula.data.faults import RETRIES, Failure, OnError, TaskError, check_on_error, warn_retried
from curricula.data.samples import Samples
from curricula.data.sources import Key, MapSource, StreamSource, TaskDataset, as_it_is, batches_of
from curricula.data.tasks import Grid, Task, check_grid, check_tasks, is_map_style
from curricula.randomness import check_seed
from curricula.state import seal, unseal
from curricula.teacher import Draw, Teacher, draw_from_list, draw_to_list

_log = logging.getLogger(__name__)


class CurriculumLoader:
    """A sized, stateful training loader whose every batch comes from one task, chosen by a :class:`Teacher`.

    Give it to ``trainer.fit(model, loader)`` or return it from ``train_dataloader()``. With a
    :class:`~curricula.CurriculumCallback` in the trainer, the callback's teacher chooses; without one, tasks are drawn
    uniformly. The batch arrives just as the task made it.

    With ``num_workers=0`` a task is drawn when its batch is asked for. With workers, which serve the map-style tasks,
    draws run ahead by ``num_workers * prefetch_factor`` batches, and every batch still meets its own draw.

    Args:
        tasks: name to task. A task is a map-style ``Dataset`` (or a sequence of samples), an ``IterableDataset``, or a
            re-iterable of ready batches such as a ``DataLoader``. A finite task starts over when it is exhausted.
        batch_size: samples per batch and rank, for map-style and iterable datasets. ``None``: the items of iterable
            datasets are batches already.
        steps_per_epoch: batches per epoch. ``None``: as many as one pass over all tasks takes, if all have a length.
        num_workers: worker processes for the map-style tasks, at least 0. A streamed task that wants workers is passed
            as a ``DataLoader`` with workers of its own.
        collate_fn: list of samples to batch; default ``torch.utils.data.default_collate``.
        shuffle: a new order of each map-style task in every pass over it.
        drop_last: leave out the incomplete last batch of a pass.
        seed: of the orders, and of the uniform draws without a callback; in ``[0, 2**64)``.
        probe_tasks: name to the task that fresh batches for the signals come from, where it is not to be the training
            task itself: needed for iterables that give the same batches every time that they are iterated.
        grid: axes of the tasks, for plots: ``{"length": 5, "repeats": 5}``. Tasks fill it row by row.
        on_error: what to do about a task that raises. ``"raise"``: end the training, with an error that names the task,
            the samples and the draw. ``"retry"``: take other data of the task, the samples that follow or the next
            batches of its iterable, with one warning per task; after 10 in a row that cannot be read either, raise.
            ``"drop"``: as ``"retry"``, but a task that cannot be read is taken out for good, with one warning, and the
            others share its probability (:meth:`Teacher.remove_task`); on one rank only. Batches that a signal asks for
            itself are retried, but never dropped.
        pin_memory, prefetch_factor, persistent_workers, worker_init_fn, multiprocessing_context, timeout: as in
            ``torch.utils.data.DataLoader``, for the workers.

    Raises:
        TypeError: if a task is none, or a name is not a string.
        ValueError: if there are no tasks, a task is empty, or an option is out of its range.

    Example:
        >>> import torch
        >>> from torch.utils.data import TensorDataset
        >>> tasks = {name: TensorDataset(torch.full((10, 1), float(k))) for k, name in enumerate(["easy", "hard"])}
        >>> loader = CurriculumLoader(tasks, batch_size=5, steps_per_epoch=3)
        >>> len(loader), [batch.shape for (batch,) in loader]
        (3, [torch.Size([5, 1]), torch.Size([5, 1]), torch.Size([5, 1])])
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        *,
        batch_size: int | None = 1,
        steps_per_epoch: int | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
        grid: Grid | None = None,
        probe_tasks: Mapping[str, Task] | None = None,
        on_error: OnError = "raise",
        pin_memory: bool = False,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        timeout: float = 0.0,
    ) -> None:
        self.names = check_tasks(tasks)
        """Names of the tasks, in the order of the arms."""
        self.grid = check_grid(grid, len(self.names))
        """Axis name to labels, or ``None``."""
        check_seed(seed)
        self.tasks = dict(tasks)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.drop_last = drop_last
        self.seed = seed
        self.on_error = check_on_error(on_error)
        retries = 0 if on_error == "raise" else RETRIES
        _check_whole("batch_size", batch_size, 1)
        _check_whole("steps_per_epoch", steps_per_epoch, 1)
        _check_whole("num_workers", num_workers, 0)
        _check_whole("prefetch_factor", prefetch_factor, 1)
        _check_function("collate_fn", collate_fn)
        _check_function("worker_init_fn", worker_init_fn)
        _check_flags(shuffle=shuffle, drop_last=drop_last, pin_memory=pin_memory, persistent_workers=persistent_workers)
        timeout = check_range("timeout", timeout, 0.0, math.inf)
        self._maps: dict[int, MapSource] = {}
        self._streams: dict[int, StreamSource] = {}
        for arm, (name, task) in enumerate(self.tasks.items()):
            if is_map_style(task):
                self._maps[arm] = MapSource(arm, len(task), self._samples(name), shuffle, drop_last, seed)
            else:
                batches = batches_of(task, batch_size, drop_last, collate_fn)
                self._streams[arm] = StreamSource(name, arm, batches, seed, retries=retries)
        if num_workers > 0 and not self._maps:
            raise ValueError(
                f"num_workers={num_workers} serves map-style tasks, and there are none: pass the iterable tasks as "
                f"DataLoader(dataset, batch_size=..., num_workers={num_workers}) instead"
            )
        self.samples = Samples(
            self.tasks, probe_tasks, batch_size=batch_size, collate_fn=collate_fn, seed=seed, retries=retries
        )
        """Fresh batches for the signals."""
        self._rank, self._world_size = _process()
        self._check_passes()
        self.steps_per_epoch = self._default_steps() if steps_per_epoch is None else steps_per_epoch
        """Batches per epoch."""
        self._planner = _Planner(self)
        self._shared = DataLoader(
            TaskDataset(
                self.names,
                list(self.tasks.values()),
                default_collate if collate_fn is None else collate_fn,
                retries,
            ),
            batch_sampler=self._planner,
            num_workers=num_workers,
            collate_fn=as_it_is,
            pin_memory=pin_memory,
            prefetch_factor=prefetch_factor,
            persistent_workers=persistent_workers,
            worker_init_fn=worker_init_fn,
            multiprocessing_context=multiprocessing_context,
            timeout=timeout,
            generator=torch.Generator(),  # the workers' seeds come from here, not from the user's stream
        )
        self._own_teacher = Teacher(self.names, bandit=FixedPolicy.uniform(), seed=seed)
        self._teacher = self._own_teacher
        self._micro_batches: Callable[[], int] = _one
        self._epoch_length: Callable[[], float] = _no_end
        self._limit: int | None = None
        self._current: Draw | None = None
        self._retried: set[int] = set()  # arms of which it was said that other data are taken
        self._iteration = 0  # of iterators; only the newest one may go on
        self._resumed = False
        self._new_training = False
        self._position = 0
        self._reset()

    # ---------------------------------------------------------------- what is delivered

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return self.steps_per_epoch

    def __iter__(self) -> Iterator[Any]:
        """Iterate over one epoch, or over the rest of the one that a loaded state was taken in.

        Nothing is drawn before the first batch is asked for. Draws that an iterator left undelivered are delivered
        first by the next one.
        """
        self._iteration += 1
        return self._epoch(self._iteration)

    def _epoch(self, iteration: int) -> Iterator[Any]:
        self._begin_epoch()
        batches = self._planned()
        try:
            while self._position < self.steps_per_epoch:
                if iteration != self._iteration:
                    raise RuntimeError(
                        "a CurriculumLoader has one running iterator at a time, and a newer one was started: "
                        "finish one epoch before the next, or make a second loader"
                    )
                read = self._next(batches)  # the planner draws in here
                draw = self._in_flight.popleft()
                try:
                    batch = self._read(draw, read)
                except TaskError as error:
                    self._give_up(draw, error)
                    batches = self._planned()  # what was read ahead was planned with the task
                else:
                    yield self._deliver(draw, batch)
        finally:
            del batches  # else the traceback of an error keeps the workers alive

    def _planned(self) -> Iterator[Any]:
        # Streamed tasks bring their own batches: where there are no others, the plan is all that is needed.
        return iter(self._shared) if self._maps else iter(self._planner)

    def _next(self, batches: Iterator[Any]) -> Any:
        if self.num_workers == 0:
            return next(batches)
        try:
            return next(batches)
        except (RuntimeError, OSError, EOFError) as error:
            tasks = list(dict.fromkeys(draw.task for draw in self._in_flight))
            raise TaskError(
                f"a worker process of the CurriculumLoader failed ({type(error).__name__}: {error}) while the tasks "
                f"{tasks[:5]} were read: one that is killed is most often out of memory (make batch_size, "
                "num_workers or prefetch_factor smaller), one that times out hangs in a task; num_workers=0 reads them "
                "in this process, where an error shows"
            ) from error

    def _read(self, draw: Draw, read: Any) -> Any:
        if draw.arm in self._streams:
            return self._streams[draw.arm].next(self._rank, self._world_size, self._limit)
        batch, error = read
        if batch is None:
            raise self._no_batch(draw, error)
        if error is not None and draw.arm not in self._retried:
            self._retried.add(draw.arm)
            warn_retried(draw.task, error.error)
        return batch

    def _no_batch(self, draw: Draw, error: Failure | None) -> TaskError:
        if error is None:
            return TaskError(f"task {draw.task!r}: collate_fn returned None instead of a batch")
        return error.raised(draw.task)

    def _give_up(self, draw: Draw, error: TaskError) -> None:
        text = f"{error} (draw {draw.id})"
        if self.on_error != "drop":
            raise TaskError(text) from error.__cause__
        try:
            self._teacher.remove_task(draw.task)
        except ValueError:
            raise TaskError(f"{text}; no other task is left: every other one was dropped") from error.__cause__
        _log.warning("%s; the task is dropped, and the others share its probability", text)
        delivered = self._current is not None and self._current.id == draw.id
        left = ([] if delivered else [draw]) + [other for other in self._not_delivered() if other.id != draw.id]
        self._undelivered.extendleft(reversed(left))
        self._in_flight.clear()

    def _begin_epoch(self) -> None:
        # Oldest first, and without the current draw: a step that was cut short by the end of an epoch is over.
        self._undelivered.extendleft(reversed(self._not_delivered()))
        self._in_flight.clear()
        self._delivered.clear()
        goes_on = self._resumed and self._position < min(self.steps_per_epoch, self._epoch_length())
        if self._new_training and not (goes_on and self._position % max(1, self._micro_batches())):
            self._discard_current()
        self._new_training = self._resumed = False
        if not goes_on:
            self._position = 0
            self._current = None
            self._epoch_number += 1
        if self._shared.generator is not None:
            self._shared.generator.manual_seed((self.seed * 1_000_003 + self._epoch_number) % 2**63)

    def _discard_current(self) -> None:
        # A step that was interrupted, and of which no batch is to come.
        for draw in self._teacher.open_draws():
            if self._current is not None and draw.id == self._current.id:
                self._teacher.discard(draw)

    def _deliver(self, draw: Draw, batch: Any) -> Any:
        self._visits[draw.arm] += 1
        self._position += 1
        self._current = draw
        self._delivered.append(draw)
        if len(self._delivered) > 16:  # nobody claims them: there is no callback
            self._delivered.popleft()
        return batch

    # ---------------------------------------------------------------- who decides

    @property
    def teacher(self) -> Teacher:
        """The Teacher whose draws are served."""
        return self._teacher

    @property
    def _iterator(self) -> Any:  # where Lightning looks for persistent workers, to stop them when training is over
        return self._shared._iterator

    @_iterator.setter
    def _iterator(self, iterator: Any) -> None:
        self._shared._iterator = iterator

    @property
    def sizes(self) -> list[float]:
        """Number of samples of each task, for size-proportional policies; of batches, where no dataset is known.

        Raises:
            ValueError: if a task has no length.
        """
        data = {name: task.dataset if isinstance(task, DataLoader) else task for name, task in self.tasks.items()}
        return [float(_length(name, source, "sizes")) for name, source in data.items()]

    def attach(
        self,
        teacher: Teacher,
        *,
        rank: int = 0,
        world_size: int = 1,
        micro_batches: Callable[[], int] | None = None,
        epoch_length: Callable[[], float] | None = None,
        limit: int | None = None,
    ) -> None:
        """Let ``teacher`` choose from now on. A teacher not seen before begins with the first batch of every task.

        Args:
            teacher: of the same tasks.
            rank: of this process, in ``[0, world_size)``.
            world_size: number of processes that share each task's samples.
            micro_batches: number of batches per draw, asked at the first batch of an epoch (gradient accumulation).
            epoch_length: number of batches after which the trainer ends the epoch, if before ``steps_per_epoch``.
            limit: give each task only its first so many batches, again and again (overfitting on purpose).

        Raises:
            ValueError: if the teacher has other tasks, or tasks are to be dropped on several ranks.
        """
        if world_size > 1 and self.on_error == "drop":
            raise ValueError(
                f'on_error="drop" is for one process, got {world_size} ranks: a task that fails on one rank would be '
                'dropped there alone. Use on_error="retry"'
            )
        if teacher.tasks != self.names:
            raise ValueError(f"the teacher's tasks {teacher.tasks} are not the loader's {self.names}")
        self._rank, self._world_size = rank, world_size
        self.samples.set_rank(rank, world_size)
        self._check_passes()
        if teacher is not self._teacher and not self._resumed:
            self._reset()
        self._teacher = teacher
        self._micro_batches = micro_batches or _one
        self._epoch_length = epoch_length or _no_end
        self._limit = limit
        open_draws = {draw.id: draw for draw in teacher.open_draws()}
        for draw in [*self._undelivered, *([self._current] if self._current else [])]:
            open_draws.pop(draw.id, None)
        for draw in open_draws.values():  # delivered before a checkpoint, but never rewarded
            teacher.discard(draw)
        self._new_training = True

    def claim(self) -> Draw:
        """Return the draw of the oldest batch that was delivered and not yet claimed.

        Raises:
            RuntimeError: if every delivered batch was claimed.
        """
        if not self._delivered:
            raise RuntimeError("no batch of the CurriculumLoader was delivered since the last claim")
        return self._delivered.popleft()

    def next_draw(self) -> Draw:
        """Return the draw to plan next: one left undelivered, else a new one. For the planner."""
        own = self._teacher is self._own_teacher
        while self._undelivered:
            draw = self._undelivered.popleft()
            if not self._teacher.is_removed(draw.arm):
                return draw
            if not own:
                self._teacher.discard(draw)
        draw = self._teacher.draw()
        if own:
            self._teacher.discard(draw)  # nobody rewards uniform draws
        return draw

    def keys(self, arm: int, visit: int) -> list[Key]:
        """Return what to read for visit ``visit`` of a task. For the planner."""
        source = self._maps.get(arm)
        if source is None:
            return [(arm, None)]
        if self._limit is not None:
            visit %= min(self._limit, source.batches_per_pass(self._world_size))
        return source.keys(visit, self._rank, self._world_size)

    # ---------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the epoch and in every task, and the draws not yet delivered; equal on all ranks."""
        return seal(
            "loader",
            {
                "tasks": list(self.names),
                "epoch": self._epoch_number,
                "position": self._position,
                "visits": list(self._visits),
                "samples": self.samples.state(),
                "streams": [[arm, source.position()] for arm, source in self._streams.items()],
                "current": None if self._current is None else draw_to_list(self._current),
                "undelivered": [draw_to_list(draw) for draw in [*self._not_delivered(), *self._undelivered]],
                "own_teacher": self._own_teacher.state_dict() if self._teacher is self._own_teacher else None,
            },
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the batch after those that were delivered when the state was taken.

        Raises:
            ValueError: if the state is damaged, of a newer format, or of other tasks.
        """
        content = unseal("loader", state)
        if tuple(content["tasks"]) != self.names:
            raise ValueError(
                f"the checkpoint's loader has the tasks {content['tasks']}, this one {list(self.names)}: "
                "give the same tasks in the same order, or start the curriculum anew"
            )
        self._reset()
        if content["own_teacher"] is not None:
            self._own_teacher.load_state_dict(content["own_teacher"])
        self._epoch_number = content["epoch"]
        self._position = content["position"]
        self._visits = list(content["visits"])
        self.samples.load_state(content["samples"])
        for arm, position in content["streams"]:
            self._streams[arm].seek(position)
        current = content["current"]
        self._current = None if current is None else draw_from_list(current, self.names)
        self._undelivered.extend(draw_from_list(fields, self.names) for fields in content["undelivered"])
        self._resumed = True

    def _reset(self) -> None:
        self._epoch_number = 0
        self._position = 0
        self._resumed = False
        self._visits = [0] * len(self.names)
        self._current = None
        self._in_flight: deque[Draw] = deque()  # planned batches, in order; one entry per batch
        self._undelivered: deque[Draw] = deque()  # draws of an earlier iterator or run, of which nothing was delivered
        self._delivered: deque[Draw] = deque()
        self.samples.load_state([])
        for source in self._streams.values():
            source.seek([0, 0])

    def _not_delivered(self) -> list[Draw]:
        delivered = -1 if self._current is None else self._current.id
        unique = {draw.id: draw for draw in self._in_flight if draw.id != delivered}
        return list(unique.values())

    # ---------------------------------------------------------------- checks

    def _samples(self, name: str) -> int:
        if self.batch_size is None:
            raise ValueError(f"task {name!r} is a map-style dataset: give batch_size=<samples per batch>")
        return self.batch_size

    def _check_passes(self) -> None:
        for arm, source in self._maps.items():
            if source.batches_per_pass(self._world_size) == 0:
                raise ValueError(
                    f"task {self.names[arm]!r} has {source.size} samples, fewer than one batch of "
                    f"{source.batch_size} x {self._world_size} ranks, and drop_last=True leaves nothing: "
                    "make the batch smaller or set drop_last=False"
                )

    def _default_steps(self) -> int:
        steps = sum(source.batches_per_pass(self._world_size) for source in self._maps.values())
        for arm, source in self._streams.items():
            steps += math.ceil(_length(self.names[arm], source.batches, "steps_per_epoch") / self._world_size)
        return max(1, steps)


class _Planner:
    """The batch sampler of the shared DataLoader: draws tasks in the main process and says which samples to read."""

    def __init__(self, loader: CurriculumLoader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[list[Key]]:
        loader = self._loader
        micro_batches = max(1, loader._micro_batches())
        visits = list(loader._visits)  # planned ones; the loader counts the delivered ones
        draw = loader._current
        for position in range(loader._position, loader.steps_per_epoch):
            if draw is None or position % micro_batches == 0 or loader.teacher.is_removed(draw.arm):
                draw = loader.next_draw()
            keys = loader.keys(draw.arm, visits[draw.arm])
            visits[draw.arm] += 1
            loader._in_flight.append(draw)
            yield keys

    def __len__(self) -> int:
        return self._loader.steps_per_epoch


def _check_whole(name: str, value: int | None, least: int) -> None:
    if value is None and name != "num_workers":
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def _check_function(name: str, value: Any) -> None:
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function or None, got {value!r}")


def _check_flags(**flags: bool) -> None:
    for name, value in flags.items():
        if not isinstance(value, bool):  # "no" and "false" of a configuration would count as true
            raise TypeError(f"{name} must be True or False, got {value!r}")


def _one() -> int:  # functions of the module, unlike lambdas, can be sent to the processes of a spawning strategy
    return 1


def _no_end() -> float:
    return math.inf


def _process() -> tuple[int, int]:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def _length(name: str, task: Any, what: str) -> int:
    try:
        return len(task)
    except TypeError as error:
        raise ValueError(f"task {name!r} has no length: give {what} by hand") from error
