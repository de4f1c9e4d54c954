"""Sums over many tensors, without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def squared_norm(tensors: Sequence[Tensor], *, exactly: bool = False) -> Tensor:
    r"""Return :math:`\sum_i \lVert t_i \rVert_2^2` as a tensor of shape ``()``.

    Half-precision tensors are summed in float32. Sparse tensors count by their (coalesced) values.

    Args:
        tensors: any shapes, all on one device; empty gives 0.
        exactly: sum in float64, where the difference of two such sums is wanted.
    """
    dense = [_dense(tensor) for tensor in tensors]
    if not dense:
        return torch.zeros(())
    if exactly and dense[0].device.type != "mps":
        norms = [torch.linalg.vector_norm(tensor, dtype=torch.float64) for tensor in dense]
    else:
        norms = list(torch._foreach_norm(dense))
    if len({norm.dtype for norm in norms}) > 1:
        norms = [norm.double() for norm in norms]
    return torch.stack(norms).square().sum()


def inner_product(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    r"""Return :math:`\sum_i \langle l_i, r_i \rangle` as a tensor of shape ``()``.

    Args:
        left: any shapes, all on one device; empty gives 0.
        right: of the same shapes; sparse tensors are made dense.
    """
    if not left and not right:
        return torch.zeros(())
    pairs = [(_full(a).flatten(), _full(b).flatten()) for a, b in zip(left, right, strict=True)]
    products = [torch.dot(a, b.to(a.dtype)) for a, b in pairs]
    if len({product.dtype for product in products}) > 1:
        products = [product.double() for product in products]
    return torch.stack(products).sum()


def _dense(tensor: Tensor) -> Tensor:
    return _widen(tensor.coalesce().values() if tensor.is_sparse else tensor)


def _full(tensor: Tensor) -> Tensor:
    return _widen(tensor.to_dense() if tensor.is_sparse else tensor)


def _widen(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
