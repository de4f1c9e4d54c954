"""What a workload is: tasks, a model, a goal; nothing here knows the curriculum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl


@dataclass(frozen=True)
class Workload:
    """A set of tasks with a goal: the held-out loss of the target task below ``goal``.

    Attributes:
        name: short, used for file names.
        title: for tables and pages.
        text: what the workload is and what a curriculum could gain, in a sentence or two.
        tasks: from a seed to the training tasks.
        held_out: from task name to a batch that is never trained on.
        model: makes the untrained LightningModule.
        target: name of the target task.
        goal: loss of the target task, per output bit, in nats.
        budget: most optimiser steps of a run.
        evaluate_every: steps between two evaluations on the held-out batches.
        grid: axes of the tasks.
        trainer_options: options of the Trainer, such as gradient clipping.
    """

    name: str
    title: str
    text: str
    tasks: Callable[[int], Mapping[str, Any]]
    held_out: Callable[[], Mapping[str, Any]]
    model: Callable[[], pl.LightningModule]
    target: str
    goal: float
    budget: int
    evaluate_every: int
    grid: Mapping[str, int | Sequence[Any]] | None = None
    trainer_options: Mapping[str, Any] = field(default_factory=dict)
