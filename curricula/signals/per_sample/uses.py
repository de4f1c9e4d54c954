"""What the layers computed in the forward and backward pass of one micro-batch, noted by hooks."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from curricula.signals.per_sample.batch_axis import BatchAxis
from curricula.signals.per_sample.coverage import CoveredLayer, Survey
from curricula.signals.per_sample.layers.normalization import mixes_samples
from curricula.signals.per_sample.terms import Terms


class Use:
    """One call of a layer.

    Until the backward pass only the graph holds it, so that calls without a gradient are gone with their graph.

    Args:
        covered: the layer.
        parameters: those of its parameters that it was called with.
        kept: what is kept of its input, samples first.
        axis: of the samples in the output.
        place: number of the call.
    """

    def __init__(
        self,
        covered: CoveredLayer,
        parameters: Mapping[str, tuple[str, Tensor]],
        kept: tuple[Tensor, ...],
        axis: int,
        place: int,
    ) -> None:
        self.covered = covered
        self.parameters = parameters
        self.kept = kept
        self.axis = axis
        self.place = place
        self.gradient: Tensor | None = None
        self._version = _version(kept[0])

    @property
    def dtype(self) -> torch.dtype:
        """Return the precision of the gradient of the output."""
        assert self.gradient is not None
        return self.gradient.dtype

    def receive(self, gradient: Tensor) -> None:
        """Add a gradient of the output."""
        gradient = gradient.detach().movedim(self.axis, 0)
        self.gradient = gradient if self.gradient is None else self.gradient + gradient

    def inner_products(self, changes: Mapping[str, Tensor]) -> Tensor:
        """Return each sample's inner product of gradient and changes, shape ``(samples,)``.

        Args:
            changes: by attribute, at least one.
        """
        kept, gradient = self._wide(*changes.values())
        changes = {attribute: change.to(gradient.dtype) for attribute, change in changes.items()}
        response = self.covered.kind.response(self.covered.layer, kept, changes)
        return (response * gradient).flatten(1).sum(1)

    def terms(self, attribute: str) -> Terms:
        """Return the per-sample gradients of a parameter, in factors."""
        kept, gradient = self._wide(self.parameters[attribute][1])
        return self.covered.kind.terms(self.covered.layer, kept, gradient, attribute)

    def _wide(self, *like: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return what was kept and the gradients, in float32 at least."""
        if _version(self.kept[0]) != self._version:
            raise RuntimeError(
                f"the input of layer {self.covered.name!r} was changed in place after its forward pass: ask before it "
                f"is changed, or leave the layer out (exclude=[{self.covered.name!r}])"
            )
        assert self.gradient is not None
        dtype = torch.float32
        for tensor in (self.gradient, *like):
            dtype = torch.promote_types(dtype, tensor.dtype)
        kept = tuple(part.to(dtype) if part.is_floating_point() else part for part in self.kept)
        return kept, self.gradient.to(dtype)


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


