"""Data that cannot be read: where it happened is told, and what can be trained on goes on."""

from __future__ import annotations

import logging
import os
import signal

import pytest
from torch.utils.data import DataLoader, get_worker_info

from curricula import CurriculumCallback, CurriculumLoader, Teacher
from curricula.bandits import Exp3S, FixedPolicy
from curricula.data import TaskError
from tests.models import Constant, Linear, Rows, rows_of, tasks_of_constants, trainer


class OddError(ValueError):
    """An error that cannot be sent between processes: its arguments are not its constructor's."""

    def __init__(self, row, reason):
        super().__init__(f"row {row}: {reason}")


class Holes(Rows):
    """Rows of which some cannot be read."""

    def __init__(self, task, size, holes, error=None):
        super().__init__(task, size)
        self.holes = holes
        self.error = error or KeyError("no such row")

    def __getitem__(self, index):
        if index in self.holes:
            raise self.error
        return super().__getitem__(index)


class Stream:
    """A re-iterable of batches whose iterator survives its errors."""

    def __init__(self, *items):
        self.items = items

    def __iter__(self):
        return _Iterator(self.items)


class _Iterator:
    def __init__(self, items):
        self.items = iter(items)

    def __iter__(self):
        return self

    def __next__(self):
        item = next(self.items)
        if isinstance(item, Exception):
            raise item
        return item


def whole(loader):
    """Read an epoch of one task's batches."""
    return [rows_of(batch)[1] for batch in loader]


# ---------------------------------------------------------------- raise


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_names_the_task_the_samples_and_the_draw_and_has_its_cause(workers):
    tasks = {"fine": Rows(0, 8), "holes": Holes(1, 8, {5})}
    loader = CurriculumLoader(tasks, batch_size=4, steps_per_epoch=20, shuffle=False, num_workers=workers)
    message = r"task 'holes' raised KeyError while reading the samples \[4, 5, 6, 7\]: 'no such row' \(draw \d+\)$"
    with pytest.raises(TaskError, match=message) as caught:
        list(loader)
    assert isinstance(caught.value.__cause__, KeyError)
    if workers:
        assert "in __getitem__" in str(caught.value.__cause__.__cause__), "the traceback of the worker"


def test_an_error_that_cannot_be_sent_between_processes_is_told_all_the_same():
    loader = CurriculumLoader(
        {"odd": Holes(0, 4, {0}, OddError(0, "is odd"))}, batch_size=2, num_workers=1, multiprocessing_context="fork"
    )
    with pytest.raises(TaskError, match=r"'odd' raised RuntimeError .*: OddError: row 0: is odd \(draw \d\)") as caught:
        list(loader)
    assert "OddError" in str(caught.value.__cause__.__cause__)


def test_an_error_in_a_stream_names_the_batch_and_the_draw():
    loader = CurriculumLoader({"stream": Stream("one", OSError("gone"))}, steps_per_epoch=5)
    with pytest.raises(TaskError, match=r"task 'stream' raised OSError at batch 1 of its pass 0: gone \(draw 1\)") as e:
        list(loader)
    assert isinstance(e.value.__cause__, OSError)


def test_a_task_that_turns_out_to_be_empty_is_told_by_the_trainer():
    loader = CurriculumLoader({"none": Stream()}, steps_per_epoch=5)
    with pytest.raises(TaskError, match=r"task 'none' yields no batch: leave it out, or give it data \(draw 0\)"):
        trainer(CurriculumCallback(), max_steps=3).fit(Linear(), loader)


class Deadly(Rows):
    """Kills the worker process that reads its row 5."""

    def __getitem__(self, index):
        if index == 5 and get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_killed_worker_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)
    loader = CurriculumLoader({"deadly": Deadly(0, 8)}, batch_size=2, num_workers=2)
    with pytest.raises(TaskError, match=r"a worker process .* failed \(.*\['deadly'\].*out of memory.*num_workers=0"):
        list(loader)


# ---------------------------------------------------------------- retry


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_that_cannot_be_read_are_replaced_by_those_that_follow(workers, caplog):
    tasks = {"holes": Holes(0, 8, {1, 2, 7})}
    loader = CurriculumLoader(tasks, batch_size=4, shuffle=False, num_workers=workers, on_error="retry")
    assert whole(loader) == [[0, 3, 3, 3], [4, 5, 6, 0]]
    assert whole(loader) == [[0, 3, 3, 3], [4, 5, 6, 0]]
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "task 'holes' raised KeyError: 'no such row'; other data of the task are taken" in record.getMessage()


def test_the_batches_of_a_stream_that_follow_an_error_are_taken(caplog):
    loader = CurriculumLoader({"s": Stream("a", OSError("gone"), "b", "c")}, steps_per_epoch=7, on_error="retry")
    assert list(loader) == list("abcabca")
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_a_run_with_retries_is_resumed_exactly():
    def make():
        tasks = {"s": Stream("a", OSError("gone"), "b", "c"), "t": Stream("d", "e", OSError("gone"))}
        return CurriculumLoader(tasks, steps_per_epoch=20, on_error="retry")

    expected = list(make())
    for stop in range(20):
        loader, resumed = make(), make()
        iterator = iter(loader)
        begun = [next(iterator) for _ in range(stop)]
        resumed.load_state_dict(loader.state_dict())
        assert begun + list(resumed) == expected if stop else list(resumed) == expected


