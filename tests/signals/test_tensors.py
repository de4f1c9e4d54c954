"""Sums over tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from curricula.signals.tensors import inner_product, squared_norm


def test_the_difference_of_two_exact_norms_is_right_where_single_precision_sees_nothing():
    old = torch.linspace(900.0, 1000.0, 5000)
    new = torch.nextafter(old, torch.tensor(2000.0))
    rise = float(np.square(new.double().numpy()).sum() - np.square(old.double().numpy()).sum())
    exact = float(squared_norm([new], exactly=True) - squared_norm([old], exactly=True))
    assert exact == pytest.approx(rise, rel=1e-5)
    assert float(squared_norm([new]) - squared_norm([old])) != pytest.approx(rise, rel=1e-2)


def test_an_inner_product_is_the_sum_over_all_tensors():
    left = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]], dtype=torch.float64), torch.tensor([2.0]).bfloat16()]
    right = [torch.tensor([4.0, 5.0]), torch.tensor([[6.0]], dtype=torch.float64), torch.tensor([7.0])]
    assert float(inner_product(left, right)) == 4.0 + 10.0 + 18.0 + 14.0
    assert float(inner_product([], [])) == 0.0


def test_sparse_tensors_take_part():
    sparse = torch.sparse_coo_tensor([[0, 2, 2]], [1.0, 2.0, 3.0], (4,))
    assert float(inner_product([torch.tensor([1.0, 9.0, 10.0, 9.0])], [sparse])) == 51.0
    assert float(squared_norm([sparse])) == 26.0


def test_tensors_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match=r"shorter|longer"):
        inner_product([torch.zeros(1)], [])
