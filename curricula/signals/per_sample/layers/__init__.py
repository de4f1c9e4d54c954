"""The kinds of layers whose per-sample gradients follow from their inputs and the gradients of their outputs."""

from __future__ import annotations

from torch import nn

from curricula.signals.per_sample.layers.convolution import Convolution
from curricula.signals.per_sample.layers.embedding import Embedding
from curricula.signals.per_sample.layers.kind import LayerKind
from curricula.signals.per_sample.layers.linear import Linear
from curricula.signals.per_sample.layers.normalization import BatchNorm, GroupNorm, LayerNorm

KINDS: tuple[LayerKind, ...] = (Linear(), Convolution(), Embedding(), LayerNorm(), GroupNorm(), BatchNorm())


def kind_of(layer: nn.Module) -> LayerKind | None:
    """Return the kind of a layer, ``None`` if it is none of them."""
    return next((kind for kind in KINDS if isinstance(layer, kind.classes)), None)


__all__ = ["KINDS", "LayerKind", "kind_of"]
