"""Unbiased gradient prediction gain: the squared norm of the expected gradient, from two halves of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curricula.signals.base import Signal
from curricula.signals.tensors import inner_product

if TYPE_CHECKING:
    from curricula.signals.step import Step


class UnbiasedGradientPredictionGain(Signal):
    r"""UGPG, gradient prediction gain without the reward for noise.

    .. math:: \nu = \Big\langle \frac{1}{a} \sum_{i \le a} g_i, \; \frac{1}{n - a} \sum_{i > a} g_i \Big\rangle,
       \qquad \mathbb{E}[\nu] = \lVert \mathbb{E}[g] \rVert_2^2

    with :math:`g_i` the gradient of the i-th of the step's n micro-batches, before clipping, and
    :math:`a = \lfloor m / 2 \rfloor` where m is what the trainer accumulates. The squared norm that
    :class:`~curricula.signals.GradientPredictionGain` takes has the variance of the gradient on top of this, so that a
    task of pure noise looks like one that is being learned. Here the noise of the two halves is independent and
    cancels on average.

    It needs a step of two micro-batches or more, ``Trainer(accumulate_grad_batches=2)``; with half the batch size the
    training is the same as before. The cost is one copy of the gradient and one inner product, no forward pass. Over
    ranks, the first half is a rank's own and the second all the rest, and the gains are averaged. A step that was cut
    short to its first half (at the end of an epoch) has no gain that could be told, and teaches nothing.

    Source: McCandlish et al. 2018 (arXiv:1812.06162), appendix A, for the estimate; Graves et al. 2017, section 4.1.

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(signal=UnbiasedGradientPredictionGain())
        >>> # Trainer(accumulate_grad_batches=2, callbacks=[callback])
    """

    needs_gradients = True
    needs_micro_batches = True

    def after_backward(self, step: Step) -> None:
        """Copy the gradient of the first half."""
        if step.num_micro_batches == step.accumulation // 2:
            copies = [gradient.detach().clone() for gradient in step.gradients()]
            step.notes["half"] = dict(zip(map(id, step.trained_parameters()), copies, strict=True))

    def before_step(self, step: Step) -> None:
        """Take the inner product of the halves."""
        half = step.notes.pop("half", None)
        planned, first = step.accumulation, step.accumulation // 2
        rest = step.world_size * step.num_micro_batches - first
        if half is None or step.num_micro_batches <= first:
            return
        both = dict(zip(map(id, step.trained_parameters()), step.gradients(), strict=True))
        known = [both[parameter] for parameter in half]
        # Every micro-batch came in with 1/planned of its gradient, and the sum was averaged over the ranks.
        product = step.world_size * inner_product(list(half.values()), known)
        product = product - inner_product(list(half.values()), list(half.values()))
        step.notes["gain"] = product * planned**2 / (first * rest)

    def after_step(self, step: Step) -> float | None:
        """Return the inner product, ``None`` if there was no second half."""
        return float(step.notes["gain"]) if "gain" in step.notes else None
