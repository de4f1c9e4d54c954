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


def check_micro_batches(trainer: pl.Trainer, module: pl.LightningModule, signal: str) -> None:
    """Refuse a training whose steps have no second micro-batch to compare the first with.

    Raises:
        MisconfigurationException: what is missing, and how to give it.
    """
    kinds = {base.__name__ for callback in _callbacks(trainer) for base in type(callback).__mro__}
    if not module.automatic_optimization:
        raise MisconfigurationException(
            f"{signal} compares the micro-batches that the trainer accumulates into a step, and "
            f"{type(module).__name__} optimises manually: use GradientPredictionGain() or FirstOrderPredictionGain()"
        )
    if trainer.accumulate_grad_batches < 2 and "GradientAccumulationScheduler" not in kinds:
        raise MisconfigurationException(
            f"{signal} needs a second batch in every step, and the trainer accumulates "
            f"{trainer.accumulate_grad_batches}: give Trainer(accumulate_grad_batches=2) and the loader half its "
            "batch_size, which trains as before"
        )
    if trainer.world_size > 1 and "DDPStrategy" not in {base.__name__ for base in type(trainer.strategy).__mro__}:
        raise MisconfigurationException(
            f"{signal} supports several ranks under DDPStrategy, got {type(trainer.strategy).__name__}: use "
            "SelfPredictionGain()"
        )


def _callbacks(trainer: Any) -> list[pl.Callback]:
    return list(trainer.callbacks)  # set where type checkers do not see it


def horizon(trainer: pl.Trainer) -> int | None:
    """Return the expected number of optimiser steps, or ``None`` if it cannot be known."""
    steps = trainer.estimated_stepping_batches
    return int(steps) if math.isfinite(steps) and steps >= 1 else None


def clips_gradients(trainer: pl.Trainer, module: pl.LightningModule) -> bool:
    """Tell whether gradients may be changed between the callback's hook and the optimiser's step."""
    own = getattr(type(module), "configure_gradient_clipping", None)
    names = getattr(own, "__module__", "").split(".")
    return trainer.gradient_clip_val is not None or names[0] not in ("pytorch_lightning", "lightning")


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
