"""ReportEveryNSteps: gives Ray a checkpoint every so many steps."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import ray.train
from lightning.pytorch.callbacks import Checkpoint

CHECKPOINT = "checkpoint.ckpt"


class ReportEveryNSteps(Checkpoint):  # a `Checkpoint` comes last, when the step has taught the curriculum
    """Reports metrics and a checkpoint to Ray every ``every`` optimiser steps.

    Ray's own callback reports at the end of an epoch only: a run of one long epoch would never be saved.

    Args:
        every: optimiser steps, at least 1.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.reported = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and report, on all ranks; Ray takes a checkpoint for whole once all have."""
        step = trainer.global_step
        if step % self.every or step == self.reported:  # the same step again: gradients are being accumulated
            return
        self.reported = step
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
        with tempfile.TemporaryDirectory() as folder:
            trainer.save_checkpoint(Path(folder) / CHECKPOINT, weights_only=False)
            ray.train.report({**metrics, "step": step}, checkpoint=ray.train.Checkpoint.from_directory(folder))
