"""What the callback asks of a trainer and a module, whichever of the two Lightning packages they are of."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.utils._pytree import tree_flatten

from curricula.data.loader import CurriculumLoader
from curricula.signals.base import Signal

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


def check_alone(trainer: pl.Trainer, kind: str) -> None:
    """Refuse a trainer with several callbacks of a kind.

    Raises:
        MisconfigurationException: how many there are.
    """
    number = sum(kind in {base.__name__ for base in type(callback).__mro__} for callback in _callbacks(trainer))
    if number > 1:
        raise MisconfigurationException(
            f"the trainer has {number} callbacks of the kind {kind}, and one curriculum chooses the tasks: give one"
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
    if trainer.world_size > 1 and not _is_strategy(trainer, "DDPStrategy"):
        raise MisconfigurationException(
            f"{signal} supports several ranks under DDPStrategy, got {type(trainer.strategy).__name__}: use "
            "SelfPredictionGain()"
        )


def check_strategy(trainer: pl.Trainer, signal: Signal) -> None:
    """Refuse a strategy under which the signal would measure something else, or wait for ever.

    Raises:
        MisconfigurationException: what may be used instead.
    """
    name = type(trainer.strategy).__name__
    if _is_strategy(trainer, "FSDPStrategy", "XLAFSDPStrategy", "DeepSpeedStrategy"):
        if not _of_own_batch(signal) or signal.needs_probe:
            raise MisconfigurationException(
                f"{type(signal).__name__} looks at parameters, gradients or further losses, and {name} keeps these in "
                "pieces that only it can put together: shard with ModelParallelStrategy (fully_shard, FSDP2) or train "
                "under DDPStrategy, or use a signal of the training loss alone (needs_loss)"
            )
    elif _is_strategy(trainer, "ModelParallelStrategy") and not signal.supports_shards:
        raise MisconfigurationException(
            f"{type(signal).__name__} needs whole parameters, and {name} shards them: train under DDPStrategy, or use "
            "L2Gain(), GradientL2Gain() or FirstOrderPredictionGain()"
        )
    elif trainer.world_size > 1 and not _is_strategy(trainer, "DDPStrategy", "ModelParallelStrategy"):
        raise MisconfigurationException(
            "CurriculumCallback supports several processes under DDPStrategy and ModelParallelStrategy, got "
            f"{name} with {trainer.world_size}: use one of these"
        )


def check_independent(trainer: pl.Trainer, signal: Signal) -> None:
    """Refuse draws of their own for ranks whose progress cannot be told apart.

    Raises:
        MisconfigurationException: what may be used instead.
    """
    if trainer.world_size > 1 and not _is_strategy(trainer, "DDPStrategy"):
        raise MisconfigurationException(
            f"independent_ranks=True is for DDPStrategy, got {type(trainer.strategy).__name__}: leave it out"
        )
    if not _of_own_batch(signal):
        raise MisconfigurationException(
            f"independent_ranks=True needs a signal of each rank's own batch, got {type(signal).__name__}: gradients "
            "and parameters are those of all ranks' tasks together, and fresh batches are shared. Use PredictionGain()"
        )


def _of_own_batch(signal: Signal) -> bool:
    return signal.needs_loss and not (signal.needs_gradients or signal.needs_samples or signal.needs_parameters)


def data_ranks(trainer: pl.Trainer) -> tuple[int, int]:
    """Return the rank of this process among those that read different data, and their number.

    Under tensor parallelism several processes train on the same data.
    """
    among = getattr(trainer.strategy, "distributed_sampler_kwargs", None) or {}
    return among.get("rank", trainer.global_rank), among.get("num_replicas", trainer.world_size)


def _is_strategy(trainer: pl.Trainer, *names: str) -> bool:
    return not {base.__name__ for base in type(trainer.strategy).__mro__}.isdisjoint(names)


def _callbacks(trainer: Any) -> list[pl.Callback]:
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


def check_takes_batches(module: pl.LightningModule) -> None:
    """Refuse a training step that fetches its batches itself.

    Raises:
        MisconfigurationException: what to do.
    """
    if "dataloader_iter" in inspect.signature(module.training_step).parameters:
        raise MisconfigurationException(
            f"{type(module).__name__}.training_step(self, dataloader_iter) fetches batches itself, so that nobody can "
            "tell which batch a step is of: write training_step(self, batch, batch_idx), or train without the "
            "CurriculumCallback"
        )


def current_task(trainer: pl.Trainer) -> str | None:
    """Return the name of the task whose batch is in hand, for a module that treats tasks differently.

    It holds in ``training_step`` and in the hooks around it, those that transfer a batch included, and where a signal
    evaluates a fresh batch of another task: there it is that batch's task.

    Args:
        trainer: with a :class:`~curricula.CurriculumCallback`.

    Returns:
        ``None`` before the first batch, during evaluation, and in a trainer without the callback.

    Example:
        >>> import pytorch_lightning as pl
        >>> current_task(pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu"))
    """
    if trainer.evaluating or trainer.predicting or trainer.sanity_checking:
        return None
    for callback in _callbacks(trainer):
        if "CurriculumCallback" in {base.__name__ for base in type(callback).__mro__}:
            task: str | None = callback.current_task  # type: ignore[attr-defined]
            return task
    return None


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
