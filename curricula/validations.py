"""The validations of a training: what they logged, on all ranks, and who learns from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from curricula.guard import Guard
from curricula.signals.base import Signal
from curricula.teacher import Teacher


class Validations:
    """Hands what was logged to the signal and to the guard, if they ask for it.

    Args:
        signal: what counts as progress.
        guard: of the tasks that become worse, or ``None``.
    """

    def __init__(self, signal: Signal, guard: Guard | None) -> None:
        self._signal = signal
        self._guard = guard
        self._needed = signal.needs_validation or guard is not None
        self._seen: dict[str, Any] = {}

    def check(self, trainer: pl.Trainer) -> None:
        """Refuse a training without validations, where they are needed.

        Raises:
            MisconfigurationException: who needs them.
        """
        loaded = trainer.val_dataloaders is not None
        if self._needed and (not trainer.enable_validation or (loaded and not any(trainer.num_val_batches))):
            who = type(self._signal if self._signal.needs_validation else self._guard).__name__
            raise MisconfigurationException(
                f"{who} learns from validations, and this training has none: give a val_dataloader and a "
                "validation_step that logs the tasks' metrics, and no limit_val_batches=0"
            )

    def check_tasks(self, tasks: Sequence[str]) -> None:
        """Raise ``ValueError`` if signal or guard cannot work with these tasks."""
        self._signal.check_tasks(tasks)
        if self._guard is not None:
            self._guard.check_tasks(tasks)

    def end(self, trainer: pl.Trainer, teacher: Teacher) -> None:
        """Let signal and guard learn from a validation that is over. On several ranks, called on all of them.

        Args:
            trainer: in training.
            teacher: of the training.
        """
        if not self._needed:
            return
        logged = dict(trainer.callback_metrics)  # also what validations before have logged, the very same tensors
        fresh = {name: float(value) for name, value in logged.items() if value is not self._seen.get(name)}
        self._seen = logged
        metrics = _agreed(fresh, trainer.world_size)
        if self._signal.needs_validation:
            self._signal.after_validation(metrics, teacher.tasks)
        if self._guard is not None:
            teacher.guard(self._guard.after_validation(metrics, teacher.tasks))


def _agreed(own: dict[str, float], ranks: int) -> dict[str, float]:
    """Return the mean of every metric over the ranks that logged it."""
    if ranks == 1:
        return own
    everyone: list[dict[str, float]] = [{}] * ranks
    torch.distributed.all_gather_object(everyone, own)
    return {name: _mean(one[name] for one in everyone if name in one) for name in sorted(set().union(*everyone))}


def _mean(values: Iterable[float]) -> float:
    several = list(values)
    return sum(several) / len(several)
