"""What target and mean prediction gain share: the fall of the loss on a fresh batch of another task than the step's."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from curricula.signals.base import Signal

if TYPE_CHECKING:
    from curricula.signals.step import Step


class FreshBatchGain(Signal):
    r"""The fall of the loss on a fresh batch by the optimiser step.

    .. math:: \nu = L(x', \theta) - L(x', \theta')

    A batch that was not trained on does not reward the fitting of its own noise. Its price is a batch more and two
    forward passes per step, with the same random numbers in both. Under manual optimisation the first is made before
    the first optimiser step of the batch.

    It is one number for the whole step. Where a step has several draws, it does not tell which of them did how much: to
    reward all of them with it would drown what one draw did in what the others did.
    """

    needs_probe = True
    needs_samples = True

    @abstractmethod
    def _task(self, step: Step) -> str | None:
        """Return the task to sample."""

    def before_step(self, step: Step) -> None:
        """Draw the fresh batch and evaluate it with the old parameters."""
        if "batch" not in step.notes:
            step.notes["batch"] = step.sample(self._task(step))
            step.notes["loss"] = step.probe_loss(step.notes["batch"])

    def after_step(self, step: Step) -> float:
        """Return the fall of the loss, in the units of the loss."""
        return float(step.notes["loss"] - step.probe_loss(step.notes["batch"]))
