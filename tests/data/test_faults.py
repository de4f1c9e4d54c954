"""Data that cannot be read: where it happened is told, and what can be trained on goes on."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import threading

import pytest
from torch.utils.data import DataLoader, get_worker_info

from curricula import CurriculumCallback, CurriculumLoader, Teacher
from curricula.bandits import Exp3S, FixedPolicy
from curricula.data import TaskError
from curricula.data.workers import stop_workers
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


def test_a_stream_that_cannot_start_over_is_told_by_its_pass():
    class Once:
        def __init__(self):
            self.items = iter([1, 2])

        def __iter__(self):
            yield from self.items

    loader = CurriculumLoader({"once": Once()}, steps_per_epoch=5)
    message = r"task 'once' yields no batch in its pass 1: it must start over each time .* end after the one before"
    with pytest.raises(TaskError, match=message + r" \(draw 2\)"):
        list(loader)


def test_the_error_of_a_loader_of_its_own_is_told_on_one_line():
    loader = CurriculumLoader({"own": DataLoader(Holes(0, 8, {5}), batch_size=2, num_workers=1)}, steps_per_epoch=9)
    message = r"^task 'own' raised KeyError at batch 2 of its pass 0: 'no such row' \(draw 2\)$"
    with pytest.raises(TaskError, match=message) as caught:
        list(loader)
    assert "in __getitem__" in str(caught.value.__cause__), "the traceback of the worker"
    assert multiprocessing.active_children() == []


def test_a_worker_that_cannot_begin_names_the_tasks():
    loader = CurriculumLoader({"a": Rows(0, 8)}, num_workers=1, worker_init_fn=_fails)
    with pytest.raises(TaskError, match=r"a worker process failed \(TypeError: .*\['a'\]: .*worker_init_fn"):
        list(loader)
    assert multiprocessing.active_children() == []


class Opened(Rows):
    """Holds what no other process can be sent."""

    def __init__(self, task, size):
        super().__init__(task, size)
        self.file = threading.Lock()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"^task 'opened' cannot be sent to a worker process \(TypeError: .*lock.*context=\"fork\"$"),
        ({"collate_fn": lambda samples: samples}, r"^collate_fn cannot be sent to .* at the top of a module"),
        ({"worker_init_fn": lambda number: None}, r"^worker_init_fn cannot be sent to .* at the top of a module"),
    ],
)
def test_what_cannot_be_sent_to_a_worker_is_named(options, message):
    tasks = {"fine": Rows(0, 8)} if options else {"fine": Rows(0, 8), "opened": Opened(1, 8)}
    loader = CurriculumLoader(tasks, num_workers=1, multiprocessing_context="spawn", **options)
    with pytest.raises(TypeError, match=message) as caught:
        list(loader)
    assert caught.value.__cause__ is not None


# ---------------------------------------------------------------- worker processes that hang or die


class Deadly(Rows):
    """Kills the worker process that reads its row 5."""

    def __getitem__(self, index):
        if index == 5 and get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


class Hanging(Rows):
    """Never gives its row 5."""

    def __getitem__(self, index):
        if index == 5:
            threading.Event().wait()
        return super().__getitem__(index)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("on_error", "persistent"), [("raise", False), ("raise", True), ("drop", False)])
def test_a_killed_worker_is_an_error_that_names_the_tasks_and_leaves_no_process(on_error, persistent):
    loader = CurriculumLoader(
        {"deadly": Deadly(0, 8)}, batch_size=2, num_workers=2, persistent_workers=persistent, on_error=on_error
    )
    message = (
        r"^a worker process died \(.*\) at the tasks \['deadly'\]: one that is killed is most often "
        r"out of memory \(make batch_size, num_workers or prefetch_factor smaller.*num_workers=0"
    )
    for _ in range(2):  # the second time with new workers
        with pytest.raises(TaskError, match=message):
            list(loader)
        assert multiprocessing.active_children() == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_killed_worker_of_a_tasks_own_loader_names_the_task():
    own = DataLoader(Deadly(0, 8), batch_size=2, num_workers=1)
    loader = CurriculumLoader({"own": own}, steps_per_epoch=9, on_error="retry")
    message = (
        r"^task 'own' lost a worker process at batch [012] of its pass 0 \(.*\): one that is killed .*out of memory"
    )
    with pytest.raises(TaskError, match=message):
        list(loader)
    assert multiprocessing.active_children() == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_training_whose_worker_was_killed_ends_with_the_tasks_names_and_no_process(caplog):
    class DeadlyTask(Constant):
        def __getitem__(self, index):
            if index == 5 and get_worker_info() is not None:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__getitem__(index)

    loader = CurriculumLoader({"deadly": DeadlyTask(0.0)}, batch_size=4, num_workers=2, persistent_workers=True)
    with pytest.raises(RuntimeError, match=r"worker") as caught:  # torch's own, if it came in the midst of a step
        trainer(CurriculumCallback(), max_steps=30).fit(Linear(), loader)
    assert "a worker process died" in caplog.text + str(caught.value)
    assert "at the tasks ['deadly']" in caplog.text + str(caught.value)
    assert multiprocessing.active_children() == []


def killed(worker):
    """What torch raises, wherever the main process is, when a worker was killed."""
    return RuntimeError(f"DataLoader worker (pid {worker.pid}) is killed by signal: Killed. ")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_death_that_torch_tells_of_twice_is_one_error(monkeypatch):
    told = []

    def again(iterator):  # torch's handler of signals comes while the broken connection is dealt with
        if not told:
            told.append(0)
            raise killed(*iterator._workers)
        stop_workers(iterator)

    monkeypatch.setattr("curricula.data.pool.stop_workers", again)
    loader = CurriculumLoader({"deadly": Deadly(0, 8)}, batch_size=2, num_workers=1)
    with pytest.raises(TaskError, match=r"^a worker process died .*is killed by signal"):
        list(loader)
    assert told
    assert multiprocessing.active_children() == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("own", [False, True])
def test_a_worker_that_dies_before_the_first_batch_is_waited_for_names_the_tasks(own, monkeypatch):
    def put(queue, item):  # what the iterator does when it is made
        raise killed(*multiprocessing.active_children())

    task = DataLoader(Rows(0, 8), batch_size=2, num_workers=1) if own else Rows(0, 8)
    loader = CurriculumLoader({"deadly": task}, batch_size=2, steps_per_epoch=4, num_workers=0 if own else 1)
    monkeypatch.setattr("multiprocessing.queues.Queue.put", put)
    with pytest.raises(TaskError, match=r"^a worker process died .*is killed by signal.* at the tasks \['deadly'\]"):
        list(loader)


def test_the_death_of_a_worker_is_not_laid_on_another_task():
    class Other:
        def __iter__(self):
            while True:
                if own._iterator is not None:
                    raise killed(*own._iterator._workers)
                yield "batch"

    own = DataLoader(Rows(0, 8), batch_size=2, num_workers=1, persistent_workers=True)
    loader = CurriculumLoader({"own": own, "other": Other()}, steps_per_epoch=50)
    with pytest.raises(TaskError, match=r"^task 'own' lost a worker process"):
        list(loader)


def test_the_death_of_a_worker_in_the_midst_of_a_step_is_explained_in_the_log(caplog):
    class Killing(Linear):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            if batch_idx == 5:
                raise killed(*multiprocessing.active_children())
            return loss

    loader = CurriculumLoader(tasks_of_constants("ab"), batch_size=4, steps_per_epoch=60, num_workers=1)
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        trainer(CurriculumCallback(), max_steps=60).fit(Killing(), loader)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "a worker process died" in record.getMessage()
    assert "at the tasks ['" in record.getMessage()


def test_a_task_that_hangs_is_named_when_its_time_is_up():
    tasks = {"fine": Rows(0, 8), "hangs": Hanging(1, 8)}
    loader = CurriculumLoader(tasks, batch_size=4, steps_per_epoch=30, num_workers=2, timeout=2)
    message = (
        r"^task 'hangs' gave no batch in time from a worker of the loader \(.*timed out after 2.0 seconds\): it hangs, "
        r"or needs longer; give a larger timeout, or num_workers=0 .*, or leave the task out \(draw \d+\)$"
    )
    with pytest.raises(TaskError, match=message):
        list(loader)
    assert multiprocessing.active_children() == []


def test_a_loader_of_its_own_that_hangs_is_named_when_its_time_is_up():
    own = DataLoader(Hanging(0, 8), batch_size=2, num_workers=1, timeout=2)
    loader = CurriculumLoader({"hangs": own}, steps_per_epoch=9, on_error="retry")
    with pytest.raises(TaskError, match=r"^task 'hangs' gave no batch in time at batch 2 of its pass 0 \(.*2 sec"):
        list(loader)
    assert multiprocessing.active_children() == []


def test_a_task_that_hangs_can_be_dropped(caplog):
    tasks = {"fine": Constant(0.0), "hangs": Hanging(1, 8)}
    loader = CurriculumLoader(tasks, batch_size=8, steps_per_epoch=30, num_workers=2, timeout=2, on_error="drop")
    callback = CurriculumCallback()
    trainer(callback, max_epochs=2).fit(Linear(), loader)
    assert callback.history.draws.tolist() == [60, 0]
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "task 'hangs' gave no batch in time" in record.getMessage()
    assert "the task is dropped" in record.getMessage()


def test_without_workers_a_timeout_is_said_to_have_no_effect(caplog):
    CurriculumLoader({"a": Rows(0, 8)}, timeout=5)
    assert "timeout=5 has no effect with num_workers=0" in caplog.text


# ---------------------------------------------------------------- slow


class Clock:
    """A clock that tasks turn forward."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        for place in ("delivery", "sources.task_dataset"):
            monkeypatch.setattr(f"curricula.data.{place}.perf_counter", lambda: self.now)

    def task(self, seconds, size=32):
        clock = self

        class Slow(Rows):
            def __getitem__(self, index):
                clock.now += seconds
                return super().__getitem__(index)

        return Slow(0, size)


