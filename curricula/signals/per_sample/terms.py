"""Per-sample gradients of one parameter in factors, and their inner products.

Every tensor has the samples on axis 0 and what is summed over (time, places, several uses of the parameter) on axis 1.
Terms of several calls are joined on axis 1, those of several micro-batches on axis 0, and samples of one slot become
one sample with more on axis 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

MANY = 2**22
"""Numbers in a temporary tensor, above which the work is done in parts."""


class Terms(ABC):
    """Per-sample gradients of one parameter, each a sum over axis 1.

    Args:
        factors: shape ``(samples, summed, ...)`` each.
    """

    def __init__(self, *factors: Tensor) -> None:
        self.factors = factors

    def pooled(self, slots: int) -> Terms:
        """Return the sums over so many slots of consecutive samples."""
        return type(self)(*(factor.reshape(slots, -1, *factor.shape[2:]) for factor in self.factors))

    @abstractmethod
    def squared_norms(self) -> Tensor:
        """Return the squared norm of each sample's gradient, shape ``(samples,)``."""

    @abstractmethod
    def gram(self) -> Tensor:
        """Return all inner products, shape ``(samples, samples)``."""


class Vectors(Terms):
    """Gradients as they are: shape ``(samples, summed, size)``."""

    def squared_norms(self) -> Tensor:
        """Return the squared norms."""
        return self.factors[0].sum(1).square().sum(1)

    def gram(self) -> Tensor:
        """Return all inner products."""
        gradients = self.factors[0].sum(1)
        return gradients @ gradients.T


class Matrix(Terms):
    """Gradients of a matrix, which are made a few rows at a time."""

    @abstractmethod
    def rows(self, start: int, stop: int) -> Tensor:
        """Return some rows of every sample's gradient, shape ``(samples, numbers)``."""


