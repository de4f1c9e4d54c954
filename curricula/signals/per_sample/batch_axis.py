"""On which axis of a layer's input the samples lie."""

from __future__ import annotations

from torch import Tensor, nn

from curricula.signals.per_sample.coverage import CoveredLayer
from curricula.signals.per_sample.layers.embedding import Embedding, counts_upwards


class BatchAxis:
    """Finds the axis of the samples by its size, and remembers what it saw.

    It is axis 0. In models with a part that has ``batch_first=False`` it may be axis 1 as well; where both have the
    size of the batch, calls in which only one of them had it decide.

    Args:
        module: that is called.
    """

    def __init__(self, module: nn.Module) -> None:
        self._time_first = any(getattr(part, "batch_first", True) is False for part in module.modules())
        self._axes: dict[str, int] = {}
        self._refused: dict[str, str] = {}

    def find(self, covered: CoveredLayer, inputs: Tensor, batch_size: int) -> int | str:
        """Return the axis, or why there is none.

        A layer that was once called without the samples on an axis may have their size by coincidence the next time: it
        is refused from then on.

        Args:
            covered: the layer.
            inputs: its input.
            batch_size: number of samples.
        """
        if covered.name in self._refused:
            return self._refused[covered.name]
        leading = max(0, covered.kind.leading_axes(covered.layer, inputs))
        sizes = tuple(inputs.shape[:leading])
        may_be = range(2 if covered.kind.any_leading and self._time_first else 1)
        axes = [axis for axis in may_be if sizes[axis : axis + 1] == (batch_size,)]
        if len(axes) == 1:
            known = self._axes.get(covered.name)
            if known is None and self._are_positions(covered, inputs):
                return f"layer {covered.name!r} was called with positions, the same for all samples"
            if known is None or known == axes[0]:
                self._axes[covered.name] = axes[0]
                return axes[0]
        elif axes and covered.name in self._axes:
            return self._axes[covered.name]
        elif axes:
            return (
                f"layer {covered.name!r} was called with {tuple(inputs.shape)}: with {batch_size} samples, either of "
                "the first two axes may be theirs"
            )
        return self._refused.setdefault(
            covered.name,
            f"layer {covered.name!r} was called with {tuple(inputs.shape)}, where axis 0 should have the {batch_size} "
            "samples of the batch",
        )

    @staticmethod
    def _are_positions(covered: CoveredLayer, inputs: Tensor) -> bool:
        return isinstance(covered.kind, Embedding) and counts_upwards(inputs)
