"""Inner products of factored gradients, by each of the ways in which they can be computed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.signals.per_sample import terms
from curricula.signals.per_sample.terms import OuterProducts, Rows
from tests.signals.per_sample.reference import close

some = st.integers(1, 5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    samples=some, summed=some, groups=st.integers(1, 3), columns=some, rows=some, many=st.sampled_from([1, 9, 2**22])
)
def test_outer_products_however_many_numbers_there_may_be_at_once(samples, summed, groups, columns, rows, many):
    torch.manual_seed(0)
    inputs = torch.randn(samples, summed, groups, columns, dtype=torch.float64)
    outputs = torch.randn(samples, summed, groups, rows, dtype=torch.float64)
    part = OuterProducts(inputs, outputs)
    dense = torch.einsum("ntgp,ntgq->ngqp", inputs, outputs).flatten(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terms, "MANY", many)
        for gram, norms in (
            (part.gram(), part.squared_norms()),
            (terms._gram_by_rows([part], rows), terms._norms_by_rows([part], rows)),
        ):
            close(gram, dense @ dense.T, 1e-12)
            close(norms, (dense @ dense.T).diag(), 1e-12)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(samples=some, summed=some, columns=some, rows=some, many=st.sampled_from([1, 9, 2**22]))
def test_rows_that_come_several_times(samples, summed, columns, rows, many):
    torch.manual_seed(0)
    indices = torch.randint(rows, (samples, summed))
    gradients = torch.randn(samples, summed, columns, dtype=torch.float64)
    dense = torch.zeros(samples, rows, columns, dtype=torch.float64)
    for sample in range(samples):
        dense[sample].index_add_(0, indices[sample], gradients[sample])
    dense = dense.flatten(1)
    part = Rows(indices, gradients)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terms, "MANY", many)
        close(part.gram(), dense @ dense.T, 1e-12)
        close(part.squared_norms(), (dense @ dense.T).diag(), 1e-12)
        close(terms._norms_by_rows([part], rows), (dense @ dense.T).diag(), 1e-12)


def test_no_more_numbers_than_allowed_are_made_at_once(monkeypatch):
    monkeypatch.setattr(terms, "MANY", 1000)
    part = OuterProducts(torch.randn(4, 50, 1, 5), torch.randn(4, 50, 1, 300))
    sizes = [rows.numel() for rows in terms._rows([part], 300)]
    assert max(sizes) <= 1000
    assert sum(sizes) == 4 * 5 * 300
