"""CurriculumLoader: one training loader over all tasks; a Teacher says whose batch is next."""

from __future__ import annotations

import logging
import math
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.context import BaseContext
from pickle import PicklingError
from time import perf_counter
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from curricula.bandits.base import check_range
from curricula.bandits.fixed import FixedPolicy
from curricula.checks import check_flags
from curricula.data.cursor import Cursor, Draws
from curricula.data.faults import LOST, RETRIES, Failure, OnError, TaskError, check_on_error, described, warn_retried
from curricula.data.frozen import warn_of_frozen_modules
from curricula.data.options import Collate, WorkerInit, check_function, check_whole, length_of
from curricula.data.read_times import ReadTimes
from curricula.data.samples import Samples
from curricula.data.sharding import Presharded, check_presharded, warn_of_double_split
from curricula.data.sizes import follow_size, forget_restarts, restore_sizes, sizes_of
from curricula.data.sources.loaders import batches_of
from curricula.data.sources.map_order import MapSource
from curricula.data.sources.stream import StreamSource
from curricula.data.sources.task_dataset import Read, TaskDataset, as_it_is
from curricula.data.tasks import Grid, Task, check_grid, check_tasks, is_map_style
from curricula.data.workers import is_late, is_of_workers, pids_in, stop_workers, unsendable
from curricula.randomness import CounterGenerator, Stream, check_seed, lane_of
from curricula.state import seal, unseal
from curricula.task_names import TaskChanges, listed
from curricula.teacher import Draw, Teacher, check_instance

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
        batch_size: samples per batch and rank, for map-style and iterable datasets. ``None``: the items of the datasets
            are batches already, as in ``torch.utils.data.DataLoader``; a list of ready batches is such a dataset.
        steps_per_epoch: batches per epoch. ``None``: as many as one pass over all tasks takes, if all have a length.
        presharded: the streamed tasks that split themselves by rank, as by ``split_dataset_by_node``, a streaming
            library or a ``DistributedSampler``: a list of their names, or ``True`` for all of them. Each rank then
            trains on every batch that the task gives it; else the ranks take turns over batches that all of them read.
        num_workers: worker processes for the map-style tasks, at least 0. A streamed task that wants workers is passed
            as a ``DataLoader`` with workers of its own.
        collate_fn: list of samples to batch, or what a dataset's ``__getitems__`` returns; default
            ``torch.utils.data.default_collate``, for ready batches ``default_convert``.
        shuffle: a new order of each map-style task in every pass over it.
        drop_last: leave out the incomplete last batch of a pass.
        seed: of the orders, and of the uniform draws without a callback; in ``[0, 2**64)``.
        probe_tasks: name to the task that fresh batches for the signals come from, where it is not to be the training
            task itself: needed for iterables that give the same batches every time that they are iterated.
        grid: axes of the tasks, for plots: ``{"length": 5, "repeats": 5}``. Tasks fill it row by row.
        on_error: what to do about a task that raises. ``"raise"``: end the training, with an error that names the task,
            the samples and the draw. ``"retry"``: take other data of the task, the samples that follow or the next
            batches of its iterable, with one warning per task; after 10 in a row that cannot be read either, raise. A
            batch that is ``None``, as of a ``collate_fn`` that has left out all samples, is such an error too.
            ``"drop"``: as ``"retry"``, but a task that cannot be read is taken out for good, with one warning, and the
            others share its probability (:meth:`Teacher.remove_task`); on one rank only. Batches that a signal asks for
            itself are retried, but never dropped.
        pin_memory, prefetch_factor, persistent_workers, worker_init_fn, multiprocessing_context, timeout: as in
            ``torch.utils.data.DataLoader``, for the workers. A map-style task that gives no batch within ``timeout``
            seconds raises; without workers nothing can be timed, and a ``DataLoader`` task has a timeout of its own.

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
        collate_fn: Collate | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
        grid: Grid | None = None,
        probe_tasks: Mapping[str, Task] | None = None,
        on_error: OnError = "raise",
        pin_memory: bool = False,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        worker_init_fn: WorkerInit | None = None,
        multiprocessing_context: str | BaseContext | None = None,
        timeout: float = 0.0,
        presharded: Presharded = False,
    ) -> None:
        self.names = check_tasks(tasks)
        """Names of the tasks, in the order of the arms."""
        self.grid = check_grid(grid, len(self.names))
        """Axis name to labels, or ``None``."""
        check_seed(seed)
        for name, task in tasks.items():
            if isinstance(task, CurriculumLoader):
                raise TypeError(f"task {name!r} is a CurriculumLoader: give its tasks, under names of their own")
        self.tasks = dict(tasks)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.drop_last = drop_last
        self.seed = seed
        self.on_error = check_on_error(on_error)
        self.made_in_epoch = 0
        """Epoch of the trainer in which it was made, known to a callback."""
        check_whole("batch_size", batch_size, 1)
        check_whole("steps_per_epoch", steps_per_epoch, 1)
        check_whole("num_workers", num_workers, 0)
        check_whole("prefetch_factor", prefetch_factor, 1)
        check_function("collate_fn", collate_fn)
        check_function("worker_init_fn", worker_init_fn)
        check_flags(shuffle=shuffle, drop_last=drop_last, pin_memory=pin_memory, persistent_workers=persistent_workers)
        timeout = check_range("timeout", timeout, 0.0, math.inf)
        if timeout and not num_workers:
            _log.warning(
                "timeout=%g has no effect with num_workers=0: what hangs in the training's own process hangs for ever",
                timeout,
            )
        self._shuffle = shuffle
        self._collate_fn = collate_fn
        self._worker_numbers = CounterGenerator(seed, Stream.WORKERS)
        self._retries = 0 if on_error == "raise" else RETRIES
        self._presharded = check_presharded(presharded, self.tasks)
        self._all_presharded = presharded is True
        self._processes = 0  # that the streams were told of
        self._looked_at: set[str] = set()  # streams of which it was asked whether they split themselves
        self._maps: dict[int, MapSource] = {}
        self._streams: dict[int, StreamSource] = {}
        for arm, (name, task) in enumerate(self.tasks.items()):
            self._open(arm, name, task)
        if num_workers > 0 and not self._maps:
            raise ValueError(
                f"num_workers={num_workers} serves map-style tasks, and there are none: pass the iterable tasks as "
                f"DataLoader(dataset, batch_size=..., num_workers={num_workers}) instead"
            )
        self.samples = Samples(
            self.tasks,
            probe_tasks,
            batch_size=batch_size,
            collate_fn=collate_fn,
            seed=seed,
            retries=self._retries,
            presharded=self._presharded,
        )
        """Fresh batches for the signals."""
        self._own_teacher = Teacher(self.names, bandit=FixedPolicy.uniform(), seed=seed)
        self._teacher = self._own_teacher
        self._micro_batches: Callable[[], int] = _one
        self._goes_on: Callable[[], bool] = _never
        self._epoch_length: Callable[[], float] = _no_end
        self._evaluates: Callable[[], bool] = _never
        self._limit: int | None = None
        self._rank, self._world_size = _process()  # among the processes that share a draw
        self._place, self._num_draws = 0, 1  # of this process's draw among those of a step
        self._check_passes()
        self._given_steps = steps_per_epoch
        if steps_per_epoch is None:
            self._default_steps()  # which says which task has no length
        self._times = ReadTimes(len(self.names))
        self._pool: weakref.ref[Any] | None = None
        self._retried: set[int] = set()  # arms of which it was said that other data are taken
        self._iteration = 0  # of iterators; only the newest one may go on
        self._waiting: dict[str, Any] | None = None  # a state of other tasks, until somebody says that these are meant
        self._plan_again = False
        self._planner = _Planner(self)
        self._options: dict[str, Any] = {
            "num_workers": num_workers,
            "pin_memory": pin_memory,
            "prefetch_factor": prefetch_factor,
            "persistent_workers": persistent_workers,
            "worker_init_fn": worker_init_fn,
            "multiprocessing_context": multiprocessing_context,
            "timeout": timeout,
        }
        self._shared = self._make_shared()
        warn_of_frozen_modules(self.tasks, num_workers)
        self._new_training = False
        self._resumed = False
        self._cursor = Cursor(len(self.names))
        self._reset()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to a process or to the training in it: a training in spawned ones attaches anew."""
        state = dict(
            vars(self), _pool=None, _micro_batches=_one, _goes_on=_never, _epoch_length=_no_end, _evaluates=_never
        )
        del state["_shared"]  # has a generator, which cannot be sent, and may have workers
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make anew what was left out."""
        vars(self).update(state)
        self._shared = self._make_shared()

    def _open(self, arm: int, name: str, task: Task) -> None:
        if not is_map_style(task):
            batches = batches_of(task, self.batch_size, self.drop_last, self._collate_fn)
            self._streams[arm] = StreamSource(
                name, batches, self.seed, retries=self._retries, presharded=name in self._presharded
            )
        else:
            size = len(task)
            self._maps[arm] = MapSource(name, size, self.batch_size or 1, self._shuffle, self.drop_last, self.seed)

    def _make_shared(self) -> DataLoader[Any]:
        tasks = list(self.tasks.values())
        return DataLoader(
            TaskDataset(self.names, tasks, self._collate_fn, self._retries, ready=self.batch_size is None),
            batch_sampler=self._planner,
            collate_fn=as_it_is,
            generator=torch.Generator(),  # the workers' seeds come from here, not from the user's stream
            **self._options,
        )

    # ---------------------------------------------------------------- what is delivered

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return self.steps_per_epoch

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch and rank."""
        if self._given_steps is not None:
            return self._given_steps
        self._follow_processes()
        return self._default_steps()

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
            while self._cursor.position < self.steps_per_epoch:
                if iteration != self._iteration:
                    raise RuntimeError(
                        "a CurriculumLoader has one running iterator at a time, and a newer one was started: "
                        "finish one epoch before the next, or make a second loader"
                    )
                in_flight = self._cursor.in_flight
                if self._plan_again or (in_flight and self._any_removed(in_flight[0])):
                    self._cursor.put_back(self._cursor.planned())
                    batches = self._planned()
                try:
                    batch = self._read(self._next(batches))  # the planner draws in here
                except TaskError as error:
                    self._give_up(self._cursor.in_flight.popleft(), error)
                    batches = self._planned()  # what was read ahead was planned with the task
                else:
                    yield self._deliver(self._cursor.in_flight.popleft(), batch)
        except Exception as error:
            try:
                told = self._lost(error, batches) or self.explain(error) or self._lost_at_start(error)
            except RuntimeError as again:  # by now torch may have noticed the same death in another way
                told = self._lost(again, batches) or self.explain(again)
            if told is None:
                raise
            raise TaskError(told) from error
        finally:
            self._pool = None
            del batches  # else the traceback of an error keeps the workers alive

    def _planned(self) -> Iterator[Any]:
        self._plan_again = False
        # Streamed tasks bring their own batches: where there are no others, the plan is all that is needed.
        batches = self._start_pool() if self._maps else iter(self._planner)
        self._pool = weakref.ref(batches)
        return batches

    def _start_pool(self) -> Iterator[Any]:
        try:
            return iter(self._shared)
        except (AttributeError, TypeError, PicklingError) as error:
            parts = {f"task {name!r}": task for name, task in self.tasks.items()}
            told = unsendable(
                {**parts, "collate_fn": self._collate_fn, "worker_init_fn": self._options["worker_init_fn"]}
            )
            if told is None:
                raise
            raise TypeError(told) from error
        except RuntimeError as error:
            told = self.explain(error) or self._lost_at_start(error)
            if told is None:
                raise
            raise TaskError(told) from error.with_traceback(None)  # which would keep the other workers

    def _next(self, batches: Iterator[Any]) -> Any:
        try:
            return next(batches)
        except RuntimeError as error:
            if not is_late(error) or not self._ends(error, batches):
                raise
            # Batches come in order, so the oldest is the one that does not come.
            task = self._cursor.in_flight[0][self._place].task
            raise Failure("from a worker of the loader", error, final=True).raised(task) from error

    def _ends(self, error: BaseException, batches: Any) -> bool:
        if not is_of_workers(error, batches):
            return False
        self._stop_pool(batches)
        return True

    def _stop_pool(self, batches: Any) -> None:
        stop_workers(batches)
        self._shared._iterator = None

    def _lost(self, error: BaseException, batches: Any) -> str | None:
        if self._ends(error, batches):
            return self._at_tasks("died", error, LOST)
        if self.num_workers and str(error).startswith("Caught "):
            self._stop_pool(batches)
            hint = "not in a task's samples, but in worker_init_fn or when it sent a batch"
            return self._at_tasks("failed", error, hint)
        return None

    def _lost_at_start(self, error: BaseException) -> str | None:
        # Of a worker whose iterator was still being made, nobody else knows.
        return self._at_tasks("died", error, LOST) if pids_in(error) else None

    def _at_tasks(self, end: str, error: BaseException, hint: str) -> str:
        tasks = listed(list(dict.fromkeys(draws[self._place].task for draws in self._cursor.in_flight)), 5)
        return f"a worker process {end} ({described(error)}) at the tasks {tasks}: {hint}"

    def explain(self, error: BaseException) -> str | None:
        """Return which tasks were lost with a worker process, if an error tells of one that read tasks and died.

        Torch raises such an error wherever the main process is, in the middle of a training step as well.
        """
        if not pids_in(error):
            return None
        for source in self._streams.values():
            if source.ends(error):
                return f"task {source.name!r} lost a worker process ({described(error)}): {LOST}"
        return None if self._pool is None else self._lost(error, self._pool())

    def _read(self, read: Any) -> Any:
        draws = self._cursor.in_flight[0]
        draw = draws[self._place]
        if self._streams:
            streamed = self._read_streams(draws)
            if draw.arm in self._streams:
                return streamed
        batch, error, seconds = read
        if batch is None:
            raise error.raised(draw.task)
        self._times.add(draw.arm, seconds)
        self._times.warn(self.names)
        if error is not None and draw.arm not in self._retried:
            self._retried.add(draw.arm)
            warn_retried(draw.task, error.error)
        return batch

    def _read_streams(self, draws: Draws) -> Any:
        """Return this rank's batch of a streamed task. All ranks read past what the others take, and stay in step."""
        own = None
        for arm in dict.fromkeys(draw.arm for draw in draws):
            if arm in self._streams:
                places = [place for place, draw in enumerate(draws) if draw.arm == arm]
                mine = self._place in places
                source = self._streams[arm]
                rank, ranks = (0, 1) if source.presharded else (self._rank, self._world_size)
                turn = places.index(self._place) * ranks + rank if mine else None
                limit = None if self._limit is None else self._limit * ranks
                start = perf_counter()
                batch = source.next(turn, len(places) * ranks, limit)
                self._times.add(arm, perf_counter() - start)
                own = batch if mine else own
        self._times.warn(self.names)
        return own

    def _give_up(self, draws: Draws, error: TaskError) -> None:
        draw = draws[self._place]
        text = f"{error} (draw {draw.id})"
        if draw.arm in self._streams:
            self._streams[draw.arm].shut_down()
        if self.on_error != "drop":
            raise TaskError(text) from error.__cause__
        try:
            self._teacher.remove_task(draw.task)
        except ValueError:
            raise TaskError(f"{text}; no other task is left: every other one was dropped") from error.__cause__
        _log.warning("%s; the task is dropped, and the others share its probability", text)
        left = [] if draws == self._cursor.current else [draws]
        self._cursor.put_back(left + [others for others in self._cursor.planned() if others != draws])

    def _begin_epoch(self) -> None:
        if self._waiting is not None:
            raise ValueError(TaskChanges.between(self._waiting["tasks"], self.names).refusal("the checkpoint's loader"))
        if self._evaluates():
            raise RuntimeError(
                "the CurriculumLoader that is trained on was given for validation, test or prediction as well, and "
                "would draw their batches from the curriculum: give a DataLoader per task, {name: DataLoader(...)}, or "
                "CurriculumDataModule(val_tasks=...)"
            )
        self._follow_processes()
        cursor = self._cursor
        # Oldest first, and without the current draw: a step that was cut short by the end of an epoch is over.
        cursor.put_back(cursor.planned())
        self._delivered.clear()
        goes_on = self._resumed and cursor.position < min(self.steps_per_epoch, self._epoch_length())
        if self._new_training and not (goes_on and cursor.position % max(1, self._micro_batches())):
            self._discard_current()
        self._new_training = self._resumed = False
        if not goes_on:
            cursor.position = 0
            if not self._goes_on():
                cursor.current = None
            cursor.epoch += 1
        self._follow_sizes(goes_on)
        if self._shared.generator is not None:
            self._shared.generator.manual_seed((self.seed * 1_000_003 + cursor.epoch) % 2**63)

    def _discard_current(self) -> None:
        # A step that was interrupted, and of which no batch is to come.
        for draw in self._teacher.open_draws():
            if draw in (self._cursor.current or ()):
                self._teacher.discard(draw)

    def _deliver(self, draws: Draws, batch: Any) -> Any:
        self._cursor.deliver(draws)
        self._delivered.append(draws)
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
        if iterator is None:  # training is over, for the workers of the tasks' own loaders as well
            for source in self._streams.values():
                source.shut_down()
            self.samples.shut_down()

    @property
    def sizes(self) -> list[float]:
        """Number of samples of each task, for size-proportional policies; of batches, where no dataset is known.

        Raises:
            ValueError: if a task has no length.
        """
        data = {name: task.dataset if isinstance(task, DataLoader) else task for name, task in self.tasks.items()}
        return [float(length_of(name, source, "sizes")) for name, source in data.items()]

    @property
    def seconds_per_batch(self) -> dict[str, float]:
        """Mean seconds that a batch of each task took to be read here, without the longest; NaN for fewer than two."""
        return dict(zip(self.names, self._times.means(), strict=True))

    def attach(
        self,
        teacher: Teacher,
        *,
        rank: int = 0,
        world_size: int = 1,
        micro_batches: Callable[[], int] | None = None,
        goes_on: Callable[[], bool] | None = None,
        epoch_length: Callable[[], float] | None = None,
        evaluates: Callable[[], bool] | None = None,
        limit: int | None = None,
        strict: bool = True,
        independent: bool = False,
    ) -> None:
        """Let ``teacher`` choose from now on. A teacher not seen before begins with the first batch of every task.

        Args:
            teacher: of the same tasks.
            rank: of this process, in ``[0, world_size)``.
            world_size: number of processes that share each task's samples.
            micro_batches: number of batches per draw, asked at the first batch of an epoch (gradient accumulation).
            goes_on: whether the step of the batch that was delivered last needs another batch of its task, asked before
                every batch; worker processes cannot ask, since they are told beforehand what to read.
            epoch_length: number of batches after which the trainer ends the epoch, if before ``steps_per_epoch``.
            evaluates: whether the trainer evaluates now, asked when an epoch begins; there are no batches for that.
            limit: give each task only its first so many batches, again and again (overfitting on purpose).
            strict: refuse a loaded state of other tasks. If not, tasks are matched by name: those that stay go on where
                they were, new ones begin.
            independent: every process has a draw of its own in every step, and :meth:`claim` returns all of them, in
                the order of the ranks. If not, all processes share one draw and its task's samples.

        Raises:
            TypeError: if the teacher is none.
            ValueError: if the rank or the limit is out of range, the teacher has other tasks, a loaded state has and is
                not to be matched, or tasks are to be dropped on several ranks.
        """
        check_instance("teacher", teacher, Teacher)
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in [0, world_size), got rank={rank}, world_size={world_size}")
        check_whole("limit", limit, 1)
        if world_size > 1 and self.on_error == "drop":
            raise ValueError(
                f'on_error="drop" is for one process, got {world_size} ranks: a task that fails on one rank would be '
                'dropped there alone. Use on_error="retry"'
            )
        if teacher.tasks != self.names:
            raise ValueError(f"the teacher's tasks {teacher.tasks} are not the loader's {self.names}")
        if self._waiting is not None:
            if strict:
                raise ValueError(
                    TaskChanges.between(self._waiting["tasks"], self.names).refusal("the checkpoint's loader")
                )
            self._restore(self._waiting)
        self._place, self._num_draws = (rank, world_size) if independent else (0, 1)
        self._rank, self._world_size = (0, 1) if independent else (rank, world_size)
        self.samples.set_rank(rank, world_size)
        self._check_passes()
        if teacher is not self._teacher and not self._resumed:
            self._reset()
        self._teacher = teacher
        self._cursor.keep(self._num_draws)
        self._follow_batch_size()
        self._micro_batches = micro_batches or _one
        self._goes_on = goes_on or _never
        self._epoch_length = epoch_length or _no_end
        self._evaluates = evaluates or _never
        self._limit = limit
        self.discard_lost()
        self._new_training = True

    def take_over(self, before: CurriculumLoader) -> None:
        """Go on from a loader that this one replaces at the end of an epoch, with the same teacher.

        A reload is not a resume: nothing is read again. A map-style task goes on in the order of its samples, or begins
        its next pass where it has another number of them. A stream that is the same object in both loaders goes on
        where it was; another one begins anew.

        Args:
            before: had the same tasks or others; they are matched by name.
        """
        self._reset()
        self._teacher = before._teacher
        self._cursor = Cursor.loaded(before._cursor.state(), before.names, self.names)
        arms = {name: arm for arm, name in enumerate(before.names)}
        for source in self._maps.values():
            ordered = before._maps.get(arms.get(source.name, -1))
            if ordered is not None:
                source.restore(ordered.place())  # of another size now: the next pass begins with the epoch
        same = self._reads_as(before)
        for arm, stream in self._streams.items():
            running = before._streams.get(arms.get(stream.name, -1))
            if running is not None and same and self.tasks[stream.name] is before.tasks[stream.name]:
                self._streams[arm] = running
            elif running is not None:
                stream.seek(running.next_pass())
                running.shut_down()
        before._stop_pool(before._shared._iterator)  # of persistent workers, which have copies of the data before
        self.samples.take_over(before.samples, same=same)
        self._looked_at |= before._looked_at

    def _reads_as(self, other: CurriculumLoader) -> bool:
        return (self.batch_size, self.drop_last, self._collate_fn, self.seed, self.on_error) == (
            (other.batch_size, other.drop_last, other._collate_fn, other.seed, other.on_error)
        )

    def discard_lost(self, *, step_is_over: bool = False) -> None:
        """Close the draws of batches that were delivered, before a checkpoint or in a trial, and earn no reward.

        Args:
            step_is_over: the step of the batch that was delivered last gets no further one.
        """
        cursor = self._cursor
        if step_is_over:
            cursor.current = None
        open_draws = {draw.id: draw for draw in self._teacher.open_draws()}
        for draws in [*cursor.planned(), *cursor.undelivered, cursor.current or ()]:
            for draw in draws:
                open_draws.pop(draw.id, None)
        for draw in open_draws.values():
            self._teacher.discard(draw)

    def _follow_processes(self) -> None:
        # A loader may be made before the processes know of one another. With a callback, the trainer has told.
        if self._teacher is self._own_teacher:
            self._rank, self._world_size = _process()
            self._follow_batch_size()

    def _follow_batch_size(self) -> None:
        self._tell_streams()
        per_rank = self.batch_size or min(1, len(self._maps))  # of ready batches, each is one item
        cursor, total = self._cursor, per_rank * self._world_size
        if cursor.total and cursor.total != total:
            for arm, source in self._maps.items():
                cursor.visits[arm] = source.visit_at(cursor.visits[arm], cursor.total, self._world_size)
            if any(cursor.visits):
                _log.warning(
                    "batches had %d samples over all ranks when the state was saved and have %d now: every task goes "
                    "on where it was, but what is drawn and learned is no longer what it would have been",
                    cursor.total,
                    total,
                )
        cursor.total = total

    def _tell_streams(self) -> None:
        processes = self._world_size * self._num_draws
        if processes == self._processes:
            return
        self._processes = processes
        for source in self._streams.values():
            source.processes = processes
            if processes > 1 and self._rank == self._place == 0 and source.name not in self._looked_at:
                self._looked_at.add(source.name)
                if not source.presharded:
                    warn_of_double_split(source.name, source.batches)

    def _follow_sizes(self, goes_on: bool) -> None:
        """Look at the sizes of the tasks as they are now; within an epoch they stay what they were at its beginning."""
        changed = False
        for arm, source in self._maps.items():
            if not self._teacher.is_removed(arm):
                task: Any = self.tasks[source.name]
                visit = self._cursor.visits[arm]
                changed |= follow_size(source, task, visit, self._world_size, shrink_only=goes_on)
        self.samples.follow_sizes(shrink_only=goes_on)
        if changed and self._shared.persistent_workers:
            pool: Any = self._shared._iterator
            if pool is not None:
                pool._shutdown_workers()  # they have copies of the tasks: new ones are started
            self._shared._iterator = None

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
        arm = len(self.names)
        by_itself = self._all_presharded and not is_map_style(task) if presharded is None else presharded
        own = check_presharded([name] if by_itself else [], {name: task})
        self._presharded |= own
        self._open(arm, name, task)
        try:
            self._check_passes()
            self.samples.add_task(name, task, probe_task, presharded=bool(own))
            self._teacher.add_task(name)
        except Exception:
            self._maps.pop(arm, None)
            self._streams.pop(arm, None)
            self._presharded -= own
            raise
        self._processes = 0
        self._tell_streams()
        if self._teacher is not self._own_teacher:
            self._own_teacher.add_task(name)
        self.tasks[name] = task
        self.names = (*self.names, name)
        self._cursor.visits.append(0)
        self._times.add_task()
        self._shared = self._make_shared()  # worker processes have copies of the tasks: new ones are started
        self._shared.generator.manual_seed((self.seed * 1_000_003 + self._cursor.epoch) % 2**63)
        self._plan_again = True

    @property
    def plans_ahead(self) -> bool:
        """Whether worker processes are told what to read before it is asked for."""
        return self.num_workers > 0 and bool(self._maps)

    @property
    def arrived(self) -> tuple[Draw, ...] | None:
        """Draws of the newest batch that was delivered and not yet claimed; ``None`` if there is none."""
        return self._delivered[-1] if self._delivered else None

    def claim(self) -> tuple[Draw, ...]:
        """Return the draws of the oldest batch that was delivered and not yet claimed: one, or one per rank.

        Raises:
            RuntimeError: if every delivered batch was claimed.
        """
        if not self._delivered:
            raise RuntimeError(
                "no batch of the CurriculumLoader was delivered since the last claim: another loader gave this one, as "
                'in a CombinedLoader of mode "max_size" after the end of the CurriculumLoader (use "max_size_cycle" or '
                '"min_size"), or two callbacks claim the same batch'
            )
        return self._delivered.popleft()

    def _next_draws(self) -> Draws:
        """Return the draws to plan next: those left undelivered, else new ones."""
        own = self._teacher is self._own_teacher
        while self._cursor.undelivered:
            draws = self._cursor.undelivered.popleft()
            if not self._any_removed(draws):
                return draws
            if not own:
                for draw in draws:
                    self._teacher.discard(draw)
        draws = tuple(self._teacher.draw() for _ in range(self._num_draws))
        if own:
            self._teacher.discard(draws[0])  # nobody rewards uniform draws
        return draws

    def _any_removed(self, draws: Draws) -> bool:
        return any(self._teacher.is_removed(draw.arm) for draw in draws)

    def _plan(self, draws: Draws, visits: list[int]) -> Read:
        """Return what this rank is to read, and count the batches of all draws."""
        for draw in draws[: self._place]:
            visits[draw.arm] += 1
        own = draws[self._place].arm
        read = self._to_read(own, visits[own])
        for draw in draws[self._place :]:
            visits[draw.arm] += 1
        return read

    def _to_read(self, arm: int, visit: int) -> Read:
        source = self._maps.get(arm)
        if source is None:
            return Read(arm, None)
        seed = None
        if self.num_workers > 0:
            numbers = self._worker_numbers.at(visit, lane=lane_of(source.name))
            seed = int(numbers.integers(2**63, size=self._rank + 1)[-1])
        if self._limit is not None:
            visit = source.limited(visit, self._limit, self._world_size)
        return Read(arm, source.indices(visit, self._rank, self._world_size), seed)

    # ---------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the epoch and in every task, and the draws not yet delivered; equal on all ranks."""
        return seal(
            "loader",
            {
                "tasks": list(self.names),
                "made_in_epoch": self.made_in_epoch,
                **self._cursor.state(),
                **sizes_of(self._maps, self.names),
                "samples": self.samples.state(),
                "streams": [[source.name, source.position()] for source in self._streams.values()],
                "own_teacher": self._own_teacher.state_dict() if self._teacher is self._own_teacher else None,
            },
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the batch after those that were delivered when the state was taken.

        A state of other tasks waits for :meth:`attach` to say whether they are to be matched by name; without that, the
        first batch raises ``ValueError``.

        Raises:
            ValueError: if the state is damaged or of a newer format.
        """
        content = unseal("loader", state)
        if tuple(content["tasks"]) == self.names:
            self._restore(content)
        else:
            self._waiting = content

    @property
    def resumes(self) -> bool:
        """Whether a state was loaded that no batch has followed yet."""
        return self._resumed or self._waiting is not None

    def _restore(self, content: Mapping[str, Any]) -> None:
        self._reset()
        if content["own_teacher"] is not None:
            self._own_teacher.load_state_dict(content["own_teacher"], strict=False)
        self._cursor = Cursor.loaded(content, content["tasks"], self.names)
        restore_sizes(self._maps, self.names, content)
        self.samples.load_state(content["samples"])
        places = dict(content["streams"])
        for source in self._streams.values():
            if source.name in places:
                source.seek(places[source.name])
        self.made_in_epoch = content.get("made_in_epoch", 0)  # older states have none
        self._resumed = True

    def _reset(self) -> None:
        self._cursor = Cursor(len(self.names))
        self._resumed = False
        self._waiting = None
        self._delivered: deque[Draws] = deque()
        self.samples.load_state([])
        forget_restarts(self._maps)
        for source in self._streams.values():
            source.seek([0, 0])

    # ---------------------------------------------------------------- checks

    def _check_passes(self) -> None:
        for source in self._maps.values():
            if source.batches_per_pass(self._world_size) == 0:
                raise ValueError(
                    f"task {source.name!r} has {source.size} samples, fewer than one batch of "
                    f"{source.batch_size} x {self._world_size} ranks, and drop_last=True leaves nothing: "
                    "make the batch smaller or set drop_last=False"
                )

    def _default_steps(self) -> int:
        steps = sum(source.batches_per_pass(self._world_size) for source in self._maps.values())
        for arm, source in self._streams.items():
            steps += math.ceil(length_of(self.names[arm], source.batches, "steps_per_epoch") / self._world_size)
        return max(1, steps)


class _Planner:
    """The batch sampler of the shared DataLoader: draws tasks in the main process and says which samples to read."""

    def __init__(self, loader: CurriculumLoader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Any]:  # of `Read`; torch expects lists of indices
        loader, cursor = self._loader, self._loader._cursor
        micro_batches = max(1, loader._micro_batches())
        visits = list(cursor.visits)  # planned ones; the cursor counts the delivered ones
        draws = cursor.current
        for position in range(cursor.position, loader.steps_per_epoch):
            goes_on = draws is not None and loader._goes_on()
            if draws is None or (not goes_on and (position % micro_batches == 0 or loader._any_removed(draws))):
                draws = loader._next_draws()
            read = loader._plan(draws, visits)
            cursor.in_flight.append(draws)
            yield read

    def __len__(self) -> int:
        return self._loader.steps_per_epoch


def _one() -> int:  # functions of the module, unlike lambdas, can be sent to the processes of a spawning strategy
    return 1


def _never() -> bool:
    return False


def _no_end() -> float:
    return math.inf


def _process() -> tuple[int, int]:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1
