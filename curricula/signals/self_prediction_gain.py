"""Self prediction gain: prediction gain on a fresh batch of the same task."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from curricula.signals.base import Signal

if TYPE_CHECKING:
    from curricula.signals.step import Step


class SelfPredictionGain(Signal):
    r"""SPG, prediction gain without its bias towards noise.

    .. math:: \nu = L(x', \theta) - L(x', \theta'), \qquad x' \sim D_k

    where :math:`D_k` is the task that was trained on. A batch that was not trained on does not reward the fitting of
    its own noise. It has more variance than prediction gain, and costs a batch and two forward passes per step, with
    the same random numbers in both. Under manual optimisation the first is made before the first optimiser step of the
    batch.

    Where a batch has samples of several draws, so has the fresh one, of the same tasks in the same slots: the price
    does not depend on their number. The module must give one loss per sample.

    Source: Graves et al. 2017, section 4.1.

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(signal=SelfPredictionGain())
    """

    needs_probe = True
    needs_samples = True

    def before_step(self, step: Step) -> None:
        """Draw a fresh batch and evaluate it with the old parameters."""
        fresh = step.notes.setdefault("fresh", {})
        for draws in step.draw_sets:
            if draws[0].id not in fresh:
                batch = step.sample_slots(draws)
                fresh[draws[0].id] = draws, batch, step.probe_losses(batch)

    def after_step(self, step: Step) -> float:
        """Return the fall of the loss, in the units of the loss."""
        return self.after_step_per_draw(step)[0]

    def after_step_per_draw(self, step: Step) -> list[float]:
        """Return the fall of the loss on each draw's fresh samples, in the units of the loss."""
        gains: dict[int, float] = {}
        for draws, batch, before in step.notes["fresh"].values():
            after = step.probe_losses(batch)
            gains.update((draw.id, old - new) for draw, old, new in zip(draws, before, after, strict=True))
        return [gains.get(draw.id, math.nan) for draw in step.draws]
