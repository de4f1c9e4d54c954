"""Trainings that could not be measured rightly, refused before they begin, with what to do instead."""

from __future__ import annotations

import inspect
import logging

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from curricula.bandits.fixed import FixedPolicy
from curricula.bandits.without_replacement import WithoutReplacement
from curricula.data.loader import CurriculumLoader
from curricula.signals.base import Signal
from curricula.signals.unmeasured import Unmeasured
from curricula.teacher import Teacher
from curricula.trainers import callbacks_of, is_strategy

_log = logging.getLogger(__name__)


def check_setup(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    signal: Signal,
    *,
    kind: str,
    target: str | None,
    batches_per_draw: int | None,
    independent: bool,
) -> None:
    """Refuse a training that cannot be measured rightly.

    Args:
        trainer: of either Lightning package.
        module: to be trained.
        signal: what counts as progress.
        kind: name of the callback's class.
        target: name of the target, or ``None``.
        batches_per_draw: option of the callback.
        independent: whether every rank draws tasks of its own.

    Raises:
        MisconfigurationException: what is wrong, and how to mend it.
    """
    check_alone(trainer, kind)
    check_takes_batches(module)
    if batches_per_draw is not None and module.automatic_optimization:
        raise MisconfigurationException(
            f"batches_per_draw={batches_per_draw} is for manual optimisation, and {type(module).__name__} optimises "
            "automatically: a draw has the batches of one optimiser step, Trainer(accumulate_grad_batches=...)"
        )
    try:
        signal.check(module, target)
    except ValueError as error:
        raise MisconfigurationException(str(error)) from error
    check_runs_again(module, signal)
    check_strategy(trainer, signal)
    if signal.needs_micro_batches:
        check_micro_batches(trainer, module, type(signal).__name__)
    if independent:
        check_independent(trainer, signal)


def check_runs_again(module: pl.LightningModule, signal: Signal) -> None:
    """Refuse a module that optimises manually to a signal that would run its training step again.

    Raises:
        MisconfigurationException: what to define, or to use instead.
    """
    runs_again = signal.needs_loss or signal.needs_probe
    if runs_again and not module.automatic_optimization and not has_own_loss(module):
        raise MisconfigurationException(
            f"{type(signal).__name__} needs the loss before and after a step, and {type(module).__name__} optimises "
            "manually, so that its training_step cannot be run again: define "
            "`curriculum_loss(self, batch, batch_idx) -> Tensor` in the module, or use a signal of the gradients such "
            "as GradientPredictionGain()"
        )


def check_alone(trainer: pl.Trainer, kind: str) -> None:
    """Refuse a trainer with several callbacks of a kind.

    Raises:
        MisconfigurationException: how many there are.
    """
    number = sum(kind in {base.__name__ for base in type(callback).__mro__} for callback in callbacks_of(trainer))
    if number > 1:
        raise MisconfigurationException(
            f"the trainer has {number} callbacks of the kind {kind}, and one curriculum chooses the tasks: give one"
        )


def check_micro_batches(trainer: pl.Trainer, module: pl.LightningModule, signal: str) -> None:
    """Refuse a training whose steps have no second micro-batch to compare the first with.

    Raises:
        MisconfigurationException: what is missing, and how to give it.
    """
    kinds = {base.__name__ for callback in callbacks_of(trainer) for base in type(callback).__mro__}
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
    if trainer.world_size > 1 and not is_strategy(trainer, "DDPStrategy"):
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
    if is_strategy(trainer, "FSDPStrategy", "XLAFSDPStrategy", "DeepSpeedStrategy"):
        if not _of_own_batch(signal) or signal.needs_probe:
            raise MisconfigurationException(
                f"{type(signal).__name__} looks at parameters, gradients or further losses, and {name} keeps these in "
                "pieces that only it can put together: shard with ModelParallelStrategy (fully_shard, FSDP2) or train "
                "under DDPStrategy, or use a signal of the training loss alone (needs_loss)"
            )
    elif is_strategy(trainer, "ModelParallelStrategy") and not signal.supports_shards:
        raise MisconfigurationException(
            f"{type(signal).__name__} needs whole parameters, and {name} shards them: train under DDPStrategy, or use "
            "L2Gain(), GradientL2Gain() or FirstOrderPredictionGain()"
        )
    elif trainer.world_size > 1 and not is_strategy(trainer, "DDPStrategy", "ModelParallelStrategy"):
        raise MisconfigurationException(
            "CurriculumCallback supports several processes under DDPStrategy and ModelParallelStrategy, got "
            f"{name} with {trainer.world_size}: use one of these"
        )


