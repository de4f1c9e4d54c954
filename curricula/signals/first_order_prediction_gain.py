"""First-order prediction gain: prediction gain without a second forward pass, whatever the optimiser."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from curricula.signals.base import Signal
from curricula.signals.draw_gains import DrawGains
from curricula.signals.micro_batch import mean
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

    Where a step has several draws, each draw's gain is that of the mean loss of its own samples,
    :math:`-\frac{1}{s} \sum_i \nabla_\theta L(x_i, \theta)^\top (\theta' - \theta)`, by the parameters that
    :class:`~curricula.signals.per_sample.PerSampleGradients` covers: the loss must be a mean over the batch. That some
    parameters are not covered is said once, that none is, is an error.

    Source: a first-order form of prediction gain (Graves et al. 2017, section 4.1).

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(signal=FirstOrderPredictionGain())
    """

    needs_gradients = True

    _draw_gains: DrawGains | None = None  # of steps with several draws

    def before_batch(self, step: Step) -> None:
        """Note what the layers compute, where the samples of several draws are to be told apart."""
        if not step.several:
            return
        if self._draw_gains is None:
            self._draw_gains = DrawGains()
        if step.num_micro_batches == 1:
            self._draw_gains.forget()  # of a step that was not made
        self._add_last_of_draws(step)
        self._draw_gains.watch(step)

    def after_batch(self, step: Step) -> None:
        """Remove the hooks from the module."""
        if self._draw_gains is not None:
            self._draw_gains.stop()

    def before_step(self, step: Step) -> None:
        """Copy the trained parameters."""
        if step.several:
            self._keep(step)
            return
        self._add_last(step)
        parameters = step.trained_parameters()
        copies = [parameter.detach().clone() for parameter in parameters]
        gradients = step.kept_gradients()
        if not step.gradients_stay:
            gradients = [gradient.clone() for gradient in gradients]
        step.notes["last"] = (parameters, copies, gradients, step.gradient_scale)

    def after_step(self, step: Step) -> float:
        """Return the promised fall of the loss, in the units of the loss."""
        if step.several:
            return self.after_step_per_draw(step)[0]
        self._add_last(step)
        return float(step.notes["gain"])

    def after_step_per_draw(self, step: Step) -> list[float]:
        """Return the promised fall of the loss on each draw's samples, in the units of the loss."""
        self._add_last_of_draws(step)
        gains: dict[int, list[float]] = step.notes.get("gains", {})
        return [mean(gains[draw.id]) if draw.id in gains else math.nan for draw in step.draws]

    def let_go(self) -> None:
        """Remove the hooks from the module, also after an error."""
        if self._draw_gains is not None:
            self._draw_gains.let_go()

    def _add_last(self, step: Step) -> None:
        if "last" not in step.notes:
            return
        parameters, copies, gradients, scale = step.notes.pop("last")
        moved = [parameter.detach() - copy for parameter, copy in zip(parameters, copies, strict=True)]
        step.notes["gain"] = step.notes.get("gain", 0.0) - inner_product(moved, gradients) / scale

    def _keep(self, step: Step) -> None:
        if "before" in step.notes:
            raise RuntimeError(
                "FirstOrderPredictionGain() tells the draws of a batch apart where it has one optimiser step, and this "
                "one has several: use PredictionGain() and define `curriculum_loss(self, batch, batch_idx)` in the "
                "module, which returns one loss per sample, or CurriculumLoader(draws_per_batch=1)"
            )
        self.after_batch(step)  # of which the gradients are there: what follows is not the step's
        trained = {id(parameter) for parameter in step.trained_parameters()}
        named = step.module.named_parameters()
        step.notes["before"] = {name: value.detach().clone() for name, value in named if id(value) in trained}

    def _add_last_of_draws(self, step: Step) -> None:
        if "before" in step.notes and self._draw_gains is not None:
            gains = step.notes.setdefault("gains", {})
            for number, found in self._draw_gains.take(step.module, step.notes.pop("before")).items():
                gains.setdefault(number, []).extend(found)
