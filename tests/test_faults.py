"""What a run survives: dull rewards, few and many tasks, a full disk, a clock that jumps, Ctrl-C."""

from __future__ import annotations

import logging
import math
import re
import resource
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, OnExceptionCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from curricula import CurriculumCallback, CurriculumLoader, Teacher
from curricula.bandits import Exp3S
from curricula.signals import Signal
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.report import Section, write_report
from curricula.tracking.table import write_table
from tests.models import Constant, Linear, tasks_of_constants, trainer


class Same(Signal):
    """Every step teaches alike."""

    def after_step(self, step):
        return 0.25


def fit(names="abc", steps=60, **options):
    pl.seed_everything(0, verbose=False)
    callback = CurriculumCallback(**options)
    loader = CurriculumLoader(tasks_of_constants(names), batch_size=4, steps_per_epoch=steps)
    trainer(callback, max_steps=steps).fit(Linear(), loader)
    return callback


def test_constant_rewards_leave_the_policy_uniform():
    callback = fit(signal=Same(), bandit=Exp3S(eta=0.1, epsilon=0.1))
    assert np.nanmax(np.abs(callback.history.column("reward"))) == 0.0
    np.testing.assert_allclose(callback.teacher.probabilities(), 1 / 3, rtol=0, atol=1e-12)


class Poisoned(Linear):
    """Gives a loss that is not finite on some steps, and does not train on these."""

    def __init__(self, poisoned):
        super().__init__()
        self.poisoned = poisoned

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return loss * math.nan if self.poisoned(batch, batch_idx) else loss

    def on_before_optimizer_step(self, optimizer):
        for parameter in self.parameters():
            parameter.grad.nan_to_num_()


def warnings_of(caplog, poisoned, steps=200):
    loader = CurriculumLoader(tasks_of_constants("abc"), batch_size=4, steps_per_epoch=steps)
    callback = CurriculumCallback()
    trainer(callback, max_steps=steps).fit(Poisoned(poisoned), loader)
    return callback, [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_task_that_gives_nothing_finite_is_told_of_twice_and_goes_on_being_drawn(caplog):
    callback, messages = warnings_of(caplog, lambda batch, _: batch[0][0, 0] == 1.0)
    first, second = messages
    assert re.match(r"progress on task 'b' was not finite \(nan\) at step \d+: .*`teacher.skipped`, .* once", first)
    assert re.match(
        r"task 'b' gave 20 times in a row a progress that is not finite \(last loss nan at step \d+\): .* goes on "
        r"drawing it\. Look at its data, lower the learning rate, or .* callback\.teacher\.remove_task\('b'\)$",
        second,
    )
    draws = callback.history.draws
    assert callback.teacher.skipped == [0, draws[1], 0]
    assert draws[1] > 25, "the bandit learned neither good nor bad of it"
    step = int(re.search(r"at step (\d+)", second)[1])
    arms = callback.history.column("arm")
    assert (arms[: step + 1] == 1).sum() == 20
    assert arms[step] == 1


def test_steps_that_are_skipped_now_and_then_are_told_of_once(caplog):
    callback, messages = warnings_of(caplog, lambda _, batch_idx: batch_idx % 3 == 0)
    assert sum(callback.teacher.skipped) == 67
    assert len(messages) == 1


def test_a_model_that_is_lost_is_told_of_whatever_the_task(caplog):
    _, messages = warnings_of(caplog, lambda _, batch_idx: batch_idx >= 100)
    first, second = messages
    assert "at step 100: " in first
    assert re.match(
        r"20 steps in a row, of the tasks \['.', .*\], gave no finite progress \(last loss nan at step 119\): the "
        r"parameters of the model .* earlier checkpoint .* lower learning rate .* EarlyStopping\(.*check_finite=True\)",
        second,
    )


def test_one_task_is_trained_on_as_without_a_curriculum():
    callback = fit("a")
    assert callback.history.draws.tolist() == [60]
    assert callback.teacher.probabilities().tolist() == [1.0]
    assert np.isfinite(callback.history.column("reward")).all()


def test_a_hundred_thousand_tasks_are_trained_on(tmp_path):
    one = Constant(1.0, 4)
    loader = CurriculumLoader({f"task {k}": one for k in range(100_000)}, batch_size=4, steps_per_epoch=20)
    callback = CurriculumCallback()
    fitter = trainer(callback, max_steps=20)
    fitter.fit(Linear(), loader)
    fitter.save_checkpoint(tmp_path / "run.ckpt")
    assert callback.teacher.updates == 20
    assert callback.teacher.probabilities().sum() == pytest.approx(1.0, abs=1e-9)
    assert callback.history.max_policies * 100_000 <= 2_000_000, "snapshots of the policy stay few"
    assert (tmp_path / "run.ckpt").stat().st_size < 32_000_000


@pytest.mark.parametrize(
    "write",
    [
        CurriculumHistory.save,
        lambda history, path: write_report(path, [Section("Run", history=history)]),
        lambda history, path: write_table(history, path.with_suffix(".csv")),
        lambda history, path: write_table(history, path.with_suffix(".parquet")),
    ],
    ids=["history", "page", "CSV", "Parquet"],
)
def test_a_full_disk_leaves_the_file_that_was_there(write, tmp_path, monkeypatch):
    history = fit().history
    path = write(history, tmp_path / "file")
    before = path.read_bytes()
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(history, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path], "nothing half-written is left"


def test_clocks_that_jump_change_nothing(monkeypatch):
    expected = fit().history.state_dict()
    real, calls = time.time, []

    def jumping():
        calls.append(0)
        return real() - 1000.0 * len(calls)

    monkeypatch.setattr(time, "time", jumping)
    for place in ("data.delivery", "data.sources.task_dataset"):
        monkeypatch.setattr(f"curricula.{place}.perf_counter", jumping)
    monkeypatch.setattr("curricula.tracking.loggers.scalars.time", SimpleNamespace(perf_counter=jumping))
    found = fit().history.state_dict()
    assert len(calls) > 60, "somebody looks at the clock"
    assert {key: str(value) for key, value in found.items()} == {key: str(value) for key, value in expected.items()}


class Signalled(Linear):
    """Gets a signal in the seventh step."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def training_step(self, batch, batch_idx):
        if self.global_step == 7:
            signal.raise_signal(self.number)
        return super().training_step(batch, batch_idx)


class Impatient(pl.Callback):
    """Gets another Ctrl-C while the first is being dealt with."""

    def on_exception(self, *_):
        signal.raise_signal(signal.SIGINT)


class FirstStep(pl.Callback):
    """Remembers where training begins."""

    def on_train_start(self, trainer, pl_module):
        self.step = trainer.global_step


@pytest.fixture
def handlers():
    """Lightning ignores Ctrl-C from the first one on."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("number", "others", "steps"),
    [(signal.SIGINT, (), 7), (signal.SIGINT, (Impatient(),), 7), (signal.SIGTERM, (), 8)],
    ids=["Ctrl-C", "Ctrl-C twice", "SIGTERM"],
)
def test_after_a_signal_the_state_is_in_the_checkpoint_and_the_figures_are_written(number, others, steps, tmp_path):
    def loader():
        return CurriculumLoader(tasks_of_constants("abc"), batch_size=4, steps_per_epoch=20)

    torch.manual_seed(0)
    undisturbed, whole = CurriculumCallback(), Linear()
    trainer(undisturbed, max_steps=20).fit(whole, loader())

    torch.manual_seed(0)
    callback, logger = CurriculumCallback(), TensorBoardLogger(tmp_path)
    options = {"max_steps": 20, "logger": logger, "log_every_n_steps": 100, "enable_checkpointing": True}
    saver = OnExceptionCheckpoint(tmp_path, "last")
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer(*others, callback, saver, **options).fit(Signalled(number), loader())
    assert callback.history.steps == steps
    assert "curriculum/policy" in EventAccumulator(logger.log_dir).Reload().Tags()["images"]

    resumed, model, first = CurriculumCallback(), Linear(), FirstStep()
    trainer(first, resumed, max_steps=20).fit(model, loader(), ckpt_path=tmp_path / "last.ckpt")
    assert first.step == steps
    assert resumed.history.steps == 20
    assert resumed.teacher.open_draws() == []
    if number == signal.SIGTERM:  # heeded between two steps; Ctrl-C costs the step that it came in
        assert resumed.history.column("arm").tolist() == undisturbed.history.column("arm").tolist()
        assert model.layer.weight.tolist() == whole.layer.weight.tolist()
    else:
        assert resumed.history.column("arm")[:7].tolist() == undisturbed.history.column("arm")[:7].tolist()


