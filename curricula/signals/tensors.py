"""Sums over many tensors, whole or sharded over processes, without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

_WHOLE = (Tensor, nn.Parameter)


def squared_norm(tensors: Sequence[Tensor], *, exactly: bool = False) -> Tensor:
    r"""Return :math:`\sum_i \lVert t_i \rVert_2^2` as a tensor of shape ``()``.

    Half-precision tensors are summed in float32. A complex number counts as its two parts. Sparse tensors count by
    their (coalesced) values. Of tensors that are sharded over processes (``DTensor``, as FSDP2 makes them) every
    process sums its own shard, and the sums are added up by one all-reduce: call it on all processes.

    Args:
        tensors: any shapes, all on one device; empty gives 0.
        exactly: sum in float64, where the difference of two such sums is wanted.
    """
    if _any_sharded(tensors):
        return _over_shards([(tensor,) for tensor in tensors], lambda own: squared_norm(own, exactly=exactly))
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

    Sharded tensors are added up over the processes, as in :func:`squared_norm`. Of complex tensors the real part
    :math:`\Re \langle \bar l_i, r_i \rangle` is returned: with ``right`` the gradient of a real loss, as torch defines
    it, and ``left`` a change of the parameters, that is the change of the loss to first order.

    Args:
        left: any shapes, all on one device; empty gives 0.
        right: of the same shapes, sharded in the same way; sparse tensors are made dense.
    """
    if not left and not right:
        return torch.zeros(())
    if _any_sharded(left):
        return _over_shards(list(zip(left, right, strict=True)), inner_product)
    pairs = [(_full(a).flatten(), _full(b).flatten()) for a, b in zip(left, right, strict=True)]
    products = [torch.dot(a, b.to(a.dtype)) for a, b in pairs]
    if len({product.dtype for product in products}) > 1:
        products = [product.double() for product in products]
    return torch.stack(products).sum()


def _any_sharded(tensors: Sequence[Tensor]) -> bool:
    if all(type(tensor) in _WHOLE for tensor in tensors):  # by far the most common, and quick
        return False
    return any(hasattr(tensor, "placements") for tensor in tensors)


def _over_shards(rows: Sequence[tuple[Tensor, ...]], total: Any) -> Tensor:
    """Return the sum of ``total(*columns)`` over all rows, with one all-reduce per way of sharding."""
    groups: dict[Any, list[tuple[Tensor, ...]]] = {}
    for row in rows:
        groups.setdefault(_layout(row[0]), []).append(row)
    sums = [_whole(total(*zip(*map(_local, group), strict=True)), layout) for layout, group in groups.items()]
    return torch.stack([part.double() for part in sums]).sum()


def _layout(tensor: Tensor) -> tuple[Any, ...] | None:
    if type(tensor) in _WHOLE or not hasattr(tensor, "placements"):
        return None
    sharded: DTensor = tensor  # type: ignore[assignment]
    if any(placement.is_partial() for placement in sharded.placements):
        raise ValueError("a tensor whose values are still to be added up over processes has no norm: redistribute it")
    return sharded.device_mesh, tuple(placement.is_replicate() for placement in sharded.placements)


def _local(row: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in row)


def _whole(own: Tensor, layout: tuple[Any, ...] | None) -> Tensor:
    if layout is None:
        return own
    from torch.distributed.tensor import DTensor, Partial, Replicate  # not in every build of torch

    mesh, replicated = layout
    placements = [Replicate() if whole else Partial() for whole in replicated]
    shared: Tensor = DTensor.from_local(own.detach(), mesh, placements, run_check=False).full_tensor()
    return shared


def _dense(tensor: Tensor) -> Tensor:
    return _widen(tensor.coalesce().values() if tensor.is_sparse else tensor)


def _full(tensor: Tensor) -> Tensor:
    return _widen(tensor.to_dense() if tensor.is_sparse else tensor)


def _widen(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
