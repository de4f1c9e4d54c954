"""What a loader and a training tell each other: who draws, which draws arrived, what becomes of those that fail."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch.distributed as dist

from curricula.data.cursor import Draws
from curricula.data.faults import OnError, TaskError
from curricula.data.hooks import Hooks, hooks
from curricula.data.options import check_whole
from curricula.data.passes import Passes
from curricula.data.pool import Pool
from curricula.data.reads import Share
from curricula.data.resumable import ResumableLoader
from curricula.task_names import listed
from curricula.teacher import Draw, Teacher, check_instance

_log = logging.getLogger(__name__)


class AttachedLoader(ResumableLoader):
    """The side of a :class:`~curricula.CurriculumLoader` that a training sees, beside the batches."""

    on_error: OnError
    _pool: Pool
    _hooks: Hooks
    _new_training: bool
    _steps: int  # of the epoch that runs

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch and rank."""
        raise NotImplementedError

    def _follow_sizes(self, goes_on: bool) -> None:
        raise NotImplementedError

    # ---------------------------------------------------------------- who decides

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
            micro_batches: number of batches per step, asked at the first batch of an epoch (gradient accumulation).
            goes_on: whether the step of the batch that was delivered last needs another batch of its tasks, asked
                before every batch; worker processes cannot ask, since they are told beforehand what to read.
            epoch_length: number of batches after which the trainer ends the epoch, if before ``steps_per_epoch``.
            evaluates: whether the trainer evaluates now, asked when an epoch begins; there are no batches for that.
            limit: give each task only its first so many batches, again and again (overfitting on purpose).
            strict: refuse a loaded state of other tasks. If not, tasks are matched by name: those that stay go on where
                they were, new ones begin.
            independent: every process has draws of its own in every step, and :meth:`claim` returns all of them, in
                the order of the ranks. If not, all processes share the draws and their tasks' samples.

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
                raise ValueError(self._refusal(self._waiting))
            self._restore(self._waiting)
        share = Share(place=rank, places=world_size) if independent else Share(rank, world_size)
        self._plan.share = share
        self.samples.set_rank(rank, world_size)
        self._sources.check_passes(share.world_size)
        if teacher is not self.teacher and not self._resumed:
            self._reset()
        self._serve(teacher)
        self._follow_share()
        self._hooks = hooks(micro_batches, goes_on, epoch_length, evaluates)
        self._plan.limit = limit
        self._follow_passes()
        self._plan.discard_lost()
        self._new_training = True

    def _serve(self, teacher: Teacher) -> None:
        self._plan.teacher = teacher
        self._plan.rewarded = teacher is not self._own_teacher  # nobody rewards uniform draws

    def _follow_share(self) -> None:
        self._sources.follow_processes(self._plan.share)
        self._plan.follow_batch_size(self._sources.slot_size)

    def _follow_passes(self) -> None:
        self._plan.passes = Passes.of(self.teacher.mixture, self._sources, self._plan.share.world_size)
        if not self._plan.passes.limited and self.teacher.used_up:
            self.teacher.use_up({})  # the limits of before are gone

    @property
    def epoch(self) -> int:
        """Number of the epoch that runs, from 1; 0 before the first."""
        return self._plan.cursor.epoch

    @property
    def is_over(self) -> bool:
        """Whether there is no further batch, in this epoch or a later one: all tasks have used up their passes."""
        return self._plan.is_over(self._hooks)

    def _follow_processes(self) -> None:
        # A loader may be made before the processes know of one another. With a callback, the trainer has told.
        if self.teacher is self._own_teacher:
            self._plan.share = process()
            self._follow_share()

    @property
    def arrived(self) -> tuple[Draw, ...] | None:
        """Draws of the newest batch that was delivered and not yet claimed; ``None`` if there is none."""
        return self._delivered[-1][0] if self._delivered else None

    def claim(self) -> tuple[Draw, ...]:
        """Return the draws of the oldest batch that was delivered and not yet claimed.

        They are ``draws_per_batch`` draws, in the order of the batch's slots; with independent ranks those of all
        ranks, one rank after the other.

        Raises:
            RuntimeError: if every delivered batch was claimed.
        """
        if not self._delivered:
            raise RuntimeError(
                "no batch of the CurriculumLoader was delivered since the last claim: another loader gave this one, as "
                'in a CombinedLoader of mode "max_size" after the end of the CurriculumLoader (use "max_size_cycle" or '
                '"min_size"), or two callbacks claim the same batch'
            )
        draws, self.claimed_samples = self._delivered.popleft()
        return draws

    def own_draws(self, draws: tuple[Draw, ...]) -> tuple[Draw, ...]:
        """Return those of the draws that :meth:`claim` gave whose samples are on this rank, in the order of the slots.

        They are all of them, except where ranks are independent.
        """
        return self._plan.own(draws)

    def discard_lost(self, *, step_is_over: bool = False) -> None:
        """Close the draws of batches that were delivered, before a checkpoint or in a trial, and earn no reward.

        Args:
            step_is_over: the step of the batch that was delivered last gets no further one.
        """
        if step_is_over:
            self._plan.cursor.current = None
        self._plan.discard_lost()

    def explain(self, error: BaseException) -> str | None:
        """Return which tasks were lost with a worker process, if an error tells of one that read tasks and died.

        Torch raises such an error wherever the main process is, in the middle of a training step as well.
        """
        return self._pool.explain(error)

    def _give_up(self, error: TaskError) -> None:
        """Take the task out that could not be read, or raise."""
        draws = self._plan.cursor.in_flight.popleft()
        own = self._plan.own(draws)
        draw = next((draw for draw in own if draw.task == error.task), own[0])
        text = f"{error} (draw {draw.id})"
        if draw.arm in self._sources.streams:
            self._sources.streams[draw.arm].shut_down()
        if self.on_error != "drop" or error.task is None:
            raise _told(error, text) from error.__cause__
        try:
            self.teacher.remove_task(draw.task)
        except ValueError as refused:
            teacher = self.teacher
            if teacher.used_up:
                why = f"it cannot be dropped, since {refused} ({listed(teacher.used_up)} used up their passes)"
            elif len(teacher.removed) == len(self.names) - 1:
                why = "no other task is left: every other one was dropped"
            else:
                why = f"it cannot be dropped, since {refused}"
            text = f"{text}; {why}"
            raise _told(error, text) from error.__cause__
        _log.warning("%s; the task is dropped, and the others share its probability", text)
        self._plan.put_back_all_but(draws)

    def _begin_epoch(self) -> None:
        if self._waiting is not None:
            raise ValueError(self._refusal(self._waiting))
        if self._hooks.evaluates():
            raise RuntimeError(
                "the CurriculumLoader that is trained on was given for validation, test or prediction as well, and "
                "would draw their batches from the curriculum: give a DataLoader per task, {name: DataLoader(...)}, or "
                "CurriculumDataModule(val_tasks=...)"
            )
        self._follow_processes()
        plan, cursor, hooks = self._plan, self._plan.cursor, self._hooks
        plan.put_back()
        self._delivered.clear()
        goes_on = self._resumed and cursor.position < min(self.steps_per_epoch, hooks.epoch_length())
        if self._new_training and not (goes_on and plan.is_within_step(hooks)):
            plan.discard_current()
        self._new_training = self._resumed = False
        if not goes_on:
            plan.begin_epoch(hooks)
        self._follow_sizes(goes_on)
        self._follow_passes()
        if plan.is_over(hooks):
            raise RuntimeError(
                f"no task is left to train on: all have used up their passes (max_passes of the Mixture) after "
                f"{self.teacher.draws} draws. Allow more passes, or train no further"
            )
        self._steps = self.steps_per_epoch
        self._pool.begin_epoch(cursor.epoch)

    def _note(self, draws: Draws, samples: int | None) -> None:
        self._delivered.append((draws, samples))
        if len(self._delivered) > 16:  # nobody claims them: there is no callback
            self._delivered.popleft()


def _told(error: TaskError, text: str) -> TaskError:
    other = TaskError(text)
    other.task = error.task
    return other


def process() -> Share:
    """Return the part of this process among those of ``torch.distributed``, if there are any."""
    if dist.is_available() and dist.is_initialized():
        return Share(dist.get_rank(), dist.get_world_size())
    return Share()
