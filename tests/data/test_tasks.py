"""Bad tasks and options are refused with a message that says what was given and what to do."""

from __future__ import annotations

import traceback

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from curricula import CurriculumLoader
from curricula.data import TaskError
from curricula.data.tasks import check_grid, is_map_style
from tests.models import Rows, StreamedRows, tasks_of_rows


class Endless:
    def __iter__(self):
        while True:
            yield torch.zeros(1)


def generator():
    yield torch.zeros(1)


DATA = Rows(0, 4)

BAD_TASKS = [
    ({}, ValueError, "a curriculum needs at least one task, got none"),
    ([DATA], TypeError, 'tasks must be a mapping from name to dataset or loader, got list: write {"name": dataset'),
    (None, TypeError, "tasks must be a mapping from name to dataset or loader, got NoneType"),
    ({3: DATA}, TypeError, r"task names must be strings, got 3 \(int\): use str\(3\)"),
    ({"a": DATA, None: DATA}, TypeError, "task names must be strings, got None"),
    ({"": DATA}, ValueError, "a task name must not be empty"),
    ({"a": DATA, "b": []}, ValueError, "task 'b' is an empty dataset: leave it out, or give it samples"),
    ({"b": Rows(0, 0)}, ValueError, "task 'b' is an empty dataset"),
    (
        {"b": generator()},
        ValueError,
        r"task 'b' is an iterator \(generator\), which cannot start over.*IterableDataset",
    ),
    ({"b": zip([1], [2], strict=True)}, ValueError, r"task 'b' is an iterator \(zip\)"),
    ({"b": iter(DataLoader(DATA))}, ValueError, "task 'b' is an iterator"),
    ({"b": 7}, TypeError, "task 'b' must be a Dataset, an IterableDataset or an iterable of batches, got int"),
    ({"b": None}, TypeError, "task 'b' must be a Dataset.*got NoneType"),
    ({"b": generator}, TypeError, "task 'b' must be a Dataset.*got function"),
    ({"b": Endless()}, ValueError, "task 'b' has no length: give steps_per_epoch by hand"),
    ({"a": DATA, "b": StreamedRows(0, 4)}, ValueError, "task 'b' has no length: give steps_per_epoch by hand"),
]


@pytest.mark.parametrize(("tasks", "error", "message"), BAD_TASKS)
def test_bad_tasks_are_refused(tasks, error, message):
    with pytest.raises(error, match=message):
        CurriculumLoader(tasks)


STREAMS = {"a": StreamedRows(0, 4), "b": Endless()}

BAD_OPTIONS = [
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    ({"batch_size": -1}, ValueError, "batch_size must be at least 1, got -1"),
    ({"batch_size": 2.5}, TypeError, "batch_size must be an int, got 2.5"),
    ({"batch_size": True}, TypeError, "batch_size must be an int, got True"),
    ({"batch_size": "4"}, TypeError, "batch_size must be an int, got '4'"),
    ({"presharded": True}, ValueError, "presharded=True is for streamed tasks, and there are none"),
    ({"presharded": ["0"]}, ValueError, "presharded has \\['0'\\], which are read by index and split by this loader"),
    ({"presharded": ["x"]}, ValueError, "presharded has \\['x'\\], which are no tasks: the tasks are"),
    ({"presharded": "0"}, TypeError, "presharded must be True, False or a list of task names"),
    ({"steps_per_epoch": 0}, ValueError, "steps_per_epoch must be at least 1, got 0"),
    ({"steps_per_epoch": 1e3}, TypeError, "steps_per_epoch must be an int, got 1000.0"),
    ({"num_workers": -1}, ValueError, "num_workers must be at least 0, got -1"),
    ({"num_workers": 1.0}, TypeError, "num_workers must be an int, got 1.0"),
    (
        {"drop_last": True, "batch_size": 5},
        ValueError,
        "task '0' has 4 samples, fewer than one batch of 5 x 1 ranks, and drop_last=True leaves nothing: make",
    ),
    (
        {"grid": {"x": 2, "y": 3}},
        ValueError,
        r"grid \(x: 2 x y: 3\) has 6 cells for 2 tasks: the axes' sizes must multiply",
    ),
    ({"grid": {}}, ValueError, "has 1 cells for 2 tasks"),
    ({"seed": -1}, ValueError, r"seed must be in \[0, 2\*\*64\), got -1"),
    ({"seed": 2**64}, ValueError, r"seed must be in \[0, 2\*\*64\), got 18446744073709551616"),
    ({"seed": 0.5}, TypeError, "seed must be an int, got 0.5"),
    ({"seed": None}, TypeError, "seed must be an int, got None"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD_OPTIONS, ids=[str(case[0]) for case in BAD_OPTIONS])
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        CurriculumLoader(tasks_of_rows(4, 9), **options)


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="batchsize"):
        CurriculumLoader(tasks_of_rows(4), batchsize=2)


