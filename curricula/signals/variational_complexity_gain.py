"""Variational complexity gain: how much more complex a step made a network with Gaussian weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from curricula.signals.base import Signal
from curricula.variational.module import variational_modules

if TYPE_CHECKING:
    from torch import Tensor, nn

    from curricula.signals.step import Step


class VariationalComplexityGain(Signal):
    r"""VCG, a measure of complexity for variational inference.

    .. math:: \nu = KL(P_{\phi'} \,\Vert\, Q_{\psi'}) - KL(P_\phi \,\Vert\, Q_\psi)

    Under minimum description length the weights may cost more bits only where the data get cheaper by more, so that a
    rise marks a regularity worth learning. No batch is needed, and the loss is not looked at. The module needs weights
    that are Gaussian, :class:`~curricula.variational.Variational`; if it has several such parts their divergences add
    up. The sums are in float64: their difference is many orders of magnitude smaller than they are.

    Source: Graves et al. 2017, section 4.2.

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(signal=VariationalComplexityGain())
    """

    needs_parameters = True
    supports_shards = False

    def check(self, module: nn.Module, target: str | None) -> None:
        """Refuse a module without variational weights."""
        super().check(module, target)
        check_variational(self, module)

    def before_step(self, step: Step) -> None:
        """Measure the old divergence, before the first optimiser step of the batch."""
        if "before" not in step.notes:
            step.notes["before"] = _complexity(step)

    def after_step(self, step: Step) -> float:
        """Return the rise of the divergence, in nats."""
        return float(_complexity(step) - step.notes["before"])


def check_variational(signal: Signal, module: nn.Module) -> None:
    """Refuse a module without variational weights.

    Raises:
        ValueError: how to make them.
    """
    if not variational_modules(module):
        raise ValueError(
            f"{type(signal).__name__} measures weights that are Gaussian, and {type(module).__name__} has none: make "
            "its network variational, self.network = curricula.variational.Variational(network, samples=<size of the "
            "training set>), and return self.network.loss(loss) from training_step; or use L2Gain() or GradientL2Gain()"
        )


def _complexity(step: Step) -> Tensor:
    with torch.no_grad():
        return torch.stack([part.kl() for part in variational_modules(step.module)]).sum()
