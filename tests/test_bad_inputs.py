"""Arguments that cannot be right, one table for the whole public surface: what is said, and when."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from curricula import CurriculumCallback, CurriculumDataModule, CurriculumLoader, Teacher
from curricula.bandits import Exp3, Exp3S, FixedPolicy
from curricula.rewards import QuantileScaler
from curricula.signals import GradientL2Gain, GradientVariationalComplexityGain
from curricula.tracking.charts import (
    comparison_chart,
    draws_chart,
    grid_chart,
    losses_chart,
    policy_chart,
    quantiles_chart,
    rewards_chart,
    runs_chart,
    syllabus_chart,
)
from curricula.tracking.curves import Comparison, Curve
from curricula.tracking.dashboard import curriculum_workspace
from curricula.tracking.figures import (
    comparison_figure,
    losses_figure,
    policy_figure,
    syllabus_figure,
    weights_figure,
)
from curricula.tracking.files import find_histories
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.report import Section, write_report
from curricula.tracking.table import write_table
from curricula.variational import Variational, variational_modules

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


def attach(*arguments, **options):
    return lambda: CurriculumLoader(TASKS).attach(*(arguments or (Teacher(["a", "b"]),)), **options)


def add(name, task, **options):
    return lambda: CurriculumLoader(TASKS, steps_per_epoch=1).add_task(name, task, **options)


def variational(**options):
    return lambda: Variational(torch.nn.Linear(1, 1), **{"samples": 10, **options})


class NoLength:
    """Pretends to be a dataset."""

    def __getitem__(self, index):
        return index

    def __len__(self):
        raise NotImplementedError("unknown")


HISTORY = CurriculumHistory(["a", "b"])
DRAWN_OF_A_HISTORY = {
    draw.__name__: draw
    for draw in (
        draws_chart,
        grid_chart,
        losses_chart,
        losses_figure,
        policy_chart,
        policy_figure,
        quantiles_chart,
        rewards_chart,
        syllabus_chart,
        syllabus_figure,
    )
}

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
    (tasks(a=TensorDataset), r"task 'a' must be .* got the class TensorDataset: give an instance, TensorDataset\("),
    (tasks(a={1, 2}), "task 'a' is a set, whose order differs from one process to the next: give a list"),
    (tasks(a=CurriculumLoader(TASKS)), "task 'a' is a CurriculumLoader: give its tasks, under names of their own"),
    (
        tasks(a=NoLength()),
        r"task 'a' \(NoLength\) does not tell its length \(NotImplementedError: unknown\): .*__len__",
    ),
    (loader(probe_tasks=[DATA]), "tasks must be a mapping from name to dataset or loader, got list"),
    (loader(grid={"x": 2.0}), "axis 'x' of the grid must be a number of values, at least 1, or their labels, got 2.0"),
    (loader(grid={"x": "ab"}), "axis 'x' of the grid must be .* got 'ab'"),
    (loader(grid={"x": True}), "axis 'x' of the grid must be .* got True"),
    (loader(grid={"x": -2, "y": -1}), "axis 'x' of the grid must be .* got -2"),
    (attach("uniform"), "teacher must be an instance of Teacher, got 'uniform'"),
    (add(3, DATA), r"task names must be strings, got 3 \(int\)"),
    (add("c", None), "task 'c' must be a Dataset, an IterableDataset or an iterable of batches, got NoneType"),
    (add("c", DATA, probe_task=3), "task 'c' must be a Dataset, .* got int"),
    (loader(grid=[2]), r"grid must be a mapping from axis to number or labels, got \[2\]: write \{"),
    (loader(bach_size=3), "unexpected keyword argument 'bach_size'"),
    (lambda: CurriculumDataModule([DATA]), "tasks must be a mapping"),
    (lambda: CurriculumDataModule.from_datamodule(3), "takes an instance of a LightningDataModule, got 3"),
    (
        lambda: CurriculumDataModule.from_datamodule(CurriculumDataModule(TASKS), bach_size=3),
        r"CurriculumLoader has no options \['bach_size'\]: it has \['batch_size'",
    ),
    (callback(independent_ranks=1), "independent_ranks must be True or False, got 1"),
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
    (
        lambda: Teacher({"a", "b"}),
        "tasks must be a sequence of names, got a set, whose order differs between processes",
    ),
    (lambda: Teacher(["a"], horizon=2.5), "horizon must be an int, got 2.5"),
    (lambda: Teacher(["a"]).add_task(3), r"task names must be strings, got 3 \(int\)"),
    (reward(torch.zeros(3)), r"progress must be a number, got tensor\(\[0., 0., 0.\]\)"),
    (reward(1.0, cost="1"), "the cost of a step must be a number, got '1' for task"),
    (reward(1.0, cost=None), "the cost of a step must be a number, got None for task"),
    (lambda: Teacher(["a"]).discard("a"), r"draw must be a Draw that draw\(\) returned, got 'a'"),
    (lambda: QuantileScaler(reservoir="no"), "reservoir must be True or False, got 'no'"),
    (lambda: GradientL2Gain(printed_sign="no"), "printed_sign must be True or False, got 'no'"),
    (lambda: GradientVariationalComplexityGain(kl_in_loss=0), "kl_in_loss must be True or False, got 0"),
    (variational(samples="10"), "samples must be a number, got '10'"),
    (variational(sigma=None), "sigma must be a number, got None"),
    (variational(prior_per_tensor="no"), "prior_per_tensor must be True or False, got 'no'"),
    (variational(deterministic=[torch.nn.LayerNorm]), "deterministic must be a tuple of types of layers, got "),
    (variational(deterministic=torch.nn.LayerNorm), "deterministic must be a tuple of types of layers, got "),
    (lambda: Variational(torch.nn.Linear, samples=10), r"Variational takes a module, such as .* got <class"),
    (lambda: variational_modules(3), "module must be a torch.nn.Module, got 3"),
    (lambda: CurriculumHistory(["a"], max_rows=2.5), "max_rows must be an int, got 2.5"),
    (lambda: CurriculumHistory(["a"], grid=3), "grid must be a mapping from axis to labels, got 3"),
    *[
        (lambda draw=draw: draw(None), "^history must be a CurriculumHistory, got None$")
        for draw in DRAWN_OF_A_HISTORY.values()
    ],
    (lambda: policy_figure("a.json"), r"got 'a.json': read it with curricula.tracking.files.read_history\(path\)"),
    (lambda: policy_chart(CurriculumCallback()), "got .*CurriculumCallback.*: give callback.history"),
    (lambda: weights_figure(torch.nn.Linear(1, 1)), r"network must be a Variational, got Linear\("),
    (lambda: comparison_figure([HISTORY], 0.1), r"curves must be lists of Curve by name, .* got \["),
    (lambda: comparison_figure({"a": [Curve([1], [1.0])]}, "low"), "goal must be a number, got 'low'"),
    (lambda: Comparison({"a": Curve([1], [1.0])}, 0.1), "curves must be lists of Curve by name"),
    (lambda: comparison_chart({"a": []}), r"comparison must be a Comparison, got .*: Comparison\(curves, goal\)"),
    (lambda: runs_chart([HISTORY]), r'groups must be a mapping from name to the histories of its runs.*\{"name": \['),
    (lambda: runs_chart({"a": HISTORY}), r"groups\['a'\] must be a list of histories, got"),
    (lambda: runs_chart({"a": ["a.json"]}), r"groups\['a'\]\[0\] must be a CurriculumHistory, got 'a.json': read it"),
    (lambda: write_table("a.json", "a.csv"), "history must be a CurriculumHistory, got 'a.json': read it with"),
    (lambda: write_report("a.html", [HISTORY]), r"sections must be a list of Section, got .*history=history"),
    (lambda: write_report("a.html", Section("A run")), "sections must be a list of Section, got Section"),
    (lambda: Section(3), "title and text of a Section must be strings, got 3 and ''"),
    (lambda: Section("A run", history="a.json"), "history must be a CurriculumHistory, got 'a.json': read it with"),
    (lambda: Section("A run", table={"a": 1}), r"table of a Section must be a list of rows, \[\{column: value"),
    (lambda: Section("A run", comparison=[]), r"comparison of a Section must be a Comparison, got \[\]"),
    (lambda: Section("A run", runs=[HISTORY]), "runs must be a mapping from name to the histories of its runs"),
]

VALUE_ERRORS = [
    (tasks(), "a curriculum needs at least one task, got none"),
    (lambda: CurriculumLoader({"": DATA}), "a task name must not be empty"),
    (tasks(a=[]), "task 'a' is an empty dataset: leave it out, or give it samples"),
    (tasks(a=iter([1])), r"task 'a' is an iterator \(list_iterator\), which cannot start over"),
    (loader(batch_size=0), "batch_size must be at least 1, got 0"),
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
    (tasks(a=DataLoader([])), "task 'a' is a DataLoader without a batch: leave it out, or give it samples"),
    (tasks(a=DataLoader(DATA, batch_size=9, drop_last=True)), "task 'a' is a DataLoader without a batch"),
    (
        loader(grid={"x": ["1", 1]}),
        r"the labels of axis 'x' of the grid must differ from one another, got \['1', '1'\]",
    ),
    (attach(rank=2, world_size=2), r"rank must be in \[0, world_size\), got rank=2, world_size=2"),
    (attach(rank=0, world_size=0), r"rank must be in \[0, world_size\), got rank=0, world_size=0"),
    (attach(limit=0), "limit must be at least 1, got 0"),
    (add("a", DATA), r"there is a task 'a' already: the tasks are \['a', 'b'\]"),
    (add("c", []), "task 'c' is an empty dataset: leave it out, or give it samples"),
    (
        lambda: CurriculumLoader(TASKS).add_task("c", DATA),
        "task 'c' would change the length of the epoch: .*steps_per_e",
    ),
    (lambda: CurriculumLoader(TASKS).load_state_dict(None), "this is not the state of a curricula loader: got None"),
    (lambda: CurriculumDataModule(TASKS, val_tasks={}), "a curriculum needs at least one task, got none"),
    (lambda: Teacher(["a"]).load_state_dict(None), "this is not the state of a curricula teacher: got None"),
    (lambda: Teacher(["a"]).remove_task("b"), r"there is no task 'b': the tasks are \['a'\]"),
    (lambda: Teacher(["a"]).remove_task("a"), "task 'a' is the last one that is left: there would be nothing to draw"),
    (lambda: Teacher(["a"]).restore_task("b"), r"there is no task 'b': the tasks are \['a'\]"),
    (lambda: Teacher(["a"]).add_task("a"), "task names must be unique, 'a' is given twice"),
    (lambda: QuantileScaler().scale(math.inf), "a progress rate must be finite, got inf"),
    (lambda: QuantileScaler(window=5, warmup=6), "warmup must be at most window=5, got 6: it would never end"),
    (variational(samples=0), "samples must be a finite number above 0, got 0"),
    (variational(sigma=math.nan), "sigma must be a finite number above 0, got nan"),
    (lambda: Curve([1, 2], [1.0]), "a curve needs one loss per update, got 1 for 2 updates"),
    (lambda: Curve([2, 1], [1.0, 1.0]), "the updates of a curve must increase"),
    (lambda: write_report("a.html", []), "a report needs at least one Section, got none"),
    (lambda: Section("A run", table=[{"a": 1}, {"b": 2}]), "the rows of a Section's table must have the same columns"),
    (lambda: write_table(HISTORY, "a.xlsx"), "a table is written as one of .csv, .parquet, got 'a.xlsx'"),
    (lambda: write_table(HISTORY, "a.csv", table="rows"), "table must be one of steps, policies, tasks, got 'rows'"),
    (lambda: curriculum_workspace(3, "project"), "entity must be the name of a W&B user or team, got 3"),
    (lambda: curriculum_workspace("team", " "), "project must be the name of a W&B project, got ' '"),
]


@pytest.mark.parametrize(("call", "message"), TYPE_ERRORS)
def test_what_is_of_another_kind_is_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(("call", "message"), VALUE_ERRORS)
def test_what_is_out_of_range_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_nothing_is_written_before_the_arguments_are_found_right(tmp_path):
    for write in (
        lambda: write_table(HISTORY, tmp_path / "a" / "b.csv", table="rows"),
        lambda: write_table("a.json", tmp_path / "a" / "b.csv"),
        lambda: write_report(tmp_path / "a" / "b.html", []),
    ):
        with pytest.raises((TypeError, ValueError)):
            write()
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_there_are_named(tmp_path):
    for read in (CurriculumHistory.load, find_histories):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
            read(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"h.json is no curriculum history: it is not JSON \("),
        ("[]", r"h.json is no curriculum history: write it with CurriculumHistory.save\(\)"),
        ('{"curriculum_history": 1}', r"h.json: the history is damaged \(KeyError: 'tasks'\)"),
        ('{"curriculum_history": 1, "tasks": []}', r"h.json: a curriculum needs at least one task, got none"),
        ('{"curriculum_history": 9, "tasks": ["a"]}', r"h.json: the history has format 9, this version .* reads 1"),
        ("\x89PNG", r"h.json is no curriculum history: give a .json that was saved, or a .ckpt"),
    ],
)
def test_a_file_that_is_no_history_is_named_with_what_is_wrong(content, message, tmp_path):
    path = tmp_path / "h.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        CurriculumHistory.load(path)
