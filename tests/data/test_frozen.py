"""Tasks that hold a module and are read by worker processes are warned of, once and by name."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, Subset

from curricula import CurriculumLoader
from tests.models import Rows


class Holding(Rows):
    def __init__(self, part):
        super().__init__(0, 8)
        self.part = part


class Acting(IterableDataset):
    def __init__(self, part):
        self.part = part

    def __iter__(self):
        return iter(range(8))


def policy():
    return nn.Linear(2, 2)


class Module(nn.Module, Rows):
    """A dataset that is a module itself."""

    def __init__(self):
        nn.Module.__init__(self)
        Rows.__init__(self, 0, 8)
        self.layer = policy()


HOLDING = {
    "attribute": lambda: Holding(policy()),
    "one level down": lambda: Holding(SimpleNamespace(agent=policy())),
    "in a list": lambda: Holding([1, policy()]),
    "in a dict": lambda: Holding({"policy": policy()}),
    "in a subset": lambda: Subset(Holding(policy()), range(4)),
    "the dataset itself": Module,
}


def told(caplog, tasks, **options):
    caplog.clear()
    with caplog.at_level(logging.WARNING, "curricula"):
        CurriculumLoader(tasks, steps_per_epoch=4, **options)
    return [record.getMessage() for record in caplog.records if "holds a module" in record.getMessage()]


@pytest.mark.parametrize("make", HOLDING.values(), ids=HOLDING)
def test_a_task_that_holds_a_module_is_warned_of_where_workers_read_it(make, caplog):
    tasks = {"agent": make(), "plain": Rows(1, 8)}
    (text,) = told(caplog, tasks, num_workers=1)
    assert text.startswith("task 'agent' holds a module (")
    assert "num_workers=0" in text
    assert told(caplog, tasks) == []


def test_workers_of_a_loader_of_its_own_count_and_others_do_not(caplog):
    own = DataLoader(Acting(policy()), num_workers=1)
    assert len(told(caplog, {"agent": own})) == 1
    assert told(caplog, {"agent": DataLoader(Acting(policy()))}) == []
    assert told(caplog, {"agent": Acting(policy()), "plain": Rows(1, 8)}, num_workers=1) == [], "read in this process"


def test_transforms_without_parameters_are_no_policies(caplog):
    assert told(caplog, {"a": Holding(nn.Sequential(nn.ReLU(), nn.Flatten()))}, num_workers=1) == []
    assert told(caplog, {"a": [(0.0, 1.0)] * 100_000}, num_workers=1) == []
