"""The curriculum of a training: its loader, its teacher and its record; how it begins, resumes and is reloaded."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException

from curricula.bandits.base import Bandit
from curricula.checkpoint import go_on, look_back, parts_of
from curricula.data.loader import CurriculumLoader
from curricula.data.samples import HELD_OUT_TARGET
from curricula.guard import Guard
from curricula.handover import Handover
from curricula.ledger import Ledger
from curricula.mixture import Mixture
from curricula.rewards import RewardScaler
from curricula.setups import check_reload, measured_signal
from curricula.signals.base import Signal
from curricula.signals.probe import untouched
from curricula.signals.step import InHand
from curricula.skipped_steps import SkippedSteps
from curricula.teacher import Draw, Teacher
from curricula.tracking.history import CurriculumHistory
from curricula.trainers import (
    batches_per_draw,
    data_ranks,
    expected_draws,
    find_loader,
    keep_reloading,
    overfit_limit,
    prepared,
    up_to_date_loader,
)
from curricula.validations import Validations

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Curriculum:
    """Loader, teacher and history of a callback's trainings, one after the other.

    Args:
        signal: of the callback, as are all others.
        bandit: chooses the tasks; ``None``: the teacher's default.
        scaler: progress rate to reward; ``None``: the teacher's default.
        seed: of the draws.
        target: name of a task, held-out data, or ``None``.
        strict: refuse a checkpoint, or a reloaded loader, of other tasks.
        independent: every rank draws tasks of its own.
        batches_per_draw: under manual optimisation, if known.
        horizon: expected number of steps, if it is not the trainer's.
        guard: of the tasks that become worse, or ``None``.
        mixture: the user's, or ``None``.
        unit: what costs are counted in.
    """

    def __init__(
        self,
        signal: Signal,
        *,
        bandit: Bandit | None,
        scaler: RewardScaler | None,
        seed: int,
        target: Any,
        strict: bool,
        independent: bool,
        batches_per_draw: int | None,
        horizon: int | None,
        guard: Guard | None,
        mixture: Mixture | None,
        unit: str,
    ) -> None:
        Teacher(["any"], scaler=scaler, seed=seed)  # which checks these now rather than when training starts
        self._signal = signal
        self._teacher_options: dict[str, Any] = {
            "bandit": bandit,
            "scaler": scaler,
            "seed": seed,
            "mixture": mixture,
        }
        self._target = target
        self.target_name = target if target is None or isinstance(target, str) else HELD_OUT_TARGET
        self._strict = strict
        self.independent = independent
        self.batches_per_draw = batches_per_draw
        self._horizon = horizon
        self._guard = guard
        self._validations = Validations(signal, guard)
        self._unit = unit
        self._ledger: Ledger | None = None
        self._loader: CurriculumLoader | None = None
        self._sized = 0  # epoch of the loader whose sizes of the tasks the history has
        self._last_loader: CurriculumLoader | None = None  # stays when training is over, for checkpoints saved then
        self._loaded: dict[str, Any] | None = None
        self._seen: dict[str, Any] | None = None
        self._skipped = SkippedSteps()
        self._handover = Handover()
        self.measured: Signal = signal
        """What is measured at every step: the signal, or nothing where nobody would learn from it."""
        self.sample: Callable[[InHand], Any] | None = None
        """Returns a fresh batch of a task, or of several in as many slots, for signals that need some."""
        self.place = 0
        """Of this process among those that have draws of their own."""

    @property
    def teacher(self) -> Teacher:
        """The teacher in charge."""
        return self._looked_up("teacher").teacher

    @property
    def history(self) -> CurriculumHistory:
        """The record of the run."""
        return self._looked_up("history").history

    @property
    def ledger(self) -> Ledger:
        """Teacher and history of the training."""
        return _started("ledger", self._ledger)

    @property
    def loader(self) -> CurriculumLoader:
        """The loader that is trained on."""
        return _started("loader", self._loader)

    @property
    def in_training(self) -> bool:
        """Whether there is a loader that is trained on."""
        return self._loader is not None

    @property
    def tasks_left(self) -> tuple[str, ...]:
        """Names of the tasks that are drawn now, in the order of the arms."""
        removed = self.teacher.removed
        return tuple(name for name in self.teacher.tasks if name not in removed) if removed else self.teacher.tasks

    @property
    def has_several_draws(self) -> bool:
        """Whether a step may have several draws on this rank."""
        return self.loader.draws_per_batch > 1 or self.loader.redraws

    @property
    def arrived(self) -> tuple[Draw, ...] | None:
        """This rank's draws of a batch that was delivered, and that no step has begun with yet."""
        arrived = None if self._loader is None else self._loader.arrived
        return None if arrived is None else self.loader.own_draws(arrived)

    def _looked_up(self, name: str) -> Ledger:
        if self._loader is None:
            self._look_back()
        return _started(name, self._ledger)

    def _look_back(self) -> None:
        # Nothing is trained here now: a training in other processes is over, or a run was over when it was resumed.
        arrived = self._handover.receive()
        state = arrived or self._loaded or self._seen
        if state is not None and (arrived or self._ledger is None):
            self._ledger = Ledger(*look_back(state, self._teacher_options), self._skipped)

    # ---------------------------------------------------------------- a training begins, goes on and ends

    def prepare(self) -> None:
        """Forget what a training in other processes has left behind, and nobody has looked at."""
        self._handover.receive()

    def start(self, trainer: pl.Trainer, goes_on: Callable[[], bool]) -> None:
        """Find the loader, make the teacher or go on with the one of a checkpoint, and connect them.

        Args:
            trainer: about to train.
            goes_on: whether the next batch must be of the same draw.

        Raises:
            MisconfigurationException: what does not fit.
        """
        self._goes_on = goes_on
        self._validations.check(trainer)
        loader = up_to_date_loader(trainer)
        try:
            self._start_teacher(trainer, loader)
            self._attach(trainer, loader)
        except ValueError as error:
            raise MisconfigurationException(str(error)) from error
        if self.loader.is_over:
            _log.warning("all tasks have used up their passes already: there is nothing left to train on")
            trainer.should_stop = True
        # A resume at the end of an epoch may be due to reload the data, and calls no on_train_epoch_start afterwards.
        up_to_date_loader(trainer)
        self.follow(trainer)

    def follow(self, trainer: pl.Trainer) -> None:
        """Follow the trainer to a new loader, where it reloads them.

        Raises:
            MisconfigurationException: what does not fit.
        """
        loader, before = find_loader(trainer), self._loader
        if before is None or loader is before:
            return
        try:
            self._check_target(loader)
            check_reload(before, loader)
            self.ledger.set_tasks(loader.names, "the loader before", strict=self._strict)
            loader.take_over(before)
            loader.made_in_epoch = trainer.current_epoch
            self._attach(trainer, loader)
        except ValueError as error:
            raise MisconfigurationException(str(error)) from error

    def validated(self, trainer: pl.Trainer) -> None:
        """Learn from a validation in the course of the training, once it is over."""
        if self.in_training and not trainer.sanity_checking:
            self._validations.end(trainer, self.teacher)

    def claim(self) -> tuple[Draw, ...]:
        """Return the draws of the batch in hand, of all ranks."""
        loader = self.loader
        draws = loader.claim()
        if self._sized != loader.epoch:
            self._sized = loader.epoch
            self.history.set_sizes(loader.known_sizes())
        return draws

    def end(self, trainer: pl.Trainer) -> None:
        """Leave the curriculum to the process that started this one."""
        self._handover.send(trainer, self.state_dict)

    def let_go(self) -> None:
        """Let go of the loader: the training is over."""
        self._loader = None

    def _check_target(self, loader: CurriculumLoader) -> None:
        if isinstance(self._target, str) and self._target not in loader.names:
            raise MisconfigurationException(
                f"target {self._target!r} names no task: the tasks are {list(loader.names)}"
            )

    def _attach(self, trainer: pl.Trainer, loader: CurriculumLoader) -> None:
        self._validations.check_tasks(loader.names)
        rank, world_size = data_ranks(trainer)
        loader.attach(
            self.ledger.teacher,
            rank=rank,
            world_size=world_size,
            micro_batches=lambda: self.batches_per_draw or batches_per_draw(trainer),
            goes_on=self._goes_on,
            epoch_length=lambda: trainer.num_training_batches,
            evaluates=lambda: trainer.evaluating or trainer.predicting,
            limit=overfit_limit(trainer),
            strict=self._strict,
            independent=self.independent,
        )
        self._loader = self._last_loader = loader
        self._sized = loader.epoch  # one that was interrupted goes on with the sizes of its beginning
        self.place = rank if self.independent else 0
        if loader.redraws:  # no batch shares its draws with another: a step that was interrupted is over
            loader.discard_lost(step_is_over=True)
        self.measured = measured_signal(loader, self.ledger.teacher, self._signal)
        if self.target_name == HELD_OUT_TARGET:
            loader.samples.add_target(self._target)
        self.sample = partial(_sample, trainer, loader) if self.measured.needs_samples else None

    def _start_teacher(self, trainer: pl.Trainer, loader: CurriculumLoader) -> None:
        self._check_target(loader)
        if trainer.global_step > 0 and self._ledger is not None and self._loaded is None:
            self._ledger.set_tasks(loader.names, "the training before", strict=self._strict)
            return
        loader.made_in_epoch = trainer.current_epoch
        steps = self._horizon
        if steps is None:
            steps = expected_draws(trainer, self.batches_per_draw or 1)
        mixture = self._teacher_options["mixture"]
        teacher = Teacher(
            loader.names,
            horizon=steps,
            draws_per_step=self._draws_per_step(trainer, loader),
            sizes=loader.sizes if mixture is not None and mixture.needs_sizes else None,
            **self._teacher_options,
        )
        target = self._target if isinstance(self._target, str) else None
        history = CurriculumHistory(loader.names, grid=loader.grid, target=target, unit=self._unit)
        self._signal.reset()
        if self._guard is not None:
            self._guard.reset()
        if self._loaded is not None:
            source = trainer.ckpt_path
            history = go_on(
                self._loaded, teacher, history, loader, self._signal, self._guard, strict=self._strict, source=source
            )
            self._loaded = None
            keep_reloading(trainer, loader.made_in_epoch)
        elif trainer.ckpt_path is not None and trainer.global_step > 0:
            _log.warning(
                "the checkpoint %s has no curriculum state: the model goes on from it, the curriculum starts anew",
                trainer.ckpt_path,
            )
        self._ledger = Ledger(teacher, history, self._skipped)
        if trainer.is_global_zero:
            _log.info("curriculum: %s, %s", teacher.bandit.describe(), type(self._signal).__name__)

    def _draws_per_step(self, trainer: pl.Trainer, loader: CurriculumLoader) -> int:
        ranks = trainer.world_size if self.independent else 1
        batches = (self.batches_per_draw or batches_per_draw(trainer)) if loader.redraws else 1
        return loader.draws_per_batch * ranks * batches

    # ---------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides the next draws, and the history."""
        if self._loaded is not None or self._ledger is None:
            return dict(self._loaded or {})
        return parts_of(self._ledger.teacher, self._ledger.history, self._last_loader, self._signal, self._guard)

    def load_state_dict(self, state: dict[str, Any], *, to_look_at: bool) -> None:
        """Keep the state of a checkpoint until the loader and its tasks are known.

        Args:
            state: what :meth:`state_dict` returned.
            to_look_at: no training goes on from it.
        """
        if to_look_at:
            self._seen = state or None
        else:
            self._loaded = state or None


def _sample(trainer: pl.Trainer, loader: CurriculumLoader, tasks: InHand) -> Any:
    module = trainer.lightning_module
    with untouched(module):
        return prepared(trainer, module, loader.samples.next(tasks))


def _started(name: str, value: T | None) -> T:
    if value is None:
        raise RuntimeError(
            f"the callback has no {name} before training starts: call trainer.fit() first, with a step to train. One "
            "that several trainers share has none any more when one of them is done: give each a callback of its own. "
            "Of a training in spawned processes that failed, the last checkpoint has it: "
            "curricula.tracking.read_history(path)"
        )
    return value
