"""Samples and ready batches of several tasks in one batch, and what is said of those that do not fit."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from curricula.batches import alike
from curricula.data.mixing import Filled, SlotError, concatenated, difference, mixed


class Pair(NamedTuple):
    x: Any
    y: Any


def samples(task, *rows):
    return Filled(task, [(torch.tensor([float(row)]), row) for row in rows], False)


def ready(task, *rows):
    return Filled(task, default_collate(samples(task, *rows).data), True)


@pytest.mark.parametrize("kinds", ["ss", "rr", "sr", "rs", "srs", "rsr", "ssr"])
def test_a_batch_is_the_same_whether_its_parts_came_as_samples_or_ready(kinds):
    rows = [(2 * k, 2 * k + 1) for k in range(len(kinds))]
    slots = [(samples if kind == "s" else ready)(str(place), *rows[place]) for place, kind in enumerate(kinds)]
    expected = default_collate([(torch.tensor([float(row)]), row) for part in rows for row in part])
    assert alike(mixed(slots, default_collate, 2), expected)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (torch.zeros(1, 2), torch.ones(2, 2), torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])),
        (np.zeros((1, 2)), np.ones((1, 2)), np.array([[0.0, 0.0], [1.0, 1.0]])),
        (
            {"x": torch.zeros(1), "n": ["a"]},
            {"x": torch.ones(1), "n": ["b"]},
            {"x": torch.tensor([0.0, 1.0]), "n": ["a", "b"]},
        ),
        ([torch.zeros(1), ("a",)], [torch.ones(1), ("b",)], [torch.tensor([0.0, 1.0]), ("a", "b")]),
        (Pair(torch.zeros(1), [1]), Pair(torch.ones(1), [2]), Pair(torch.tensor([0.0, 1.0]), [1, 2])),
        (OrderedDict(a=torch.zeros(1)), OrderedDict(a=torch.ones(1)), OrderedDict(a=torch.tensor([0.0, 1.0]))),
    ],
    ids=["tensors", "arrays", "dicts", "lists", "named tuples", "ordered dicts"],
)
def test_ready_batches_keep_their_structure(one, other, expected):
    found = concatenated([one, other])
    assert type(found) is type(expected)
    assert alike(found, expected)


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        (torch.zeros(1, 2), torch.zeros(1, 3), r"shape \(1, 2\) and \(1, 3\)"),
        (torch.zeros(1, 2), torch.zeros(1, 2).double(), "type torch.float32 and torch.float64"),
        ({"x": torch.zeros(1)}, {"y": torch.zeros(1)}, r"keys \['x'\] and \['y'\]"),
        ([torch.zeros(1)], [torch.zeros(1), torch.zeros(1)], "1 parts and 2"),
        ([torch.zeros(1)], (torch.zeros(1),), "a list and a tuple"),
    ],
)
def test_ready_batches_that_differ_name_both_tasks_and_what_differs(one, other, what):
    slots = [Filled("a", one, True), Filled("b", other, True)]
    with pytest.raises(
        ValueError, match=rf"^the tasks 'a' and 'b' do not make one batch \(.*{what}.*draws_per_batch=1"
    ):
        mixed(slots, default_collate, 1)


def test_two_draws_of_one_task_may_be_those_that_differ():
    slots = [Filled("a", [torch.zeros(2)], False), Filled("a", [torch.zeros(3)], False)]
    with pytest.raises(ValueError, match=r"^two draws of task 'a' do not make one batch"):
        mixed(slots, default_collate, 1)


@pytest.mark.parametrize(
    ("batch", "size", "message"),
    [
        (torch.zeros(3), 2, "a ready batch of task 'b' has 3 samples, .*it must have 2 each: .*batch_size=2"),
        ([torch.zeros(2), torch.zeros(3)], 2, "has 2 or 3 samples"),
        (torch.zeros(3), None, "it must have 2 each"),
        ([torch.zeros(1), torch.zeros(2)], None, "has 1 or 2 samples"),
        (
            {"x": torch.zeros(2), "n": 2},
            2,
            "task 'b' holds a int, which cannot be put behind .*'s dataset instead",
        ),
        (torch.zeros(()), 2, "task 'b' holds a number"),
        ("two", 2, "task 'b' holds a str"),
    ],
)
def test_ready_batches_that_fill_no_slot_are_told_with_the_way_out(batch, size, message):
    first = Filled("a", torch.zeros(2), True)
    with pytest.raises(ValueError, match=message):
        mixed([first, Filled("b", batch, True)], default_collate, size)


def test_samples_of_no_use_by_themselves_are_the_fault_of_their_slot():
    def collate(batch):
        if "bad" in batch:
            raise KeyError("of no use")
        return None if set(batch) == {"none"} or "nothing" in batch else batch

    def fault(*parts):
        with pytest.raises(SlotError) as caught:
            mixed([Filled(part, [part], False) for part in parts], collate, 1)
        return caught.value.place, type(caught.value.error).__name__

    assert fault("good", "bad", "good") == (1, "KeyError")
    assert fault("good", "good", "nothing") == (2, "NoBatchError")
    assert mixed([Filled("a", ["good"], False), Filled("b", ["none"], False)], collate, 1) == ["good", "none"]


@pytest.mark.parametrize(
    ("left", "right", "what"),
    [
        ({"x": [1, torch.zeros(2)]}, {"x": [1, torch.zeros(3)]}, "['x'][1] has the shape (2,) and (3,)"),
        (np.zeros(2), torch.zeros(2), "a sample is a ndarray and a Tensor"),
        (1, "a", "a sample is a int and a str"),
        ((1, 2), (1, 2), None),
    ],
)
def test_the_first_difference_is_told_with_its_place(left, right, what):
    assert difference(left, right) == what
