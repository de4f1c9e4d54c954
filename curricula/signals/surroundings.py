"""What surrounds a module in training: which parameters are trained, options of optimisers, the count of steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from curricula.signals.values import place_of


class Trained:
    """The parameters in training.

    Args:
        parameters: those of the optimisers.
        required: tensors count only where they require gradients.
        enough: any parameter of the module that requires gradients counts.
    """

    __slots__ = ("_enough", "_ids", "_places", "_required")

    def __init__(self, parameters: list[Tensor], *, required: bool, enough: bool) -> None:
        self._ids = {id(parameter) for parameter in parameters}
        self._places = {place_of(parameter) for parameter in parameters if not is_lazy(parameter)} - {0}
        self._required = required
        self._enough = enough

    def __contains__(self, tensor: Tensor) -> bool:
        if id(tensor) in self._ids:
            return tensor.requires_grad or not self._required
        return self._enough and tensor.requires_grad and isinstance(tensor, nn.Parameter)

    def shares_memory_with(self, tensor: Tensor) -> bool:
        """Tell whether a tensor is another view of a parameter in training."""
        return id(tensor) not in self._ids and place_of(tensor) in self._places


class Surroundings:
    """A module and the trainer that it is trained by.

    Under automatic optimisation the trained parameters are those of the optimisers that require gradients. Manual
    optimisation may write to any other that requires gradients too.

    Args:
        module: in training.
        trainer: of either Lightning package; ``None``: all parameters that require gradients count as trained.
    """

    def __init__(self, module: nn.Module, trainer: Any = None) -> None:
        self.module = module
        self.optimizers: list[torch.optim.Optimizer] = [] if trainer is None else list(trainer.optimizers)
        configs = [] if trainer is None else trainer.lr_scheduler_configs
        self.schedulers = [config.scheduler for config in configs]
        self._progress = None if trainer is None else _optimizer_progress(trainer)
        self._automatic = bool(getattr(module, "automatic_optimization", True))
        self._sharded = any(callable(getattr(part, "unshard", None)) for part in module.modules())
        self._trained: tuple[Any, Trained] | None = None

    @property
    def device(self) -> torch.device:
        """The module's device."""
        device: torch.device = getattr(self.module, "device", None) or torch.device("cpu")
        return device

    def trained(self) -> Trained:
        """Return which parameters are in training now; groups may be added to an optimiser."""
        groups = [group["params"] for optimizer in self.optimizers for group in optimizer.param_groups]
        key = [(id(group), len(group)) for group in groups]
        if self._trained is not None and self._trained[0] == key:
            return self._trained[1]
        parameters = [parameter for group in groups for parameter in group]
        enough = not self._automatic or self._sharded or not self.optimizers
        known = parameters or [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        trained = Trained(known, required=self._automatic, enough=enough)
        if not any(map(is_lazy, known)):
            self._trained = key, trained
        return trained

    def completed_steps(self) -> tuple[int, int] | None:
        """Return the trainer's count of optimiser steps: in all, and in this epoch."""
        progress = self._progress
        return None if progress is None else (progress.total.completed, progress.current.completed)

    def set_completed_steps(self, steps: tuple[int, int] | None) -> None:
        """Set the count, which a training step reads as ``self.global_step``."""
        if self._progress is not None and steps is not None:
            self._progress.total.completed, self._progress.current.completed = steps


def _optimizer_progress(trainer: Any) -> Any:
    loop = trainer.fit_loop.epoch_loop
    if trainer.lightning_module.automatic_optimization:
        return loop.automatic_optimization.optim_progress.optimizer.step
    return loop.manual_optimization.optim_step_progress