class OuterProducts(Matrix):
    r"""Gradients :math:`g_i = \sum_t d_{it} a_{it}^\top`, for each group of features.

    Args:
        inputs: shape ``(samples, summed, groups, columns)``.
        gradients: shape ``(samples, summed, groups, rows)``.

    Inner products come from those of the factors, :math:`\langle g_i, g_j \rangle = \sum_{ts} \langle a_{it}, a_{js}
    \rangle \langle d_{it}, d_{js} \rangle`, or from the gradients, a few rows at a time: whichever takes less.
    """

    def rows(self, start: int, stop: int) -> Tensor:
        """Return the same rows of every group."""
        inputs, gradients = (factor.transpose(1, 2) for factor in self.factors)  # samples, groups, summed, ...
        return (gradients[..., start:stop].transpose(2, 3) @ inputs).flatten(1)

    def squared_norms(self) -> Tensor:
        """Return the squared norms."""
        _, summed, _, columns = self.factors[0].shape
        num_rows = self.factors[1].shape[3]
        if summed * (columns + num_rows) > columns * num_rows:
            return _norms_by_rows([self], num_rows)
        inputs, gradients = (factor.transpose(1, 2) for factor in self.factors)
        step = self._samples_at_once(summed)
        parts = zip(torch.split(inputs, step), torch.split(gradients, step), strict=True)
        return torch.cat([(a @ a.mT * (d @ d.mT)).sum((1, 2, 3)) for a, d in parts])

    def gram(self) -> Tensor:
        """Return all inner products."""
        samples, summed, _, columns = self.factors[0].shape
        num_rows = self.factors[1].shape[3]
        if samples * summed**2 * (columns + num_rows) > (summed + samples) * columns * num_rows:
            return _gram_by_rows([self], num_rows)
        # groups, samples and summed, ...
        inputs, gradients = (factor.flatten(0, 1).transpose(0, 1) for factor in self.factors)
        step = summed * self._samples_at_once(samples * summed)
        parts = zip(torch.split(inputs, step, 1), torch.split(gradients, step, 1), strict=True)
        products = ((a @ inputs.mT * (d @ gradients.mT)).sum(0) for a, d in parts)
        return torch.cat([part.view(-1, summed, samples, summed).sum((1, 3)) for part in products])

    def _samples_at_once(self, others: int) -> int:
        _, summed, groups, _ = self.factors[0].shape
        return max(1, MANY // max(1, summed * groups * others))


class Rows(Matrix):
    """Gradients that are sums of single rows.

    Args:
        indices: which row, shape ``(samples, summed)``.
        gradients: what is added to it, shape ``(samples, summed, columns)``.
    """

    def rows(self, start: int, stop: int) -> Tensor:
        """Return some rows, most of them zero."""
        indices, gradients = self.factors
        samples = torch.arange(len(indices), device=indices.device)[:, None].expand_as(indices)
        within = (indices >= start) & (indices < stop)
        places = samples[within] * (stop - start) + indices[within] - start
        dense = gradients.new_zeros(len(indices) * (stop - start), gradients.shape[2])
        return dense.index_add_(0, places, gradients[within]).view(len(indices), -1)

    def squared_norms(self) -> Tensor:
        """Return the squared norms, from those rows that are there."""
        indices, gradients = self.factors
        _, indices = torch.unique(indices, return_inverse=True)
        samples = torch.arange(len(indices), device=indices.device)[:, None]
        size = indices.numel()
        pairs, places = torch.unique(samples * size + indices, return_inverse=True)
        sums = gradients.new_zeros(len(pairs), gradients.shape[2]).index_add_(
            0, places.flatten(), gradients.flatten(0, 1)
        )
        return gradients.new_zeros(len(indices)).index_add_(0, pairs // max(1, size), sums.square().sum(1))

    def gram(self) -> Tensor:
        """Return all inner products, from those rows that are there."""
        present, indices = torch.unique(self.factors[0], return_inverse=True)
        return _gram_by_rows([Rows(indices, self.factors[1])], len(present))


def joined(batches: Sequence[Sequence[Terms]], sizes: Sequence[int]) -> list[Terms]:
    """Return the terms of all calls in all micro-batches as one of each class.

    Args:
        batches: for each micro-batch the terms of all calls, of the same parameter.
        sizes: samples in each micro-batch.
    """
    result = []
    for cls in dict.fromkeys(type(terms) for batch in batches for terms in batch):
        own = [[terms.factors for terms in batch if type(terms) is cls] for batch in batches]
        example = next(factors for calls in own for factors in calls)
        result.append(
            cls(
                *(
                    _joined([[factors[k] for factors in calls] for calls in own], sizes, like)
                    for k, like in enumerate(example)
                )
            )
        )
    return result


def _joined(batches: Sequence[Sequence[Tensor]], sizes: Sequence[int], like: Tensor) -> Tensor:
    """Join tensors on axis 1 within micro-batches, and on axis 0 between them, filled up with zeros."""
    parts = [
        (calls[0] if len(calls) == 1 else torch.cat([*calls], 1)) if calls else like.new_zeros(size, 0, *like.shape[2:])
        for calls, size in zip(batches, sizes, strict=True)
    ]
    if len(parts) == 1:
        return parts[0]
    longest = max(part.shape[1] for part in parts)
    rest = [0, 0] * (like.dim() - 2)
    return torch.cat([functional.pad(part, [*rest, 0, longest - part.shape[1]]) for part in parts])


def squared_norms(terms: Sequence[Terms]) -> Tensor:
    """Return the squared norms of the sum of several terms of one parameter, shape ``(samples,)``."""
    return terms[0].squared_norms() if len(terms) == 1 else _norms_by_rows(*_matrices(terms))


def gram(terms: Sequence[Terms]) -> Tensor:
    """Return the inner products of the sum of several terms of one parameter, shape ``(samples, samples)``."""
    return terms[0].gram() if len(terms) == 1 else _gram_by_rows(*_matrices(terms))


def _matrices(terms: Sequence[Terms]) -> tuple[list[Matrix], int]:
    """Return terms of a weight that is tied between layers of two kinds, and its number of rows."""
    matrices = [part for part in terms if isinstance(part, Matrix)]
    num_rows = next(part.factors[1].shape[3] for part in matrices if isinstance(part, OuterProducts))
    return matrices, num_rows


def _norms_by_rows(terms: Sequence[Matrix], num_rows: int) -> Tensor:
    total = terms[0].factors[1].new_zeros(len(terms[0].factors[1]))
    for rows in _rows(terms, num_rows):
        total += rows.square().sum(1)
    return total


def _gram_by_rows(terms: Sequence[Matrix], num_rows: int) -> Tensor:
    samples = len(terms[0].factors[1])
    total = terms[0].factors[1].new_zeros(samples, samples)
    for rows in _rows(terms, num_rows):
        total.addmm_(rows, rows.T)
    return total


def _rows(terms: Sequence[Matrix], num_rows: int) -> Iterator[Tensor]:
    """Yield the gradients of all samples, a few rows at a time."""
    tail = terms[0].factors[0] if isinstance(terms[0], OuterProducts) else terms[0].factors[1]
    numbers = tail.shape[0] * tail.shape[2:].numel()
    step = max(1, MANY // max(1, numbers))
    for start in range(0, num_rows, step):
        parts = [part.rows(start, min(start + step, num_rows)) for part in terms]
        yield parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