def test_workers_without_map_style_tasks_are_refused_with_the_way_out():
    message = r"num_workers=3 serves map-style tasks, and there are none: .*DataLoader\(dataset, .*num_workers=3\)"
    with pytest.raises(ValueError, match=message):
        CurriculumLoader(STREAMS, steps_per_epoch=4, num_workers=3)


# ---------------------------------------------------------------- kinds of tasks, grids


@pytest.mark.parametrize("task", [DATA, [1, 2], (1, 2), torch.zeros(3)], ids=["Dataset", "list", "tuple", "tensor"])
def test_what_has_a_length_and_an_index_is_map_style(task):
    assert is_map_style(task)


def test_streams_are_not_map_style_even_with_a_length():
    class Sized(IterableDataset):
        def __iter__(self):
            return iter([1])

        def __len__(self):
            return 1

    assert not any(is_map_style(task) for task in (Sized(), StreamedRows(0, 1), DataLoader(DATA), Endless()))


def test_a_grid_has_a_label_for_every_value_of_every_axis():
    assert check_grid({"length": 2, "speed": ["slow", 3]}, 4) == {"length": ["1", "2"], "speed": ["slow", "3"]}
    assert check_grid(None, 4) is None
    assert CurriculumLoader(tasks_of_rows(1, 1), grid={"x": 2}).grid == {"x": ["1", "2"]}


# ---------------------------------------------------------------- tasks that fail while training


class Broken(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        raise KeyError(f"no row {index}")


class BrokenStream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(1)
        raise OSError("the disk is gone")


class BrokenAtOnce:
    def __iter__(self):
        raise OSError("no such file")


class Nothing:
    def __iter__(self):
        return iter(())


class NoBatch:
    def __iter__(self):
        return iter([None])


def let_go(caught):
    """Free the workers now: where the garbage collector finds them, torch waits five seconds for each."""
    traceback.clear_frames(caught.tb)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_that_cannot_be_read_names_its_task(workers):
    loader = CurriculumLoader({"bad": Broken()}, batch_size=2, shuffle=False, num_workers=workers)
    message = r"task 'bad' raised KeyError while reading the samples \[0, 1\]: 'no row 0'"
    with pytest.raises(TaskError, match=message) as caught:
        list(loader)
    let_go(caught)


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_that_do_not_make_a_batch_name_their_task(workers):
    ragged = [torch.zeros(2), torch.zeros(3)]
    loader = CurriculumLoader({"ragged": ragged}, batch_size=2, num_workers=workers)
    with pytest.raises(TaskError, match="task 'ragged' raised RuntimeError while reading the samples") as caught:
        list(loader)
    let_go(caught)


def test_the_reason_is_kept():
    with pytest.raises(TaskError) as caught:
        list(CurriculumLoader({"bad": Broken()}))
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (BrokenStream(), "task 'bad' raised OSError at batch 1 of its pass 0: the disk is gone"),
        (BrokenAtOnce(), "task 'bad' raised OSError at batch 0 of its pass 0: no such file"),
        (DataLoader(Broken()), "task 'bad' raised KeyError at batch 0 of its pass 0"),
        (Nothing(), "task 'bad' yields no batch: leave it out, or give it data"),
        (NoBatch(), "task 'bad' yielded None instead of a batch"),
    ],
    ids=["raises later", "raises at once", "raises in a DataLoader", "is empty", "yields None"],
)
def test_a_stream_that_fails_names_its_task(task, message):
    loader = CurriculumLoader({"bad": task}, steps_per_epoch=4)
    with pytest.raises(TaskError, match=message):
        list(loader)
