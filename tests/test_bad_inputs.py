"""Arguments that cannot be right, one table for the whole public surface: what is said, and when."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.data import TensorDataset

from curricula import CurriculumCallback, CurriculumDataModule, CurriculumLoader, Teacher
from curricula.bandits import Exp3, Exp3S, FixedPolicy
from curricula.rewards import QuantileScaler
from curricula.tracking.history import CurriculumHistory

DATA = TensorDataset(torch.zeros(8, 1))
TASKS = {"a": DATA, "b": DATA}


def loader(**options):
    return lambda: CurriculumLoader(TASKS, **options)


def tasks(**given):
    return lambda: CurriculumLoader(given)


def callback(**options):
    return lambda: CurriculumCallback(**options)


def reward(*arguments, **options):
    def give():
        teacher = Teacher(["a", "b"])
        teacher.reward(teacher.draw(), *arguments, **options)

    return give


TYPE_ERRORS = [
    (lambda: CurriculumLoader([DATA]), "tasks must be a mapping from name to dataset or loader, got list: write"),
    (lambda: CurriculumLoader({1: DATA}), r"task names must be strings, got 1 \(int\): use str\(1\)"),
    (tasks(a=3), "task 'a' must be a Dataset, an IterableDataset or an iterable of batches, got int"),
    (tasks(a="data/a"), "task 'a' must be a Dataset.*, got a str: load what it names, or give a list of its samples"),
    (tasks(a={"x": 1}), "task 'a' must be a Dataset.*, got a dict: load what it names, or give a list of its samples"),
    (loader(batch_size=2.0), "batch_size must be an int, got 2.0"),
    (loader(batch_size=True), "batch_size must be an int, got True"),
    (loader(steps_per_epoch=1e3), "steps_per_epoch must be an int, got 1000.0"),
    (loader(num_workers="2"), "num_workers must be an int, got '2'"),
    (loader(num_workers=None), "num_workers must be an int, got None"),
    (loader(num_workers=1, prefetch_factor="2"), "prefetch_factor must be an int, got '2'"),
    (loader(collate_fn="default"), "collate_fn must be a function or None, got 'default'"),
    (loader(num_workers=1, worker_init_fn=3), "worker_init_fn must be a function or None, got 3"),
    (loader(shuffle="no"), "shuffle must be True or False, got 'no'"),
    (loader(drop_last=1), "drop_last must be True or False, got 1"),
    (loader(pin_memory="false"), "pin_memory must be True or False, got 'false'"),
    (loader(timeout="1"), r"timeout must be a number, got '1' \(str\)"),
    (loader(seed=1.5), r"seed must be an int, got 1.5 \(float\)"),
    (loader(grid=[2]), r"grid must be a mapping from axis to number or labels, got \[2\]: write \{"),
    (loader(bach_size=3), "unexpected keyword argument 'bach_size'"),
    (lambda: CurriculumDataModule([DATA]), "tasks must be a mapping"),
    (lambda: CurriculumDataModule.from_datamodule(3), "takes an instance of a LightningDataModule, got 3"),
    (callback(bandit=Exp3S), r"bandit must be an instance of Bandit, got .*: write Exp3S\(\)"),
    (callback(bandit="exp3s"), "bandit must be an instance of Bandit, got 'exp3s'"),
    (callback(signal="pg"), "signal must be an instance of Signal, got 'pg'"),
    (callback(scaler=QuantileScaler), r"write QuantileScaler\(\)"),
    (callback(cost=3), "cost must be a function from a batch to a number, got 3"),
    (callback(target=3), "target must be the name of a task, or held-out data, got 3"),
    (callback(log_figures="no"), "log_figures must be True or False, got 'no'"),
    (lambda: Exp3S(eta="0.1"), r"eta must be a number, got '0.1' \(str\)"),
    (lambda: Exp3S(epsilon=True), r"epsilon must be a number, got True \(bool\)"),
    (lambda: Exp3S().reset(2.5), "num_arms must be an int, got 2.5"),
    (lambda: Exp3S().reset(2, "10"), "horizon must be an int, got '10'"),
    (lambda: FixedPolicy("ab"), "weights must be one number per task, got 'ab'"),
    (lambda: FixedPolicy.proportional(3), "sizes must be one number per task, got 3"),
    (lambda: Teacher("ab"), "tasks must be a sequence of names, got the single string 'ab'"),
    (lambda: Teacher(None), "tasks must be a sequence of names, got None"),
    (lambda: Teacher([1]), r"task names must be strings, got 1 \(int\)"),
    (reward(None), r"progress must be a number, got None: give float\('nan'\) where it cannot be told"),
    (reward("0.5"), "progress must be a number, got '0.5'"),
    (lambda: Teacher(["a"]).reward("a", 0.5), r"draw must be a Draw that draw\(\) returned, got 'a'"),
]

VALUE_ERRORS = [
    (tasks(), "a curriculum needs at least one task, got none"),
    (lambda: CurriculumLoader({"": DATA}), "a task name must not be empty"),
    (tasks(a=[]), "task 'a' is an empty dataset: leave it out, or give it samples"),
    (tasks(a=iter([1])), r"task 'a' is an iterator \(list_iterator\), which cannot start over"),
    (loader(batch_size=0), "batch_size must be at least 1, got 0"),
    (loader(batch_size=None), "task 'a' is a map-style dataset: give batch_size=<samples per batch>"),
    (loader(steps_per_epoch=0), "steps_per_epoch must be at least 1, got 0"),
    (loader(num_workers=-1), "num_workers must be at least 0, got -1"),
    (loader(num_workers=1, prefetch_factor=0), "prefetch_factor must be at least 1, got 0"),
    (loader(timeout=-1), r"timeout must be in \[0, inf\), got -1"),
    (loader(seed=-1), r"seed must be in \[0, 2\*\*64\), got -1"),
    (loader(seed=2**64), r"seed must be in \[0, 2\*\*64\)"),
    (loader(grid={"x": 3}), r"grid \(x: 3\) has 3 cells for 2 tasks: the axes' sizes must multiply"),
    (loader(probe_tasks={"c": DATA}), r"probe_tasks has \['c'\], which are no tasks: the tasks are \['a', 'b'\]"),
    (loader(batch_size=9, drop_last=True), "task 'a' has 8 samples, fewer than one batch of 9 x 1 ranks"),
    (loader(on_error="skip"), """on_error must be "raise", "retry" or "drop", got 'skip'"""),
    (callback(seed=-1), r"seed must be in \[0, 2\*\*64\), got -1"),
    (lambda: Exp3S(eta=0), r"eta must be in \(0, inf\), got 0"),
    (lambda: Exp3(eta=math.nan), r"eta must be in \(0, inf\), got nan"),
    (lambda: Exp3S(epsilon=1.1), r"epsilon must be in \[0, 1\], got 1.1"),
    (lambda: Exp3S(beta=-1), r"beta must be in \[0, inf\), got -1"),
    (lambda: Exp3S(alpha=0), r"alpha must be in \(0, 1\], got 0"),
    (lambda: Exp3S(alpha=0.9).reset(2), r"alpha must be at most \(N - 1\) / N = 0.5 for 2 arms, got 0.9"),
    (lambda: Exp3S().reset(0), "a bandit needs at least one arm, got num_arms=0"),
    (lambda: FixedPolicy([]), r"weights must be >= 0, not all 0, and their sum finite, got \[\]"),
    (lambda: FixedPolicy([-1, 2]), "weights must be >= 0, not all 0"),
    (lambda: FixedPolicy([1, 2]).reset(3), "FixedPolicy has 2 weights for 3 tasks: give one per task"),
    (lambda: FixedPolicy.proportional([0, 1]), r"sizes must be finite and > 0, got \[0, 1\]"),
    (lambda: FixedPolicy.proportional([1, 2], temperature=0), r"temperature must be in \(0, inf\), got 0"),
    (lambda: QuantileScaler(window=20.5), "window must be a whole number, got 20.5"),
    (lambda: QuantileScaler(low=0.9), "low must be below high, got low=0.9, high=0.8"),
    (lambda: Teacher([]), "a curriculum needs at least one task, got none"),
    (lambda: Teacher(["a", "a"]), "task names must be unique, 'a' is given twice"),
    (lambda: Teacher(["a"], horizon=0), "horizon must be at least 1 update or None, got 0"),
    (lambda: Teacher(["a"]).load_state_dict({}), "this is not the state of a curricula teacher: found no key 'kind'"),
    (reward(1.0, cost=0.0), "the cost of a step must be finite and > 0, got 0.0 for task"),
    (reward(1.0, cost=math.nan), "the cost of a step must be finite and > 0, got nan for task"),
    (lambda: CurriculumHistory(["a"], max_rows=1), "max_rows and max_policies must be at least 2, got 1"),
    (lambda: CurriculumHistory(["a"], target="b"), r"target 'b' names no task: the tasks are \['a'\]"),
    (lambda: CurriculumHistory(["a"]).column("x"), "column must be one of .* got 'x'"),
]


@pytest.mark.parametrize(("call", "message"), TYPE_ERRORS)
def test_what_is_of_another_kind_is_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(("call", "message"), VALUE_ERRORS)
def test_what_is_out_of_range_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
