"""The parameters and gradients of a step: unscaled, and as they were before a clipping."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StepGradients:
    """What a signal may ask about the parameters and gradients of the optimiser step in hand.

    Args:
        module: in training.
    """

    __slots__ = ("_gradient_scale", "_optimizer", "_unclipped", "gradients_stay", "module")

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.gradients_stay = False
        self._optimizer: torch.optim.Optimizer | None = None
        self._gradient_scale = 1.0
        self._unclipped: dict[int, Tensor] = {}

    def parameters(self) -> list[Tensor]:
        """Return the trainable parameters (not copies)."""
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    def trained_parameters(self) -> list[Tensor]:
        """Return the parameters that have a gradient (not copies), in the order of :meth:`gradients`.

        Of several optimisers, those of the one that steps.
        """
        with_gradients = [parameter for parameter in self.module.parameters() if parameter.grad is not None]
        if self._optimizer is None:
            return with_gradients  # type: ignore[return-value]
        own = {id(parameter) for group in self._optimizer.param_groups for parameter in group["params"]}
        return [parameter for parameter in with_gradients if id(parameter) in own]

    def gradients(self) -> list[Tensor]:
        """Return the gradients of the step's loss: unscaled and unclipped.

        Only valid in ``before_step`` and, for the micro-batches so far, in ``after_backward``.
        """
        gradients = self.kept_gradients()
        if self._gradient_scale != 1.0:
            return list(torch._foreach_div(gradients, self._gradient_scale))
        return gradients

    def kept_gradients(self) -> list[Tensor]:
        """Return the gradients as they are, in the order of :meth:`trained_parameters`; those from before a clipping.

        They may still be multiplied by :attr:`gradient_scale`.
        """
        kept = self._unclipped
        return [
            kept.get(id(parameter), parameter.grad) if kept else parameter.grad
            for parameter in self.trained_parameters()
            if parameter.grad is not None
        ]

    # ---------------------------------------------------------------- for the callback

    def keep_unclipped(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep the gradients of an optimiser, which are about to be clipped by hand, until its step is over."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and id(parameter) not in self._unclipped:
                    self._unclipped[id(parameter)] = parameter.grad.detach().clone()

    def forget_unclipped(self) -> None:
        """Let go of what :meth:`keep_unclipped` kept."""
        self._unclipped.clear()

    def set_optimizer(self, optimizer: torch.optim.Optimizer, *, gradients_stay: bool = False) -> None:
        """Set the optimiser whose parameters are trained, and whether their gradients are left alone until the end."""
        self._optimizer = optimizer
        self.gradients_stay = gradients_stay

    @property
    def gradient_scale(self) -> float:
        """What the gradients themselves are multiplied by; :meth:`gradients` has it taken out."""
        return self._gradient_scale

    def set_gradient_scale(self, scale: float) -> None:
        """Set what the gradients are still multiplied by (automatic mixed precision)."""
        self._gradient_scale = scale
