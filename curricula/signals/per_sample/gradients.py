"""Per-sample gradients from one ordinary backward pass: their inner products and norms, without the gradients."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from curricula.signals.per_sample import terms
from curricula.signals.per_sample.batch_axis import BatchAxis
from curricula.signals.per_sample.coverage import Coverage, survey
from curricula.signals.per_sample.micro_batches import check_changes, factors_of, terms_of
from curricula.signals.per_sample.uses import MicroBatch
from curricula.signals.per_sample.verification import MISMATCH, verified

VERIFY_EVERY = 100
"""Passes after which the gradients are compared anew."""


class PerSampleGradients:
    r"""Inner products and norms of the gradients of single samples, from the one backward pass of a training step.

    The loss is a mean over the batch, :math:`\frac{1}{B} \sum_i \ell_i`, and :math:`g_i` is the gradient of
    :math:`\ell_i`. There is no second pass, and no :math:`g_i` is stored: the inputs of the layers and the gradients of
    their outputs, which hooks note, are enough.

    Covered are ``nn.Linear``, ``nn.Conv1d`` to ``3d``, ``nn.Embedding``, ``nn.LayerNorm``, ``nn.RMSNorm``,
    ``nn.GroupNorm`` and batch normalisation by running statistics, as often as they are called, with weights of their
    own or tied. :meth:`coverage` names the other parameters, with the reason; they count as if they were fixed. The sum
    over the samples is compared with the gradients that the backward pass gave to the parameters, until it agrees and
    again every 100 passes; a parameter for which it does not is no longer covered. A sample that no backward pass
    reached has a gradient of 0.

    Samples lie on the first axis of what layers are called with, in the order of the batch; in a model with a part that
    has ``batch_first=False``, perhaps on the second one. A layer that is called with another number of rows than the
    batch has samples is not covered. One that is always called with something else of exactly that number of rows, such
    as prototypes of classes, is yours to name in ``exclude``.

    Hooks are set between :meth:`start` and :meth:`stop` only. The inputs of the layers are held until the backward
    pass, even where activation checkpointing would free them, and then, with the gradients of the outputs, until
    :meth:`clear`.

    Args:
        module: in training; to be given anew if layers or parameters are replaced.
        exclude: names of modules, as in ``named_modules``, that are left out with all that is in them.

    Raises:
        ValueError: if a name of ``exclude`` is unknown, or a lazy layer has no shape yet.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 1, bias=False)
        >>> _ = layer.weight.data.zero_()
        >>> per_sample = PerSampleGradients(layer)
        >>> inputs = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
        >>> with per_sample.watch(batch_size=2):
        ...     (layer(inputs) - 1).square().mean().backward()
        >>> per_sample.inner_products({"weight": torch.tensor([[0.1, 0.0]])})
        tensor([-0.2000, -0.2000])
        >>> per_sample.gram()
        tensor([[ 4.,  4.],
                [ 4., 20.]])
        >>> per_sample.coverage().share
        1.0
    """

    def __init__(self, module: nn.Module, *, exclude: Collection[str] = ()) -> None:
        self._parameters = dict(module.named_parameters())
        self._survey = survey(module, exclude)
        self._uncovered = dict(self._survey.reasons)
        self._axes = BatchAxis(module)
        self._unverified: set[str] = set()
        self._passes = 0
        self._batches: list[MicroBatch] = []
        self._current: MicroBatch | None = None

    def start(self, batch_size: int, *, loss_scale: float | Tensor = 1.0) -> None:
        """Set the hooks for a forward and backward pass; what was noted before is kept, as earlier micro-batches.

        Args:
            batch_size: number of samples, at least 1.
            loss_scale: what the mean over the batch is multiplied by before the backward pass: the scale of a gradient
                scaler, or 1 over the number of micro-batches. A tensor of shape ``()`` is not waited for.

        Raises:
            ValueError: if a number is out of range.
            RuntimeError: if it was started already and not stopped.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size is {batch_size!r}: give the number of samples, an integer from 1 on")
        if not isinstance(loss_scale, Tensor) and not (loss_scale > 0 and math.isfinite(loss_scale)):
            raise ValueError(f"loss_scale is {loss_scale!r}: give a positive finite number")
        if self._current is not None:
            raise RuntimeError("started twice: call stop() after the backward pass, or clear() after an error")
        if isinstance(loss_scale, Tensor):
            loss_scale = loss_scale.detach().clone()  # a gradient scaler writes to its own
        batch = MicroBatch(batch_size, loss_scale, self._axes)
        layers = [
            covered
            for covered in self._survey.layers
            if any(p.requires_grad and name not in self._uncovered for name, p in covered.parameters.values())
        ]
        if self._passes % VERIFY_EVERY == 0:
            known = {name for covered in self._survey.layers for name, _ in covered.parameters.values()}
            self._unverified = known - set(self._uncovered)
        self._passes += 1
        verify = {
            name: self._parameters[name] for name in sorted(self._unverified) if self._parameters[name].requires_grad
        }
        self._current = batch
        self._batches.append(batch)
        batch.attach(layers, self._survey, verify)

    def stop(self) -> None:
        """Remove the hooks, after the backward pass. Without :meth:`start` before it, it does nothing."""
        batch, self._current = self._current, None
        if batch is None:
            return
        batch.detach()
        for name in batch.refused():
            batch.gradients.pop(name, None)
        with self._quietly():
            for name, agrees in verified(batch).items():
                self._unverified.discard(name)
                if not agrees:
                    self._uncovered.setdefault(name, MISMATCH)
        batch.gradients.clear()

    @contextmanager
    def watch(self, batch_size: int, *, loss_scale: float | Tensor = 1.0) -> Iterator[None]:
        """Start and stop around a forward and backward pass; after an error in it nothing is kept.

        Args:
            batch_size: see :meth:`start`.
            loss_scale: see :meth:`start`.
        """
        self.start(batch_size, loss_scale=loss_scale)
        try:
            yield
        except BaseException:
            self.clear()
            raise
        self.stop()

    def clear(self) -> None:
        """Remove the hooks, and forget all micro-batches."""
        if self._current is not None:
            self._current.detach()
            self._current = None
        self._batches.clear()

    def inner_products(self, changes: Mapping[str, Tensor]) -> Tensor:
        r"""Return :math:`\langle g_i, \Delta \rangle` for a change of the weights, shape ``(samples,)``.

        With :math:`\Delta` the step that an optimiser made, that is how much each sample's loss rose by it, to first
        order; the gain is the negative of it. It takes one forward pass of each covered layer.

        Args:
            changes: of the parameters by name, in their shapes; of covered ones all.

        Raises:
            ValueError: if a covered parameter is missing, a name is unknown or a shape is another.
            RuntimeError: if nothing was noted, or an input of a layer was changed since.
        """
        covered = self._noted()
        check_changes(changes, covered, self._parameters)
        factors = factors_of(self._batches, None, self._parameters.values())
        rows = []
        with self._quietly():
            for batch in self._batches:
                row = factors.new_zeros(batch.batch_size)
                for use in batch.uses:
                    own = {a: changes[name] for a, (name, _) in use.parameters.items() if name in covered}
                    if own:
                        row += use.inner_products(own).to(row)
                rows.append(row)
            return torch.cat(rows) * factors

    def squared_norms(self, slots: int | None = None) -> Tensor:
        r"""Return :math:`\lVert g_i \rVert^2`, shape ``(samples,)``.

        Args:
            slots: parts of equal size that every micro-batch is divided into, in order; then the squared norms of the
                *sums* of the gradients in each slot are returned, shape ``(micro-batches * slots,)``.

        Raises:
            ValueError: if ``slots`` does not divide the size of a micro-batch.
            RuntimeError: if nothing was noted, or an input of a layer was changed since.
        """
        covered = self._noted()
        factors = factors_of(self._batches, slots, self._parameters.values())
        total = torch.zeros_like(factors)
        with self._quietly():
            for name in covered:
                if parts := terms_of(self._batches, name, slots):
                    total += terms.squared_norms(parts).to(total)
            return total * factors.square()

    def gram(self, slots: int | None = None) -> Tensor:
        r"""Return :math:`K_{ij} = \langle g_i, g_j \rangle`, shape ``(samples, samples)``.

        Args:
            slots: as in :meth:`squared_norms`; then the inner products of the sums of the gradients in each slot.

        Raises:
            ValueError: if ``slots`` does not divide the size of a micro-batch.
            RuntimeError: if nothing was noted, or an input of a layer was changed since.
        """
        covered = self._noted()
        factors = factors_of(self._batches, slots, self._parameters.values())
        total = factors.new_zeros(len(factors), len(factors))
        with self._quietly():
            for name in covered:
                if parts := terms_of(self._batches, name, slots):
                    total += terms.gram(parts).to(total)
            return total * factors[:, None] * factors

    def coverage(self) -> Coverage:
        """Return which trained parameters are covered: in what was noted, or before that, as far as can be told."""
        reasons = self._reasons()
        trained = {name: p.numel() for name, p in self._parameters.items() if p.requires_grad}
        covered = tuple(name for name in trained if name not in reasons)
        total = sum(trained.values())
        return Coverage(
            covered=covered,
            uncovered={name: reasons[name] for name in trained if name in reasons},
            share=sum(trained[name] for name in covered) / total if total else 1.0,
        )

    def _reasons(self) -> dict[str, str]:
        """Return why parameters are not covered, also some that are not trained."""
        reasons = dict(self._uncovered)
        for batch in self._batches:
            reasons |= batch.refused()
        return reasons

    def _noted(self) -> list[str]:
        """Return the names of the covered parameters of which something was noted."""
        if self._current is not None:
            raise RuntimeError("not stopped yet: call stop() after the backward pass")
        if not self._batches:
            raise RuntimeError(
                "nothing was noted: call start() before the forward pass and stop() after the backward pass"
            )
        return list(self.coverage().covered)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Compute without gradients and in full precision."""
        device = next((parameter.device.type for parameter in self._parameters.values()), "cpu")
        with torch.no_grad(), torch.autocast(device, enabled=False):
            yield
