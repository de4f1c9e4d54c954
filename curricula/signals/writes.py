"""Whether anything was written to parameters, told by their bits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def fingerprint(tensors: Sequence[Tensor]) -> list[int]:
    """Return one number per tensor, the sum of the bits of its values read as integers.

    Of tensors that are sharded over processes it is that of the own shard. Waits for the device.
    """
    sums = [_bits(tensor).sum(dtype=torch.int64) for tensor in tensors if not is_lazy(tensor)]
    numbers: list[int] = torch.stack(sums).tolist() if sums else []
    return numbers


def _bits(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    if hasattr(tensor, "to_local"):
        tensor = tensor.to_local()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.view(_INTEGERS[tensor.element_size()])
