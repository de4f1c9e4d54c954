"""Convolutions: linear layers over windows of the input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from curricula.signals.per_sample.layers.kind import LayerKind
from curricula.signals.per_sample.terms import OuterProducts, Terms, Vectors


class Convolution(LayerKind):
    """``nn.Conv1d``, ``nn.Conv2d`` and ``nn.Conv3d`` with any groups, stride, padding and dilation."""

    classes = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

    def overrides(self, layer: Any) -> bool:
        """Tell whether the convolution is another one."""
        base = next(base for base in self.classes if isinstance(layer, base))
        return super().overrides(layer) or type(layer)._conv_forward is not base._conv_forward

    def call_refusal(self, layer: Any, inputs: Tensor) -> str | None:
        """Refuse an input without an axis for the samples."""
        if inputs.dim() != len(layer.kernel_size) + 2:
            return "was called with a single sample, which has no axis for the batch"
        return None

    def layout(self, layer: Any, attribute: str) -> str:
        """Return the number of groups."""
        return f"{layer.groups} groups" if attribute == "weight" else "vector"

    def response(self, layer: Any, kept: tuple[Tensor, ...], changes: Mapping[str, Tensor]) -> Tensor:
        """Return the change of the output, shape ``(samples, out_channels, ...)``."""
        bias = changes.get("bias")
        if "weight" in changes:
            output: Tensor = layer._conv_forward(kept[0], changes["weight"], bias)
            return output
        assert bias is not None
        return bias.view(-1, *[1] * len(layer.kernel_size))

    def terms(self, layer: Any, kept: tuple[Tensor, ...], gradients: Tensor, attribute: str) -> Terms:
        """Return outer products of windows and gradients for the weight, vectors for the bias."""
        count = len(gradients)
        if attribute == "bias":
            return Vectors(gradients.flatten(2).sum(2).unsqueeze(1))
        outputs = gradients.reshape(count, layer.groups, layer.out_channels // layer.groups, -1)
        return OuterProducts(_windows(layer, kept[0]), outputs.permute(0, 3, 1, 2))


def _windows(layer: Any, inputs: Tensor) -> Tensor:
    """Return what each output sees of the input, shape ``(samples, outputs, groups, channels * kernel)``."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    inputs = functional.pad(inputs, layer._reversed_padding_repeated_twice, mode=mode)
    axes = len(layer.kernel_size)
    for axis, (size, stride, dilation) in enumerate(
        zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), start=2
    ):
        inputs = inputs.unfold(axis, (size - 1) * dilation + 1, stride)[..., ::dilation]
    # samples, groups, channels, outputs ..., kernel ...
    windows = inputs.reshape(len(inputs), layer.groups, -1, *inputs.shape[2:])
    places = range(3, 3 + axes)
    ordered: Tensor = windows.permute(0, *places, 1, 2, *range(3 + axes, 3 + 2 * axes))
    return ordered.flatten(axes + 2).flatten(1, axes)