def slow_ones(caplog):
    return [record.getMessage() for record in caplog.records if "as long to read" in record.getMessage()]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_task_far_slower_than_the_others_is_told_of_once(streamed, caplog, monkeypatch):
    clock = Clock(monkeypatch)
    slow = clock.task(1.25)
    tasks = {
        "a": clock.task(0.01),
        "b": clock.task(0.01),
        "slow": DataLoader(slow, batch_size=4) if streamed else slow,
        "c": DataLoader(clock.task(0.015), batch_size=4),
    }
    loader = CurriculumLoader(tasks, batch_size=4, steps_per_epoch=200)
    list(loader)
    list(loader)
    (message,) = slow_ones(caplog)
    assert message.startswith(
        "task 'slow' takes 125 times as long to read as the median of the others (5 s against 0.04 s a batch), and the"
    )
    assert "num_workers" in message
    assert "teacher.remove_task('slow')" in message
    assert loader.seconds_per_batch == pytest.approx({"a": 0.04, "b": 0.04, "slow": 5.0, "c": 0.06})


@pytest.mark.parametrize(("fast", "slow"), [(0.01, 0.9), (0.0, 0.01)])
def test_a_task_that_is_a_little_slower_or_fast_enough_is_not(fast, slow, caplog, monkeypatch):
    clock = Clock(monkeypatch)
    tasks = {"a": clock.task(fast), "b": clock.task(fast), "slow": clock.task(slow)}
    list(CurriculumLoader(tasks, batch_size=4, steps_per_epoch=200))
    assert slow_ones(caplog) == []


