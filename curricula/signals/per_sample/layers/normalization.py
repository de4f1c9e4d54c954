"""Normalisation layers: the gradient of the scale is that of the output, times the normalised input."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from curricula.signals.per_sample.layers.kind import LayerKind
from curricula.signals.per_sample.terms import Terms, Vectors


class _Normalization(LayerKind):
    """Layers with a scale and a shift for each feature, or each channel."""

    @abstractmethod
    def normalized(self, layer: Any, kept: tuple[Tensor, ...]) -> Tensor:
        """Return the output before scale and shift."""

    def shaped(self, parameter: Tensor, inputs: Tensor) -> Tensor:
        """Return a parameter in the shape in which it meets the input; here, one value per channel."""
        return parameter.view(-1, *[1] * (inputs.dim() - 2))

    def response(self, layer: nn.Module, kept: tuple[Tensor, ...], changes: Mapping[str, Tensor]) -> Tensor:
        """Return the change of the output, in its shape."""
        inputs = kept[0]
        bias = self.shaped(changes["bias"], inputs) if "bias" in changes else None
        if "weight" in changes:
            change = self.normalized(layer, kept) * self.shaped(changes["weight"], inputs)
            return change if bias is None else change + bias
        assert bias is not None
        return bias

    def terms(self, layer: nn.Module, kept: tuple[Tensor, ...], gradients: Tensor, attribute: str) -> Terms:
        """Return vectors: what the parameter's own axes leave is summed."""
        values = gradients if attribute == "bias" else gradients * self.normalized(layer, kept)
        shape = self.shaped(getattr(layer, attribute), gradients).shape
        summed = values.sum_to_size(len(values), *[1] * (values.dim() - 1 - len(shape)), *shape)
        return Vectors(summed.reshape(len(values), 1, -1))


class LayerNorm(_Normalization):
    """``nn.LayerNorm`` and ``nn.RMSNorm``."""

    classes = (nn.LayerNorm, nn.RMSNorm)
    any_leading = True

    def leading_axes(self, layer: Any, inputs: Tensor) -> int:
        """Return the axes that are not normalised over."""
        return inputs.dim() - len(layer.normalized_shape)

    def normalized(self, layer: Any, kept: tuple[Tensor, ...]) -> Tensor:
        """Return the output before scale and shift."""
        if isinstance(layer, nn.RMSNorm):
            return functional.rms_norm(kept[0], layer.normalized_shape, eps=layer.eps)
        return functional.layer_norm(kept[0], layer.normalized_shape, eps=layer.eps)

    def shaped(self, parameter: Tensor, inputs: Tensor) -> Tensor:
        """Return it as it is."""
        return parameter


class GroupNorm(_Normalization):
    """``nn.GroupNorm``."""

    classes = (nn.GroupNorm,)

    def normalized(self, layer: Any, kept: tuple[Tensor, ...]) -> Tensor:
        """Return the output before scale and shift."""
        return functional.group_norm(kept[0], layer.num_groups, eps=layer.eps)


class BatchNorm(_Normalization):
    """Batch normalisation by running statistics. By those of the batch, no sample has a gradient of its own."""

    classes = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

    def call_refusal(self, layer: nn.Module, inputs: Tensor) -> str | None:
        """Refuse statistics of the batch."""
        return "normalises by the statistics of the batch" if mixes_samples(layer) else None

    def keep(self, layer: Any, inputs: Tensor) -> tuple[Tensor, ...]:
        """Keep the statistics as they were."""
        return inputs, layer.running_mean.clone(), layer.running_var.clone()

    def normalized(self, layer: Any, kept: tuple[Tensor, ...]) -> Tensor:
        """Return the output before scale and shift."""
        inputs, mean, variance = kept
        return functional.batch_norm(inputs, mean, variance, eps=layer.eps)


def mixes_samples(layer: nn.Module) -> bool:
    """Tell whether a layer, as it is now, normalises by the statistics of the batch."""
    return isinstance(layer, _BatchNorm) and (layer.training or layer.running_mean is None)
