"""CurriculumLoader: one training loader over all tasks; a Teacher says which of them are next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from multiprocessing.context import BaseContext
from typing import Any

from curricula.bandits.fixed import FixedPolicy
from curricula.data.attached import process
from curricula.data.changing import ChangingLoader
from curricula.data.delivery import Delivery
from curricula.data.faults import RETRIES, OnError, TaskError, check_on_error
from curricula.data.frozen import warn_of_frozen_modules
from curricula.data.hooks import Hooks
from curricula.data.options import Collate, Redraw, WorkerInit, check_batches, check_options
from curricula.data.plan import Plan
from curricula.data.samples import Samples
from curricula.data.sharding import Presharded
from curricula.data.slot_samples import SlotSamples
from curricula.data.sources.collection import Sources
from curricula.data.tasks import Grid, Task, check_grid, check_tasks
from curricula.randomness import CounterGenerator, Stream, check_seed
from curricula.teacher import Teacher


class CurriculumLoader(ChangingLoader):
    """A sized, stateful training loader over tasks that a :class:`Teacher` chooses: one per batch, or several.

    Give it to ``trainer.fit(model, loader)`` or return it from ``train_dataloader()``. With a
    :class:`~curricula.CurriculumCallback` in the trainer, the callback's teacher chooses; without one, tasks are drawn
    uniformly. A batch of one task arrives just as the task made it.

    With ``num_workers=0`` tasks are drawn when their batch is asked for. With workers, which serve the map-style tasks,
    draws run ahead by ``num_workers * prefetch_factor`` batches, and every batch still meets its own draws.

    Args:
        tasks: name to task. A task is a map-style ``Dataset`` (or a sequence of samples), an ``IterableDataset``, or a
            re-iterable of ready batches such as a ``DataLoader``. A finite task starts over when it is exhausted.
        batch_size: samples per batch and rank, for map-style and iterable datasets. ``None``: the items of the datasets
            are batches already, as in ``torch.utils.data.DataLoader``; a list of ready batches is such a dataset.
        draws_per_batch: how many tasks are drawn for a batch, with replacement. It divides ``batch_size``, up to a draw
            for every sample: slot ``k``, the samples from ``k * batch_size // draws_per_batch`` on, is of the ``k``-th
            draw. With more than one, the passes over a task run on into one another, so that every slot is full and
            ``drop_last`` has nothing to leave out. Ready batches are put one behind the other; each is a slot.
        quotas: let the draws of a batch follow the policy with the least rounding: of ``n`` draws, a task of
            probability ``p`` has ``n * p``, rounded up or down. The probability of each draw stays that of the policy.
        redraw: ``"step"``: the batches of an optimiser step (gradient accumulation) share their draws; ``"batch"``:
            each of them has draws of its own.
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
        draws_per_batch: int = 1,
        quotas: bool = False,
        redraw: Redraw = "step",
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
        names = check_tasks(tasks)
        self.grid = check_grid(grid, len(names))
        """Axis name to labels, or ``None``."""
        check_seed(seed)
        for name, task in tasks.items():
            if isinstance(task, CurriculumLoader):
                raise TypeError(f"task {name!r} is a CurriculumLoader: give its tasks, under names of their own")
        self.batch_size = batch_size
        self.draws_per_batch = draws_per_batch
        """Number of draws of a batch, on this rank."""
        self.redraws = redraw == "batch"
        """Whether every batch has draws of its own, also under gradient accumulation."""
        self.num_workers = num_workers
        self.drop_last = drop_last
        self.seed = seed
        self.on_error = check_on_error(on_error)
        self.made_in_epoch = 0
        """Epoch of the trainer in which it was made, known to a callback."""
        check_batches(batch_size, draws_per_batch, redraw, quotas)
        self._options: dict[str, Any] = {
            "num_workers": num_workers,
            "pin_memory": pin_memory,
            "prefetch_factor": prefetch_factor,
            "persistent_workers": persistent_workers,
            "worker_init_fn": worker_init_fn,
            "multiprocessing_context": multiprocessing_context,
            "timeout": timeout,
        }
        check_options(self._options, steps_per_epoch, collate_fn, shuffle=shuffle, drop_last=drop_last)
        self._collate_fn = collate_fn
        self._retries = 0 if on_error == "raise" else RETRIES
        self._sources = Sources(
            tasks,
            batch_size=batch_size,
            draws_per_batch=draws_per_batch,
            shuffle=shuffle,
            drop_last=drop_last,
            collate_fn=collate_fn,
            seed=seed,
            retries=self._retries,
            presharded=presharded,
        )
        if num_workers > 0 and not self._sources.maps:
            raise ValueError(
                f"num_workers={num_workers} serves map-style tasks, and there are none: pass the iterable tasks as "
                f"DataLoader(dataset, batch_size=..., num_workers={num_workers}) instead"
            )
        fresh: Any = Samples if draws_per_batch == 1 else partial(SlotSamples, draws_per_batch=draws_per_batch)
        self.samples: Samples = fresh(
            tasks,
            probe_tasks,
            batch_size=batch_size,
            collate_fn=collate_fn,
            seed=seed,
            retries=self._retries,
            presharded=self._sources.presharded,
        )
        """Fresh batches for the signals."""
        self._own_teacher = Teacher(names, bandit=FixedPolicy.uniform(), seed=seed)
        self._plan = Plan(
            self._sources.maps,
            len(names),
            self._own_teacher,
            draws_per_batch,
            quotas=quotas,
            redraws=self.redraws,
            seeds=CounterGenerator(seed, Stream.WORKERS) if num_workers else None,
        )
        self._hooks = Hooks()
        self._plan.share = process()
        self._sources.check_passes(self._plan.share.world_size)
        self._given_steps = steps_per_epoch
        if steps_per_epoch is None:
            self._sources.steps_per_pass(self._plan.share.world_size)  # which says which task has no length
        self._iteration = 0  # of iterators; only the newest one may go on
        self._plan_again = False
        self._delivery = Delivery(self._sources, self._plan, rewinds=on_error == "drop")
        self._make_pool()
        warn_of_frozen_modules(self.tasks, num_workers)
        self._new_training = False
        self._reset()

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
        return self._sources.steps_per_pass(self._plan.share.world_size)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over one epoch, or over the rest of the one that a loaded state was taken in.

        Nothing is drawn before the first batch is asked for. Draws that an iterator left undelivered are delivered
        first by the next one.
        """
        self._iteration += 1
        return self._epoch(self._iteration)

    def _epoch(self, iteration: int) -> Iterator[Any]:
        self._begin_epoch()
        plan = self._plan
        batches = self._planned()
        try:
            while plan.cursor.position < self._steps:
                if iteration != self._iteration:
                    raise RuntimeError(
                        "a CurriculumLoader has one running iterator at a time, and a newer one was started: "
                        "finish one epoch before the next, or make a second loader"
                    )
                if self._plan_again or plan.is_outdated():
                    plan.put_back()
                    batches = self._planned()
                try:
                    batch = self._delivery.batch(self._pool.next(batches))  # the plan draws in here
                except StopIteration:
                    if not plan.is_over(self._hooks):
                        raise
                    return
                except TaskError as error:
                    self._give_up(error)
                    batches = self._planned()  # what was read ahead was planned with the task
                else:
                    samples = self._delivery.num_samples()
                    self._note(plan.deliver(), samples)
                    yield batch
        except Exception as error:
            told = self._pool.told(error, batches)
            if told is None:
                raise
            raise TaskError(told) from error
        finally:
            self._pool.watch(None)
            del batches  # else the traceback of an error keeps the workers alive

    def _planned(self) -> Iterator[Any]:
        self._plan_again = False
        # Streamed tasks bring their own batches: where there are no others, the plan is all that is needed.
        batches = self._pool.start() if self._sources.maps else self._plan.reads(self._steps, self._hooks)
        self._pool.watch(batches)
        return batches