def test_one_long_pause_makes_no_task_slow(caplog, monkeypatch):
    clock = Clock(monkeypatch)
    pauses = [3600.0]

    class Pausing(Rows):
        def __getitem__(self, index):
            clock.now += pauses.pop() if pauses and index == 5 else 0.01
            return super().__getitem__(index)

    loader = CurriculumLoader({"a": Pausing(0, 32), "b": clock.task(0.01)}, batch_size=4, steps_per_epoch=200)
    list(loader)
    assert pauses == []
    assert slow_ones(caplog) == []
    assert loader.seconds_per_batch == pytest.approx({"a": 0.04, "b": 0.04})


def test_worker_processes_tell_how_long_they_took():
    loader = CurriculumLoader({"a": Rows(0, 8)}, batch_size=2, steps_per_epoch=8, num_workers=1)
    assert math.isnan(loader.seconds_per_batch["a"])
    list(loader)
    assert 0 < loader.seconds_per_batch["a"] < 60


def test_times_are_no_part_of_the_state(monkeypatch):
    def state(seconds):
        clock = Clock(monkeypatch)
        loader = CurriculumLoader({"a": clock.task(seconds), "b": clock.task(2 * seconds)}, steps_per_epoch=100)
        list(loader)
        return loader.state_dict()

    assert state(0.0) == state(10.0)


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
