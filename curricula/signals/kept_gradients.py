"""Whether gradients are after an optimiser step what they were before it, so that no copy of them is needed."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import SGD, Adagrad, Adam, AdamW, RMSprop
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

_LEAVE_THEM = (SGD, Adam, AdamW, RMSprop, Adagrad)
"""Optimisers whose steps write to no gradient, but for the options below. Others may do as well; nobody has looked."""
_MAY_WRITE = ("nesterov", "differentiable")
"""Options under which they may write: SGD over many tensors at once adds Nesterov's momentum in place."""
_LIGHTNING = ("pytorch_lightning", "lightning")


def leaves_gradients_alone(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether a step of the optimiser is known to write to no gradient.

    Only exact types are known, not their subclasses. Where gradients are scaled, fused optimisers write.

    Example:
        >>> weights = [torch.zeros(2, requires_grad=True)]
        >>> leaves_gradients_alone(SGD(weights)), leaves_gradients_alone(SGD(weights, momentum=0.9, nesterov=True))
        (True, False)
    """
    if type(optimizer) not in _LEAVE_THEM:
        return False
    return not any(group.get(option) for group in optimizer.param_groups for option in _MAY_WRITE)


def gradients_stay(trainer: Any, module: Any, optimizer: torch.optim.Optimizer, own: Any) -> bool:
    """Tell whether nothing writes to the gradients between the hook before an optimiser step and the end of the batch.

    Clipping is another matter, see :func:`~curricula.trainers.clips_gradients`.

    Args:
        trainer: of either Lightning package.
        module: in training.
        optimizer: that is about to step.
        own: the callback that asks, whose own hook writes to none.
    """
    hooked = [module, *(callback for callback in trainer.callbacks if callback is not own)]
    return (
        module.automatic_optimization  # by hand, a second backward pass or `zero_grad(set_to_none=False)` may follow
        and getattr(trainer.precision_plugin, "scaler", None) is None
        and leaves_gradients_alone(optimizer)
        and not (optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks or _global_hooks())
        and not any(overrides(part, "on_before_optimizer_step") for part in hooked)
        and not overrides(module, "optimizer_step")
    )


def _global_hooks() -> bool:
    return bool(_global_optimizer_pre_hooks or _global_optimizer_post_hooks)


def overrides(part: Any, name: str) -> bool:
    """Tell whether a module or a callback has a hook of this name that is not Lightning's own."""
    function = getattr(part, name, None)
    package: str = getattr(function, "__module__", None) or ""
    return function is not None and package.split(".")[0] not in _LIGHTNING