def test_the_same_callback_goes_on_from_a_checkpoint_after_an_error(tmp_path):
    class Failing(Linear):
        def training_step(self, batch, batch_idx):
            if self.global_step == 13:
                raise RuntimeError("out of memory")
            return super().training_step(batch, batch_idx)

    def run(callback, model, **options):
        torch.manual_seed(0)
        data = CurriculumLoader(tasks_of_constants("abc"), batch_size=4, steps_per_epoch=20)
        saver = ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=10)
        trainer(callback, saver, max_steps=20, enable_checkpointing=True).fit(model, data, **options)

    undisturbed, callback = CurriculumCallback(), CurriculumCallback()
    run(undisturbed, Linear())
    path = next(tmp_path.glob("*step=10.ckpt"))
    with pytest.raises(RuntimeError, match="out of memory"):
        run(callback, Failing())
    assert callback.history.steps == 13
    run(callback, Linear(), ckpt_path=path)
    assert callback.history.column("arm").tolist() == undisturbed.history.column("arm").tolist()
    assert callback.teacher.state_dict() == undisturbed.teacher.state_dict()


def test_a_history_survives_a_file_that_ends_too_early(tmp_path):
    path = fit().history.save(tmp_path / "history.json")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"history.json is no curriculum history: it is not JSON \(\w+"):
        CurriculumHistory.load(path)


def test_rewards_of_any_size_leave_a_distribution():
    teacher = Teacher(list("abc"))
    for rate in (0.0, 1e308, -1e308, 5e-324, float("inf"), float("nan"), 1e-300) * 20:
        teacher.reward(teacher.draw(), rate)
        assert abs(teacher.probabilities().sum() - 1.0) < 1e-12
    assert sum(teacher.skipped) == 40
