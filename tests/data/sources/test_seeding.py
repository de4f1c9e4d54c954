"""A worker process seeds its random numbers as the public functions do, and writes no stack down for it."""

# ruff: noqa: NPY002 - the global stream is the point

from __future__ import annotations

import random
import sys
import traceback
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from curricula.data.sources import seeding, task_dataset
from curricula.data.sources.seeding import seed_process
from curricula.data.sources.task_dataset import Read, TaskDataset

SEEDS = [0, 1, 2**31 - 1, 2**32, 2**32 + 1, 2**63 - 1, 1234567890123456789]


@pytest.fixture(autouse=True)
def _numbers_as_before():
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()
    yield
    torch.set_rng_state(before[0])
    random.setstate(before[1])
    np.random.set_state(before[2])


@pytest.fixture(params=[False, True], ids=["only a CPU", "built for accelerators"])
def built_for_accelerators(request, monkeypatch):
    monkeypatch.setattr(seeding, "_BUILT_FOR_ACCELERATORS", request.param)
    return request.param


def states():
    name, words, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), random.getstate(), (name, words.tolist(), *rest)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_generators_are_where_the_public_functions_put_them(seed, built_for_accelerators):
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    wanted = states()
    torch.randn(5), random.gauss(0.0, 1.0), np.random.randn(3)  # leave halves of pairs behind
    seed_process(seed)
    assert states() == wanted


def test_torch_writes_no_stack_down(built_for_accelerators, monkeypatch):
    written = []
    format_stack = traceback.format_stack

    def spy(*arguments):
        written.append(format_stack(*arguments))
        return written[-1]

    monkeypatch.setattr(traceback, "format_stack", spy)
    seed_process(3)
    assert all(stack == [] for stack in written)
    before = len(written)
    torch.manual_seed(3)
    assert all(written[before:]), "torch does, by itself"


def test_on_a_build_with_accelerators_torch_itself_is_asked(monkeypatch):
    seen = []
    monkeypatch.setattr(seeding, "_BUILT_FOR_ACCELERATORS", True)
    monkeypatch.setattr(torch, "manual_seed", seen.append)
    seed_process(2**40)
    assert seen == [2**40]


def test_a_build_that_does_not_tell_what_it_has_is_taken_to_have_accelerators(monkeypatch):
    """Names that a version of torch has not: slower, never with other numbers."""
    for name in ("_has_xpu", "_mtia_isBuilt"):
        with monkeypatch.context() as patch:
            patch.delattr(torch._C, name, raising=False)
            assert seeding._built_for_accelerators()


def test_a_seed_waits_for_a_device_that_was_not_used_yet(monkeypatch):
    monkeypatch.setattr(seeding, "_BUILT_FOR_ACCELERATORS", True)
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: False)
    seed_process(5)
    assert seeded == [5]


def test_a_device_of_the_process_that_was_forked_is_not_touched(monkeypatch):
    monkeypatch.setattr(seeding, "_BUILT_FOR_ACCELERATORS", True)
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    seed_process(5)
    assert seeded == []


def test_a_device_that_was_registered_later_is_seeded(monkeypatch):
    seeded = []
    device = SimpleNamespace(_is_in_bad_fork=lambda: False, manual_seed_all=seeded.append)
    monkeypatch.setattr(torch, torch._C._get_privateuse1_backend_name(), device, raising=False)
    seed_process(7)
    assert seeded == [7]


@pytest.mark.parametrize("limit", [None, 3])
def test_tracebacks_are_as_long_as_before(limit, monkeypatch):
    monkeypatch.setattr(seeding, "_BUILT_FOR_ACCELERATORS", True)
    monkeypatch.delattr(sys, "tracebacklimit", raising=False)
    if limit is not None:
        monkeypatch.setattr(sys, "tracebacklimit", limit, raising=False)
    seed_process(1)
    assert getattr(sys, "tracebacklimit", None) == limit

    def fails(seed):
        raise RuntimeError(seed)

    monkeypatch.setattr(torch, "manual_seed", fails)
    with pytest.raises(RuntimeError, match="2"):
        seed_process(2)
    assert getattr(sys, "tracebacklimit", None) == limit


class Augmented(list):
    def __getitem__(self, index):
        return [float(torch.rand(())), random.random(), float(np.random.rand())]


def test_a_batch_in_a_worker_process_has_the_numbers_of_its_seed(monkeypatch):
    dataset = TaskDataset(("a",), [Augmented([0, 1])], collate_fn=list)
    monkeypatch.setattr(task_dataset, "get_worker_info", lambda: SimpleNamespace(id=0))
    batch, error, _ = dataset.__getitems__(Read(0, [0, 1], seed=2**40 + 1))
    torch.manual_seed(2**40 + 1)
    random.seed(2**40 + 1)
    np.random.seed(1)
    assert error is None
    assert batch == [[float(torch.rand(())), random.random(), float(np.random.rand())] for _ in range(2)]


def test_in_the_process_of_the_training_nothing_is_seeded():
    dataset = TaskDataset(("a",), [Augmented([0, 1])], collate_fn=len)
    before = states()
    torch.manual_seed(4)
    marked = torch.get_rng_state().tolist()
    dataset.__getitems__(Read(0, [], seed=9))
    assert torch.get_rng_state().tolist() == marked
    assert states()[1:] == before[1:]
