"""Copies of batches are independent of the batch, and of the same shape inside."""

from __future__ import annotations

from collections import UserDict, namedtuple

import torch

from curricula.batches import copied


def test_one_tensor_in_two_places_is_one_tensor_in_the_copy():
    inputs = torch.zeros(2)
    first, second = copied((inputs, inputs))
    first.add_(1.0)
    assert second is first
    assert inputs.tolist() == [0.0, 0.0]


def test_nothing_done_to_a_copy_is_seen_in_the_batch():
    pair = namedtuple("pair", "left right")  # noqa: PYI024 - collate functions return these too
    batch = UserDict(one=torch.zeros(1), more={"parts": [torch.ones(1)]}, pair=pair(torch.zeros(1), 2))
    other = copied(batch)
    other["one"].add_(1.0)
    other["more"]["parts"].pop().add_(1.0)
    other["pair"].left.add_(1.0)
    other.pop("pair")
    assert type(other) is UserDict
    assert (float(batch["one"]), float(batch["more"]["parts"][0]), float(batch["pair"].left)) == (0.0, 1.0, 0.0)
