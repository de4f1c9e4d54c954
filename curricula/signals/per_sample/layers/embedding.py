"""Embeddings: the gradient of the weight has few rows that are not zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from curricula.signals.per_sample.layers.kind import LayerKind
from curricula.signals.per_sample.terms import Rows, Terms


class Embedding(LayerKind):
    """``nn.Embedding``, sparse or not."""

    classes = (nn.Embedding,)
    any_leading = True

    def refusal(self, layer: Any) -> str | None:
        """Refuse options that make a sample's gradient depend on the others, or change the weight."""
        if layer.scale_grad_by_freq:
            return "has scale_grad_by_freq=True: the gradient of a sample depends on the others"
        if layer.max_norm is not None:
            return "has max_norm: its forward pass changes the weight"
        return None

    def leading_axes(self, layer: nn.Module, inputs: Tensor) -> int:
        """Return all axes of the indices."""
        return inputs.dim()

    def layout(self, layer: nn.Module, attribute: str) -> str:
        """Return ``matrix``, as linear layers do."""
        return "matrix"

    def response(self, layer: Any, kept: tuple[Tensor, ...], changes: Mapping[str, Tensor]) -> Tensor:
        """Return the change of the output, shape ``(samples, ..., embedding_dim)``."""
        change = functional.embedding(kept[0], changes["weight"])
        if layer.padding_idx is None:
            return change
        return change.masked_fill((kept[0] == layer.padding_idx).unsqueeze(-1), 0.0)

    def terms(self, layer: Any, kept: tuple[Tensor, ...], gradients: Tensor, attribute: str) -> Terms:
        """Return the rows."""
        count = len(gradients)
        if layer.padding_idx is not None:
            gradients = gradients.masked_fill((kept[0] == layer.padding_idx).unsqueeze(-1), 0.0)
        return Rows(kept[0].reshape(count, -1), gradients.reshape(count, -1, layer.embedding_dim))


def counts_upwards(indices: Tensor) -> bool:
    """Tell whether indices are 0, 1, 2 ..., as those of positions are."""
    return indices.dim() == 1 and torch.equal(indices, torch.arange(len(indices), device=indices.device).to(indices))
