"""Linear layers: the gradient of the weight is a sum of outer products over all axes between samples and features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from curricula.signals.per_sample.layers.kind import LayerKind
from curricula.signals.per_sample.terms import OuterProducts, Terms, Vectors


class Linear(LayerKind):
    r"""``nn.Linear``: :math:`g_i = \sum_t d_{it} a_{it}^\top`."""

    classes = (nn.Linear,)
    any_leading = True

    def leading_axes(self, layer: nn.Module, inputs: Tensor) -> int:
        """Return all axes but the last."""
        return inputs.dim() - 1

    def layout(self, layer: nn.Module, attribute: str) -> str:
        """Return ``matrix``, as embeddings do."""
        return "matrix" if attribute == "weight" else "vector"

    def response(self, layer: nn.Module, kept: tuple[Tensor, ...], changes: Mapping[str, Tensor]) -> Tensor:
        """Return the change of the output, shape ``(samples, ..., out_features)``."""
        bias = changes.get("bias")
        if "weight" in changes:
            return functional.linear(kept[0], changes["weight"], bias)
        assert bias is not None
        return bias

    def terms(self, layer: Any, kept: tuple[Tensor, ...], gradients: Tensor, attribute: str) -> Terms:
        """Return outer products for the weight, vectors for the bias."""
        count = len(gradients)
        if attribute == "bias":
            return Vectors(gradients.reshape(count, -1, layer.out_features).sum(1, keepdim=True))
        inputs = kept[0].reshape(count, -1, 1, layer.in_features)
        return OuterProducts(inputs, gradients.reshape(count, -1, 1, layer.out_features))
