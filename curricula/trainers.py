"""What the callback asks of a trainer and a module, whichever of the two Lightning packages they are of."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.utils._pytree import tree_flatten

from curricula.data.loader import CurriculumLoader

_TWO_LINES = """\
    loader = CurriculumLoader({"easy": easy_dataset, "hard": hard_dataset}, batch_size=32)
    trainer.fit(model, loader)"""


def has_own_loss(module: nn.Module) -> bool:
    """Tell whether the module defines ``curriculum_loss``."""
    return callable(getattr(module, "curriculum_loss", None))


def find_loader(trainer: pl.Trainer) -> CurriculumLoader:
    """Return the one curriculum loader in the training data.

    Raises:
        MisconfigurationException: if there is none, with the lines that make one, or more than one.
    """
    found = [leaf for leaf in tree_flatten(trainer.train_dataloader)[0] if isinstance(leaf, CurriculumLoader)]
    if len(found) == 1:
        return found[0]
    problem = "several CurriculumLoaders among" if found else "no CurriculumLoader in"
    raise MisconfigurationException(
        f"CurriculumCallback found {problem} the training data ({type(trainer.train_dataloader).__name__}): "
        f"it chooses among the tasks of one CurriculumLoader. Train on one:\n\n{_TWO_LINES}\n\n"
        "or return it from train_dataloader()."
    )


def horizon(trainer: pl.Trainer) -> int | None:
    """Return the expected number of optimiser steps, or ``None`` if it cannot be known."""
    steps = trainer.estimated_stepping_batches
    return int(steps) if math.isfinite(steps) and steps >= 1 else None


def overfit_limit(trainer: pl.Trainer) -> int | None:
    """Return the number of batches per task to repeat on purpose, or ``None``."""
    return int(trainer.num_training_batches) if getattr(trainer, "overfit_batches", 0) else None


def unscales_itself(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether gradients are still scaled when the optimiser step begins (automatic mixed precision)."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def prepared(trainer: pl.Trainer, module: pl.LightningModule, batch: Any) -> Any:
    """Return a batch as the trainer hands it to the training step: converted, through the hooks, on the device."""
    batch = trainer.precision_plugin.convert_input(batch)
    batch = module._on_before_batch_transfer(batch, dataloader_idx=0)
    return trainer.strategy.batch_to_device(batch, dataloader_idx=0)