@pytest.mark.parametrize("on_error", ["retry", "drop"])
def test_retries_have_an_end(on_error):
    tasks = {"holes": Holes(0, 30, set(range(30)))}
    with pytest.raises(TaskError, match="task 'holes' raised KeyError while reading the samples"):
        list(CurriculumLoader(tasks, batch_size=2, on_error=on_error))
    broken = {"s": Stream(*[OSError(f"gone {k}") for k in range(50)])}
    with pytest.raises(TaskError, match="task 's' raised OSError at batch 0 of its pass 0: gone 10"):
        list(CurriculumLoader(broken, steps_per_epoch=3, on_error=on_error))
    generator = {"g": DataLoader([1, 2], collate_fn=_fails)}
    with pytest.raises(TaskError, match="task 'g' raised ZeroDivisionError") as caught:
        list(CurriculumLoader(generator, steps_per_epoch=3, on_error=on_error))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def _fails(samples):
    return samples[0] / 0


def test_what_a_signal_samples_is_retried_too():
    loader = CurriculumLoader({"holes": Holes(0, 8, {1})}, batch_size=8, on_error="retry")
    rows = rows_of(loader.samples.next("holes"))[1]
    assert 1 not in rows
    assert len(rows) == 8


# ---------------------------------------------------------------- drop


@pytest.mark.parametrize("workers", [0, 2])
def test_a_task_that_cannot_be_read_is_dropped_with_one_warning(workers, caplog):
    tasks = {"fine": Rows(0, 8), "gone": Holes(1, 8, set(range(8))), "too": Rows(2, 8)}
    loader = CurriculumLoader(tasks, batch_size=4, steps_per_epoch=30, num_workers=workers, on_error="drop")
    teacher = Teacher(loader.names, bandit=FixedPolicy([1.0, 1.0, 3.0]))
    loader.attach(teacher)
    for _ in range(2):
        drawn = []
        for batch in loader:
            (draw,) = loader.claim()
            assert rows_of(batch)[0] == draw.arm
            teacher.reward(draw, 0.5)
            drawn.append(draw.task)
        assert len(drawn) == 30
        assert set(drawn) == {"fine", "too"}
    assert teacher.probabilities().tolist() == pytest.approx([0.25, 0.0, 0.75])
    assert teacher.open_draws() == []
    (record,) = [record for record in caplog.records if "dropped" in record.getMessage()]
    assert "the task is dropped, and the others share its probability" in record.getMessage()
    assert "task 'gone' raised KeyError" in record.getMessage()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("micro", [1, 3])
def test_training_goes_on_without_a_dropped_task(workers, micro):
    tasks = {**tasks_of_constants("ab"), "gone": _Fading(2.0), "stream": Stream()}
    loader = CurriculumLoader(tasks, batch_size=4, steps_per_epoch=60, num_workers=workers, on_error="drop")
    callback = CurriculumCallback(Exp3S(beta=0.1))
    fitter = trainer(callback, max_epochs=2, accumulate_grad_batches=micro)
    fitter.fit(Linear(), loader)
    assert fitter.global_step == 120 // micro
    assert set(callback.teacher.removed) == {"gone", "stream"}
    assert callback.teacher.open_draws() == []
    policy = callback.history.policies()[1][-1]
    assert policy[2:].tolist() == [0.0, 0.0]
    assert policy.sum() == pytest.approx(1.0)


class _Fading(Constant):
    """A task of which the second half cannot be read."""

    def __getitem__(self, index):
        if index >= 16:
            raise OSError("the disk is gone")
        return super().__getitem__(index)


def test_a_dropped_task_stays_dropped_after_a_resume():
    tasks = {"fine": Rows(0, 8), "gone": Holes(1, 8, set(range(8)))}
    loader = CurriculumLoader(tasks, batch_size=4, steps_per_epoch=30, on_error="drop")
    list(loader)
    resumed = CurriculumLoader(tasks, batch_size=4, steps_per_epoch=30, on_error="drop")
    resumed.load_state_dict(loader.state_dict())
    assert resumed.teacher.removed == ("gone",)


def test_the_last_task_is_not_dropped():
    tasks = {"a": Holes(0, 4, set(range(4))), "b": Holes(1, 4, set(range(4)))}
    with pytest.raises(TaskError, match="no other task is left: every other one was dropped") as caught:
        list(CurriculumLoader(tasks, batch_size=2, on_error="drop"))
    assert isinstance(caught.value.__cause__, KeyError)


def test_tasks_are_not_dropped_on_several_ranks():
    loader = CurriculumLoader({"a": Rows(0, 8)}, on_error="drop")
    with pytest.raises(ValueError, match=r'on_error="drop" is for one process, got 2 ranks.*Use on_error="retry"'):
        loader.attach(Teacher(["a"]), rank=0, world_size=2)


def test_another_word_is_refused():
    with pytest.raises(ValueError, match=r"""on_error must be "raise", "retry" or "drop", got 'ignore'"""):
        CurriculumLoader({"a": Rows(0, 8)}, on_error="ignore")
