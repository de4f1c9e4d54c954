"""First-order prediction gain: prediction gain without a second forward pass, whatever the optimiser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curricula.signals.base import Signal
from curricula.signals.tensors import inner_product

if TYPE_CHECKING:
    from curricula.signals.step import Step


class FirstOrderPredictionGain(Signal):
    r"""The fall of the loss that the gradient promised for the step that was really made.

    .. math:: \nu = -\nabla_\theta L(x, \theta)^\top (\theta' - \theta)

    Prediction gain to first order in the parameter change of the actual optimiser: momentum, adaptive step sizes and
    weight decay included, where gradient prediction gain supposes a plain gradient step. The gradient is that of the
    loss, unscaled and unclipped; what clipping does to the step is in the parameter change. It needs a copy of the
    trained parameters and no forward pass; with dropout the masks of a second forward pass add no noise. It ignores
    curvature and, like prediction gain, seeks noise.

    A copy of the gradients is kept too where something may write to them before the step is measured: the trainer
    clips, gradients are scaled (automatic mixed precision), optimisation is manual, a hook before the step is
    overridden, or the optimiser is another than torch's SGD (without Nesterov's momentum), Adam, AdamW, RMSprop or
    Adagrad. The step is measured at the end of the batch, under manual optimisation at the next optimiser step if
    that is earlier: what else is written to the parameters until then, such as a limit to their norm, counts as a part
    of it.

    Under manual optimisation the gains of all optimiser steps of the batch are added up.

    Source: a first-order form of prediction gain (Graves et al. 2017, section 4.1).

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(signal=FirstOrderPredictionGain())
    """

    needs_gradients = True

    def before_step(self, step: Step) -> None:
        """Copy the trained parameters."""
        self._add_last(step)
        parameters = step.trained_parameters()
        copies = [parameter.detach().clone() for parameter in parameters]
        gradients = step.kept_gradients()
        if not step.gradients_stay:
            gradients = [gradient.clone() for gradient in gradients]
        step.notes["last"] = (parameters, copies, gradients, step.gradient_scale)

    def after_step(self, step: Step) -> float:
        """Return the promised fall of the loss, in the units of the loss."""
        self._add_last(step)
        return float(step.notes["gain"])

    def _add_last(self, step: Step) -> None:
        if "last" not in step.notes:
            return
        parameters, copies, gradients, scale = step.notes.pop("last")
        moved = [parameter.detach() - copy for parameter, copy in zip(parameters, copies, strict=True)]
        step.notes["gain"] = step.notes.get("gain", 0.0) - inner_product(moved, gradients) / scale