def check_independent(trainer: pl.Trainer, signal: Signal) -> None:
    """Refuse draws of their own for ranks whose progress cannot be told apart.

    Raises:
        MisconfigurationException: what may be used instead.
    """
    if trainer.world_size > 1 and not is_strategy(trainer, "DDPStrategy"):
        raise MisconfigurationException(
            f"independent_ranks=True is for DDPStrategy, got {type(trainer.strategy).__name__}: leave it out"
        )
    if not _of_own_batch(signal):
        raise MisconfigurationException(
            f"independent_ranks=True needs a signal of each rank's own batch, got {type(signal).__name__}: gradients "
            "and parameters are those of all ranks' tasks together, and fresh batches are shared. Use PredictionGain()"
        )


def _of_own_batch(signal: Signal) -> bool:
    own = signal.needs_loss or signal.needs_outputs or signal.needs_validation
    return own and not (signal.needs_gradients or signal.needs_samples or signal.needs_parameters)


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


def measured_signal(loader: CurriculumLoader, teacher: Teacher, signal: Signal) -> Signal:
    """Return the signal that is to be measured, once it is known how many draws a step has.

    Args:
        loader: that is trained on.
        teacher: chooses the tasks.
        signal: what counts as progress.

    Returns:
        The signal; one that measures nothing where it cannot tell the draws of a step apart, and nobody learns from it:
        the policy is fixed, or the mixture keeps to its prior.

    Raises:
        MisconfigurationException: if the bandit is to learn from a signal that measures nothing, or that cannot tell
            draws apart.
    """
    fixed = isinstance(teacher.bandit, (FixedPolicy, WithoutReplacement))
    fixed = fixed or (teacher.mixture is not None and not teacher.mixture.learns)
    if isinstance(signal, Unmeasured) and not fixed:
        raise MisconfigurationException(
            f"Unmeasured measures nothing, so that {type(teacher.bandit).__name__} would never learn: give another "
            "signal, FixedPolicy(), or Mixture(strength=0)"
        )
    if (loader.draws_per_batch == 1 and not loader.redraws) or signal.per_draw:
        return signal
    name = type(signal).__name__
    several = f"draws_per_batch={loader.draws_per_batch}" if loader.draws_per_batch > 1 else 'redraw="batch"'
    if fixed:
        _log.info(
            "%s cannot tell the several draws of a step apart (%s), and the policy is fixed: progress is not measured",
            name,
            several,
        )
        return Unmeasured()
    instead = "draws_per_batch=1" if loader.draws_per_batch > 1 else 'redraw="step"'
    raise MisconfigurationException(
        f"{name} measures a step as a whole, and a step has several draws (CurriculumLoader({several})), so that it "
        "does not tell which of them taught what: use a signal of the losses per sample, such as PredictionGain(), or "
        f"give CurriculumLoader({instead})"
    )


def check_reload(before: CurriculumLoader, loader: CurriculumLoader) -> None:
    """Refuse a reloaded loader whose steps have another number of draws.

    Raises:
        ValueError: both numbers.
    """
    for name in ("draws_per_batch", "redraws"):
        was, now = getattr(before, name), getattr(loader, name)
        if was != now:
            raise ValueError(
                f"the reloaded CurriculumLoader has {name}={now}, and the one before had {was}: the number of draws of "
                "a step cannot change in the middle of a training"
            )


def has_own_loss(module: nn.Module) -> bool:
    """Tell whether the module defines ``curriculum_loss``."""
    return callable(getattr(module, "curriculum_loss", None))
