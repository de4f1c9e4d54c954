"""What the per-sample gradients need to know of a kind of layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from curricula.signals.per_sample.terms import Terms


class LayerKind(ABC):
    """A kind of layer with parameters that its output is linear in.

    All tensors have the samples on axis 0.

    Attributes:
        classes: of torch, whose ``forward`` is known. Subclasses count as long as they do not override it.
        attributes: names of the parameters.
        any_leading: whether all axes before the features are alike, so that the samples may lie on axis 1.
    """

    classes: tuple[type[nn.Module], ...]
    attributes = ("weight", "bias")
    any_leading = False

    def overrides(self, layer: nn.Module) -> bool:
        """Tell whether a layer computes something else than the class of torch it is derived from."""
        base = next(base for base in self.classes if isinstance(layer, base))
        return type(layer).forward is not base.forward

    def refusal(self, layer: nn.Module) -> str | None:
        """Return why a layer with these options is not covered, or ``None``."""
        return None

    def call_refusal(self, layer: nn.Module, inputs: Tensor) -> str | None:
        """Return why this call of the layer is not covered, or ``None``."""
        return None

    def keep(self, layer: nn.Module, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return what has to be kept of a call: its input, and what may have changed when it is asked for."""
        return (inputs,)

    def leading_axes(self, layer: nn.Module, inputs: Tensor) -> int:
        """Return how many axes of the input come before the features."""
        return 1

    def layout(self, layer: nn.Module, attribute: str) -> str:
        """Return how the gradients of a parameter lie: layers that share it must agree."""
        return "vector"

    @abstractmethod
    def response(self, layer: nn.Module, kept: tuple[Tensor, ...], changes: Mapping[str, Tensor]) -> Tensor:
        r"""Return how the output changes with the parameters.

        The output is linear in the parameters, :math:`y_i = f(a_i; w)`, so that with :math:`d_i` the gradient of the
        output, :math:`\langle g_i, \Delta \rangle = \langle d_i, f(a_i; \Delta) \rangle`.

        Args:
            layer: that was called.
            kept: of the call, see :meth:`keep`.
            changes: of some of its parameters, by attribute.
        """

    @abstractmethod
    def terms(self, layer: nn.Module, kept: tuple[Tensor, ...], gradients: Tensor, attribute: str) -> Terms:
        """Return the per-sample gradients of one parameter, in factors.

        Args:
            layer: that was called.
            kept: of the call, see :meth:`keep`.
            gradients: of its output.
            attribute: which parameter.
        """