class MicroBatch:
    """One micro-batch: its uses of layers, from :meth:`attach` to :meth:`detach`.

    Args:
        batch_size: number of samples.
        loss_scale: what the loss was multiplied by.
        axes: finds the samples.
    """

    def __init__(self, batch_size: int, loss_scale: float | Tensor, axes: BatchAxis) -> None:
        self.batch_size = batch_size
        self.loss_scale = loss_scale
        self.uses: list[Use] = []
        self.gradients: dict[str, Tensor] = {}
        """What the backward pass gave to the parameters that are to be verified."""
        self._refused: dict[str, str] = {}
        self._axes = axes
        self._handles: list[Any] = []
        self._calls = 0
        self._mixed: tuple[int, str] = (0, "")
        self._open = True
        self._unseen: str | None = None

    def attach(self, layers: Sequence[CoveredLayer], survey: Survey, verify: Mapping[str, Tensor]) -> None:
        """Set the hooks.

        Args:
            layers: to follow.
            survey: which layers may mix the samples.
            verify: parameters whose gradients are wanted.
        """
        me = weakref.ref(self)
        self._unseen = next((name for name, layer in survey.unseen if mixes_samples(layer)), None)
        for name, layer in survey.mixing:
            self._handles.append(layer.register_forward_hook(partial(_mixing, me, name)))
        for covered in layers:
            hook = partial(_called, me, weakref.ref(covered))  # a copy of the module must not report as this one
            self._handles.append(covered.layer.register_forward_hook(hook, prepend=True, with_kwargs=True))
        for name, parameter in verify.items():
            node = get_gradient_edge(parameter).node
            self._handles.append(_Held(node, node.register_prehook(partial(_accumulated, me, name))))

    def detach(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._open = False

    def refused(self) -> dict[str, str]:
        """Return the parameters that cannot be covered in this micro-batch, with reasons."""
        place, mixer = self._mixed
        reasons = dict(self._refused)
        for use in self.uses:
            if use.place < place or self._unseen is not None:
                where = f"{mixer!r}, called later," if self._unseen is None else f"{self._unseen!r}, which is compiled,"
                reason = (
                    f"{where} normalises by the statistics of the batch, so that no sample has a gradient of its own"
                )
                reasons |= {name: reason for name, _ in use.parameters.values()}
        return reasons

    def note_call(self, covered: CoveredLayer, inputs: Any, output: Tensor) -> None:
        """Note a call of a layer."""
        self._calls += 1
        own = covered.layer._parameters
        ours = {attribute: pair for attribute, pair in covered.parameters.items() if own.get(attribute) is pair[1]}
        if not ours or output.grad_fn is None or output.numel() == 0:
            return
        found: int | str
        if torch._C._functorch.is_functorch_wrapped_tensor(output):
            found = f"layer {covered.name!r} was called within a transform of torch.func"
        else:
            found = self._axes.find(covered, inputs, self.batch_size)
        if isinstance(found, int):
            reason = covered.kind.call_refusal(covered.layer, inputs)
            found = found if reason is None else f"layer {covered.name!r} {reason}"
        if isinstance(found, str):
            self._refused |= {name: found for name, _ in ours.values()}
            return
        kept = covered.kind.keep(covered.layer, inputs.detach().movedim(found, 0))
        use = Use(covered, ours, kept, found, self._calls)
        output.grad_fn.register_prehook(partial(_received, weakref.ref(self), use))

    def note_gradient(self, use: Use, gradient: Tensor) -> None:
        """Note the gradient of the output of a call, as long as hooks are set."""
        if not self._open:
            return
        if torch.is_grad_enabled():
            reason = f"layer {use.covered.name!r} was differentiated with create_graph=True, which may lead to it again"
            self._refused |= {name: reason for name, _ in use.parameters.values()}
        if use.gradient is None:
            self.uses.append(use)
        use.receive(gradient)

    def note_mixing(self, name: str) -> None:
        """Note that a layer mixed the samples."""
        self._mixed = (self._calls + 1, name)


class _Held:
    """A hook on a node that is kept for as long as the hook is."""

    def __init__(self, node: Any, handle: Any) -> None:
        self._node = node
        self._handle = handle

    def remove(self) -> None:
        self._handle.remove()
        self._node = None


def _called(
    me: weakref.ref[MicroBatch],
    reference: weakref.ref[CoveredLayer],
    layer: nn.Module,
    args: Any,
    kwargs: Any,
    output: Any,
) -> None:
    if torch.compiler.is_compiling():
        return
    batch, covered = me(), reference()
    if batch is None or covered is None or covered.layer is not layer:
        return
    if isinstance(output, Tensor) and output.requires_grad:
        batch.note_call(covered, args[0] if args else kwargs["input"], output)


def _mixing(me: weakref.ref[MicroBatch], name: str, layer: nn.Module, args: Any, output: Any) -> None:
    if torch.compiler.is_compiling():
        return
    batch = me()
    if batch is not None and getattr(output, "requires_grad", False) and mixes_samples(layer):
        batch.note_mixing(name)


def _received(me: weakref.ref[MicroBatch], use: Use, gradients: Sequence[Tensor | None]) -> None:
    batch = me()
    if batch is not None and gradients[0] is not None:
        batch.note_gradient(use, gradients[0])


def _accumulated(me: weakref.ref[MicroBatch], name: str, gradients: Sequence[Tensor | None]) -> None:
    batch = me()
    gradient = gradients[0]
    if batch is None or gradient is None:
        return
    gradient = gradient.detach()
    batch.gradients[name] = batch.gradients[name] + gradient if name in batch.gradients else gradient
