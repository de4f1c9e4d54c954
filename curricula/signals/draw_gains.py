"""First-order gains of the draws of a step, from the gradients of single samples."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from curricula.batches import samples_in
from curricula.signals.per_sample import Coverage, PerSampleGradients

if TYPE_CHECKING:
    from curricula.signals.step import Step
    from curricula.teacher import Draw

_log = logging.getLogger(__name__)

_INSTEAD = "use PredictionGain(), which takes the losses of the samples, or CurriculumLoader(draws_per_batch=1)"


class DrawGains:
    """Watches the batches of a step, and says what a change of the parameters was worth to each draw.

    The gains are of the parameters that per-sample gradients cover; that some are not is said once.
    """

    def __init__(self) -> None:
        self._gradients: PerSampleGradients | None = None
        self._of: tuple[int, ...] = ()  # parameters
        self._watched: list[tuple[tuple[Draw, ...], int]] = []  # draws and size of each batch
        self._told = False

    def watch(self, step: Step) -> None:
        """Note the forward and backward pass of the step's last batch, which is about to be trained on.

        Raises:
            RuntimeError: if the number of its samples cannot be told.
        """
        micro = step.micro_batches.last
        size = step.batch_size if len(micro.draws) > 1 and step.batch_size else samples_in(micro.batch)
        if size is None:
            raise RuntimeError(
                f"the number of samples in a batch cannot be told from what it holds ({type(micro.batch).__name__}): "
                f"let it hold tensors whose first dimension is that of the samples, or {_INSTEAD}"
            )
        gradients = self._for(step.module)
        if gradients is not None:
            gradients.start(size, loss_scale=step.loss_scale)
            self._watched.append((micro.draws, size))

    def stop(self) -> None:
        """Remove the hooks: the backward passes of the batch are over."""
        if self._gradients is not None:
            self._gradients.stop()

    def take(self, module: nn.Module, before: dict[str, Tensor]) -> dict[int, list[float]]:
        """Return the gains of the batches that were watched, and forget these.

        Args:
            module: with the parameters of now.
            before: the trained parameters before the change, by name.

        Returns:
            For the number of each draw, its gain by each batch.

        Raises:
            RuntimeError: if no parameter is covered.
        """
        gradients, watched = self._gradients, self._watched
        if gradients is None or not watched:
            return {}
        self._check(gradients.coverage())
        found: dict[int, list[float]] = {}
        with torch.no_grad():
            changes = {
                name: parameter.detach() - before[name] if name in before else torch.zeros_like(parameter)
                for name, parameter in module.named_parameters()
            }
            products = gradients.inner_products(changes).double().cpu()
        sizes = [size for _, size in watched]
        for (draws, _), part in zip(watched, torch.split(products, sizes), strict=True):
            for draw, gain in zip(draws, (-part.reshape(len(draws), -1).mean(dim=1)).tolist(), strict=True):
                found.setdefault(draw.id, []).append(gain if math.isfinite(gain) else math.nan)
        self.forget()
        return found

    def forget(self) -> None:
        """Remove the hooks, and forget the batches that were watched."""
        self._watched = []
        if self._gradients is not None:
            self._gradients.clear()

    def let_go(self) -> None:
        """Remove the hooks, and forget the module."""
        self.forget()
        self._gradients, self._of = None, ()

    def _for(self, module: nn.Module) -> PerSampleGradients | None:
        parameters = tuple(map(id, module.parameters()))
        if parameters != self._of:
            if any(isinstance(parameter, nn.parameter.UninitializedParameter) for parameter in module.parameters()):
                return None  # a lazy layer knows its shape after its first batch
            self.forget()
            self._gradients, self._of = PerSampleGradients(module), parameters
        return self._gradients

    def _check(self, coverage: Coverage) -> None:
        if not coverage.covered:
            raise RuntimeError(
                "the draws of a step cannot be told apart by the gradients of their samples, of which there are none "
                f"for any parameter ({_listed(coverage)}): {_INSTEAD}"
            )
        if coverage.uncovered and not self._told:
            self._told = True
            _log.warning(
                "the gains of the draws are those by %.0f %% of the parameters; there are no gradients of samples for "
                "the others (%s)",
                100 * coverage.share,
                _listed(coverage),
            )


def _listed(coverage: Coverage, most: int = 3) -> str:
    reasons: dict[str, str] = {}
    for name, reason in coverage.uncovered.items():
        reasons.setdefault(reason, name)
    told = [f"{name}: {reason}" for reason, name in list(reasons.items())[:most]]
    return "; ".join(told) + (", and more" if len(reasons) > most else "")
