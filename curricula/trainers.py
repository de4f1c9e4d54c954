"""What the callback asks of a trainer and a module, whichever of the two Lightning packages they are of."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch.utils._pytree import tree_flatten

from curricula.data.loader import CurriculumLoader
from curricula.teacher import Draw

_TWO_LINES = """\
    loader = CurriculumLoader({"easy": easy_dataset, "hard": hard_dataset}, batch_size=32)
    trainer.fit(model, loader)"""


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


def up_to_date_loader(trainer: pl.Trainer) -> CurriculumLoader:
    """Return the curriculum loader, once the data are those of the present epoch.

    Where a module reads ``trainer.estimated_stepping_batches`` while it is set up, Lightning has made the loader before
    it knew from which epoch the training goes on, and makes another one after ``on_train_start``.

    Raises:
        MisconfigurationException: as :func:`find_loader`.
    """
    if getattr(trainer.fit_loop, "_should_reload_train_dl", False):
        trainer.fit_loop.setup_data()
    return find_loader(trainer)


def keep_reloading(trainer: pl.Trainer, epoch: int) -> None:
    """Let a resumed trainer reload its data in the epochs in which it would have, had it not been interrupted.

    Args:
        trainer: with ``reload_dataloaders_every_n_epochs`` or without.
        epoch: in which the data were loaded last.
    """
    if hasattr(trainer.fit_loop, "_last_train_dl_reload_epoch"):
        trainer.fit_loop._last_train_dl_reload_epoch = epoch


def data_ranks(trainer: pl.Trainer) -> tuple[int, int]:
    """Return the rank of this process among those that read different data, and their number.

    Under tensor parallelism several processes train on the same data.
    """
    among = getattr(trainer.strategy, "distributed_sampler_kwargs", None) or {}
    return among.get("rank", trainer.global_rank), among.get("num_replicas", trainer.world_size)


def is_strategy(trainer: pl.Trainer, *names: str) -> bool:
    """Tell whether the trainer's strategy is one of these, by name: so that none has to be imported."""
    return not {base.__name__ for base in type(trainer.strategy).__mro__}.isdisjoint(names)


def callbacks_of(trainer: Any) -> list[pl.Callback]:
    """Return the callbacks of a trainer."""
    return list(trainer.callbacks)  # set where type checkers do not see it


def batches_per_draw(trainer: pl.Trainer) -> int:
    """Return how many batches make an optimiser step, all of one task."""
    # In its last epoch StochasticWeightAveraging accumulates all batches, only to renew the statistics of BatchNorm:
    # these are to be of all tasks.
    return 1 if getattr(trainer.fit_loop, "_skip_backward", False) else trainer.accumulate_grad_batches


def expected_draws(trainer: pl.Trainer, batches_per_draw: int = 1) -> int | None:
    """Return the expected number of draws, one per optimiser step, or ``None`` if it cannot be known.

    Args:
        trainer: in training.
        batches_per_draw: where a module makes its steps itself, and not at every batch.
    """
    steps = trainer.estimated_stepping_batches / batches_per_draw
    return int(steps) if math.isfinite(steps) and steps >= 1 else None


def current_task(trainer: pl.Trainer) -> str | tuple[str, ...] | None:
    """Return the name of the task of the batch in hand, for a module that treats tasks differently.

    It holds in ``training_step`` and in the hooks around it, those that transfer a batch included, and where a signal
    evaluates a fresh batch of another task: there it is that batch's task.

    Args:
        trainer: with a :class:`~curricula.CurriculumCallback`.

    Returns:
        The name; with ``draws_per_batch`` above 1 a tuple of the names for the slots of the batch. Slot ``k`` has the
        samples ``k * s`` to ``(k + 1) * s - 1``, where ``s`` is ``batch_size // draws_per_batch``. ``None`` before the
        first batch, during evaluation, and in a trainer without the callback.

    Example:
        >>> import pytorch_lightning as pl
        >>> current_task(pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu"))
    """
    callback = _curriculum_of(trainer)
    return None if callback is None else callback.current_task


def current_draws(trainer: pl.Trainer) -> tuple[Draw, ...]:
    """Return this rank's draws of the batch in hand, for a module that weights its losses by their probabilities.

    Args:
        trainer: with a :class:`~curricula.CurriculumCallback`.

    Returns:
        One draw for each slot of the batch: slot ``k`` has the samples ``k * s`` to ``(k + 1) * s - 1``, where ``s`` is
        ``batch_size // draws_per_batch``. Empty before the first batch, during evaluation, and in a trainer without the
        callback.

    Example:
        >>> import pytorch_lightning as pl
        >>> current_draws(pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu"))
        ()
    """
    callback = _curriculum_of(trainer)
    return () if callback is None else callback.current_draws


def _curriculum_of(trainer: pl.Trainer) -> Any:
    """Return the trainer's curriculum callback, of either Lightning package, while it trains."""
    if trainer.evaluating or trainer.predicting or trainer.sanity_checking:
        return None
    named = (callback for callback in callbacks_of(trainer) if "CurriculumCallback" in _kinds(callback))
    return next(named, None)


def _kinds(callback: Any) -> set[str]:
    return {base.__name__ for base in type(callback).__mro__}


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
