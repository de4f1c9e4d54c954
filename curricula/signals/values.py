"""The values of tensors, arrays and generators, kept and written back in place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_PLAIN = frozenset((Tensor, nn.Parameter, nn.Buffer) if hasattr(nn, "Buffer") else (Tensor, nn.Parameter))


class KeptTensors:
    """Tensors with their values at one moment.

    Values are written through ``tensor.data``, which leaves the version of the tensor alone: a graph that is still
    alive, as truncated backpropagation through time keeps one, must not take a tensor for changed that is not.
    """

    __slots__ = ("_inference", "_others", "_storages", "_tensors", "_values", "_versions")

    def __init__(self) -> None:
        self._tensors: list[Tensor] = []
        self._storages: list[Tensor] = []
        self._values: list[Tensor] = []
        self._versions: list[int] = []
        self._others: list[tuple[Tensor, Tensor]] = []
        self._inference: list[tuple[Tensor, Tensor]] = []

    def add(self, tensor: Tensor) -> None:
        """Keep the values of a tensor."""
        if tensor.is_inference():  # such as one kept from a validation; it counts no versions
            self._inference.append((tensor, tensor.clone()))
            return
        if tensor.layout == torch.strided and torch._debug_has_internal_overlap(tensor) == 1:
            return  # an expanded tensor, which nothing can write to in place
        storage = tensor.data
        if type(tensor) in _PLAIN and tensor.layout == torch.strided:
            self._tensors.append(tensor)
            self._storages.append(storage)
            self._values.append(storage.clone())
            self._versions.append(tensor._version)
        else:
            self._others.append((storage, storage.clone()))

    def restore(self) -> None:
        """Write the values back."""
        for tensor, storage in zip(self._tensors, self._storages, strict=True):
            if tensor.data_ptr() != storage.data_ptr() or tensor.stride() != storage.stride():
                tensor.data = storage  # the step gave it others, as `target.data = ...` does
        with torch.no_grad():
            if self._tensors:
                torch._foreach_copy_(self._storages, self._values)
            for storage, values in self._others:
                storage.copy_(values)
            if self._inference:
                with torch.inference_mode():
                    for tensor, values in self._inference:
                        tensor.copy_(values)

    def restore_versions(self) -> None:
        """Set the versions back as well, for values that nobody could tell from those before."""
        for tensor, version in zip(self._tensors, self._versions, strict=True):
            if tensor._version != version:
                _set_version(tensor, version)


def _set_version(tensor: Tensor, version: int) -> None:
    set_counter: Any = torch._C._autograd._unsafe_set_version_counter
    try:
        set_counter((tensor,), (version,))
    except TypeError:  # torch before 2.6
        set_counter(tensor, version)


def place_of(tensor: Tensor) -> int:
    """Return where the values of a tensor begin in memory, 0 where that cannot be told (wrappers, sparse layouts)."""
    try:
        return tensor.untyped_storage().data_ptr()
    except Exception:  # noqa: BLE001 - what is raised depends on the kind of tensor
        return 0
