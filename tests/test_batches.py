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


class Guarded:
    """Has a property of the name of what it holds, as nodes of graphs have."""

    def __init__(self):
        self.__dict__.update(x=torch.zeros(2), _key="n")

    @property
    def _key(self):
        return self.__dict__["_key"]


class Pair(tuple):
    """Is made of two."""

    def __new__(cls, left, right):
        return super().__new__(cls, (left, right))


def test_objects_that_guard_themselves_are_copied():
    guarded = Guarded()
    other = copied(guarded)
    guarded.x.add_(1.0)
    assert other.x.tolist() == [0.0, 0.0]
    assert other._key == "n"
    pair = Pair(torch.zeros(2), 3)
    other = copied(pair)
    pair[0].add_(1.0)
    assert type(other) is Pair
    assert other[0].tolist() == [0.0, 0.0]
    largest = copied(torch.tensor([1.0, 3.0]).max(dim=0))
    assert largest.values == 3.0


def test_a_tensor_keeps_what_is_written_on_it():
    tensor = torch.zeros(2)
    tensor.lengths = [1, 2]
    assert copied({"x": tensor})["x"].lengths == [1, 2]
