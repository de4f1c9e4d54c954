"""The curriculum in the trainer's loggers and in its progress bar."""

from __future__ import annotations

import csv
import logging
import math
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
from matplotlib.figure import Figure
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.loggers.logger import DummyLogger, Logger

from curricula import CurriculumCallback, CurriculumLoader, Teacher
from curricula.tracking.history import effective_number
from curricula.tracking.loggers import schedule
from curricula.tracking.loggers.scalars import Scalars, Stopwatch
from tests.models import Linear, tasks_of_constants, trainer


def loader():
    return CurriculumLoader(tasks_of_constants(["one", "two", "three"]), batch_size=4, steps_per_epoch=10)


class Memory(CSVLogger):
    """Keeps what it is given, with the step."""

    def __init__(self, folder):
        super().__init__(folder)
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))


NAMES = {
    f"curriculum/{name}"
    for name in (
        "effective_tasks",
        "target_probability",
        "progress_rate",
        "progress_rate_low",
        "progress_rate_high",
        "reward",
        "skipped",
        "signal_time_share",
    )
}


def test_scalars_come_at_the_pace_and_step_of_the_trainer(tmp_path):
    class Logging(Linear):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.log("loss", loss)
            return loss

    memory = Memory(tmp_path)
    callback = CurriculumCallback(target="two", cost=lambda batch: 4.0)
    trainer(callback, max_steps=40, logger=memory, log_every_n_steps=5).fit(Logging(), loader())
    ours = [(step, metrics) for step, metrics in memory.rows if any(name.startswith("curriculum/") for name in metrics)]
    theirs = [step for step, metrics in memory.rows if "loss" in metrics]
    assert [step for step, _ in ours] == theirs == list(range(4, 40, 5))
    final = ours[-1][1]
    assert set(final) == NAMES
    policy = callback.teacher.probabilities()
    assert final["curriculum/target_probability"] == policy[1]
    assert final["curriculum/effective_tasks"] == pytest.approx(effective_number(policy))
    low, high = callback.teacher.scaler.quantiles()
    assert (final["curriculum/progress_rate_low"], final["curriculum/progress_rate_high"]) == (low, high)
    assert 0 <= final["curriculum/signal_time_share"] <= 1
    for place, (_, metrics) in enumerate(ours):
        since = slice(5 * place, 5 * place + 5)
        reward, progress = (callback.history.column(name)[since].mean() for name in ("reward", "progress"))
        assert metrics["curriculum/reward"] == pytest.approx(reward)
        assert metrics["curriculum/progress_rate"] == pytest.approx(progress / 4.0), "the cost is 4"


def test_steps_without_a_reward_leave_the_means_alone():
    scalars = Scalars(None, Stopwatch())
    scalars.add(2.0, 0.5)
    scalars.add(math.nan, None)
    teacher = Teacher(["a", "b"])
    teacher.reward(teacher.draw(), math.nan)
    entry = scalars.take(teacher, 7.0)
    assert (entry["curriculum/progress_rate"], entry["curriculum/reward"]) == (2.0, 0.5)
    assert entry["curriculum/skipped"] == 1.0
    assert "curriculum/target_probability" not in entry, "there is no target"
    assert "curriculum/progress_rate_low" not in entry, "the scaler has too few rates for quantiles"
    again = scalars.take(teacher, 7.0)
    assert "curriculum/reward" not in again, "nothing was learned since"


def test_the_signal_is_timed(tmp_path, monkeypatch):
    clock = iter(range(1_000_000))
    monkeypatch.setattr("curricula.tracking.loggers.scalars.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    memory = Memory(tmp_path)
    trainer(CurriculumCallback(), max_steps=10, logger=memory, log_every_n_steps=5).fit(Linear(), loader())
    # Two readings around before_step and two around after_step, five times; one before them and one after.
    assert memory.rows[-1][1]["curriculum/signal_time_share"] == pytest.approx(10 / 21)


@pytest.mark.parametrize("logger", [False, [DummyLogger(), DummyLogger()]])
def test_no_logger_and_many_loggers_are_fine(logger):
    callback = CurriculumCallback()
    trainer(callback, max_steps=10, logger=logger, log_every_n_steps=1).fit(Linear(), loader())
    assert callback.history.steps == 10


def test_a_logger_that_fails_costs_one_warning_and_no_training(tmp_path, caplog):
    class Full(Memory):
        def log_metrics(self, metrics, step=None):
            if any(name.startswith("curriculum/") for name in metrics):
                raise OSError(28, "No space left on device")

    other = Memory(tmp_path)
    callback = CurriculumCallback()
    with caplog.at_level(logging.WARNING, logger="curricula"):
        trainer(callback, max_steps=20, logger=[Full(tmp_path), other], log_every_n_steps=1).fit(Linear(), loader())
    warnings = [message for message in caplog.messages if "No space left" in message]
    assert len(warnings) == 1
    assert warnings[0].startswith(
        "Full failed (OSError: [Errno 28] No space left on device): the curriculum is no long"
    )
    assert callback.history.steps == 20
    assert len([1 for _, metrics in other.rows if "curriculum/reward" in metrics]) == 20


class WandbLogger(Logger):
    """Is taken for Lightning's, with a run that may refuse."""

    name = version = "run 7"

    def __init__(self, refuses=()):
        self.rows = []
        self.refuses = refuses
        config = SimpleNamespace(get=lambda name: None, update=lambda *_, **__: self.attempt("config"))
        self.experiment = SimpleNamespace(config=config, define_metric=lambda *_, **__: self.attempt("define_metric"))

    def attempt(self, what):
        if what in self.refuses:
            raise ConnectionError("the run is gone")

    def log_hyperparams(self, params):
        pass

    def log_metrics(self, metrics, step=None):
        self.attempt("charts" if "curriculum/policy_lines" in metrics else "numbers")
        self.rows.append((step, metrics))


def warnings_of(caplog, logger, steps=16):
    callback = CurriculumCallback()
    with caplog.at_level(logging.WARNING, logger="curricula"):
        trainer(callback, max_steps=steps, logger=logger, log_every_n_steps=4).fit(Linear(), loader())
    assert callback.history.steps == steps, "the training goes on"
    return [record.getMessage() for record in caplog.records if record.name.startswith("curricula")]


GOES_ON = "the curriculum is no longer written to it; the training goes on"


@pytest.mark.parametrize(("refuses", "written"), [("config", 0), ("define_metric", 0), ("numbers", 0), ("charts", 1)])
def test_a_wandb_run_that_refuses_costs_one_warning(refuses, written, caplog, monkeypatch):
    monkeypatch.setattr(schedule, "GAP", 4)
    logger = WandbLogger({refuses})
    assert warnings_of(caplog, logger) == [f"WandbLogger failed (ConnectionError: the run is gone): {GOES_ON}"]
    assert len(logger.rows) == written


def test_without_wandb_its_logger_costs_one_warning(caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    (message,) = warnings_of(caplog, WandbLogger())
    assert message.startswith("WandbLogger failed (ModuleNotFoundError: import of wandb halted")
    assert message.endswith(GOES_ON)


NO_SPACE = OSError(28, "No space left on device")


def test_a_full_disk_under_the_pictures_of_tensorboard_costs_one_warning(tmp_path, caplog, monkeypatch):
    def full(*arguments, **options):
        raise NO_SPACE

    monkeypatch.setattr(schedule, "GAP", 4)
    logger = TensorBoardLogger(tmp_path)
    monkeypatch.setattr(logger.experiment, "add_figure", full)
    message = f"TensorBoardLogger failed (OSError: [Errno 28] No space left on device): {GOES_ON}"
    assert warnings_of(caplog, logger) == [message]


def test_an_mlflow_server_that_takes_no_pictures_costs_one_warning(caplog, monkeypatch):
    def refuse(*arguments):
        raise ConnectionError("no answer")

    monkeypatch.setattr(schedule, "GAP", 4)
    logger = MLFlowLogger()
    logger.experiment.log_figure = refuse
    assert warnings_of(caplog, logger) == [f"MLFlowLogger failed (ConnectionError: no answer): {GOES_ON}"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit of file sizes")
@pytest.mark.parametrize("kind", [CSVLogger, TensorBoardLogger])
def test_on_a_full_disk_the_training_goes_on_to_its_end(kind, tmp_path, caplog, monkeypatch):
    # What a logger could not write it tries again when Lightning closes it: that error is Lightning's, after the end.
    import resource
    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Full(pl.Callback):
        def on_train_start(self, *_):
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))

        def on_train_end(self, *_):
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    options = {"flush_logs_every_n_steps": 1} if kind is CSVLogger else {"max_queue": 1, "flush_secs": 0}
    if kind is TensorBoardLogger:
        monkeypatch.setattr("threading.excepthook", lambda _: None)  # of TensorBoard's thread, which dies of it
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    callback, logger = CurriculumCallback(), kind(tmp_path, **options)
    try:
        with suppress(OSError):
            trainer(Full(), callback, max_steps=400, logger=logger, log_every_n_steps=1).fit(Linear(), loader())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert callback.history.steps == 400
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("curricula.tracking")]
    assert messages == [f"{kind.__name__} failed (OSError: [Errno 27] File too large): {GOES_ON}"]


def test_a_figure_that_fails_costs_one_warning_and_neither_logger_nor_training(tmp_path, caplog, monkeypatch):
    def broken(history):
        raise RuntimeError("no fonts")

    monkeypatch.setattr(schedule, "GAP", 4)
    monkeypatch.setattr("curricula.tracking.figures.losses_figure", broken)
    logger = TensorBoardLogger(tmp_path)
    with caplog.at_level(logging.WARNING, logger="curricula"):
        trainer(CurriculumCallback(), max_steps=16, logger=logger, log_every_n_steps=4).fit(Linear(), loader())
    (warning,) = [message for message in caplog.messages if "no fonts" in message]
    assert warning.startswith(
        "the losses figure of the curriculum cannot be drawn (RuntimeError: no fonts): it is left"
    )
    events = events_of(logger)
    assert len(events.Scalars("curriculum/reward")) == 4
    assert len(events.Images("curriculum/policy")) == 4


def test_without_matplotlib_the_numbers_are_there(tmp_path, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "curricula.tracking.figures", None)
    logger = TensorBoardLogger(tmp_path)
    with caplog.at_level(logging.INFO, logger="curricula"):
        trainer(CurriculumCallback(), max_steps=8, logger=logger, log_every_n_steps=4).fit(Linear(), loader())
    assert sum("lightning-curricula[plots]" in message for message in caplog.messages) == 1
    assert events_of(logger).Tags()["images"] == []
    assert len(events_of(logger).Scalars("curriculum/reward")) == 2


def events_of(logger):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(logger.log_dir).Reload()


def test_tensorboard_gets_scalars_and_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "GAP", 8)
    logger = TensorBoardLogger(tmp_path)
    trainer(CurriculumCallback(target="two"), max_steps=20, logger=logger, log_every_n_steps=4).fit(Linear(), loader())
    events = events_of(logger)
    assert set(events.Tags()["scalars"]) - {"epoch"} == NAMES
    assert [event.step for event in events.Scalars("curriculum/reward")] == [3, 7, 11, 15, 19]
    for name in ("policy", "losses", "syllabus"):
        expected = [7, 15, 19] if name == "policy" else [19]
        assert [event.step for event in events.Images(f"curriculum/{name}")] == expected


def test_pictures_can_be_left_out(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    trainer(CurriculumCallback(log_figures=False), max_steps=16, logger=logger).fit(Linear(), loader())
    assert events_of(logger).Tags()["images"] == []


def test_csv_gets_the_scalars(tmp_path):
    logger = CSVLogger(tmp_path)
    trainer(CurriculumCallback(target="two"), max_steps=20, logger=logger, log_every_n_steps=5).fit(Linear(), loader())
    with Path(logger.log_dir, "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [4, 9, 14, 19]
    assert set(rows[0]) - {"step", "epoch"} == NAMES


class MLFlowLogger(Logger):
    """Has what Lightning's has: a client that takes figures, and a run."""

    name = version = run_id = "run 7"

    def __init__(self):
        self.rows = []
        self.figures = []
        self.experiment = SimpleNamespace(
            log_figure=lambda run, figure, file: self.figures.append((run, type(figure), file))
        )

    def log_hyperparams(self, params):
        pass

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))


def test_mlflow_gets_scalars_and_its_pictures_are_overwritten(monkeypatch):
    monkeypatch.setattr(schedule, "GAP", 8)
    logger = MLFlowLogger()
    trainer(CurriculumCallback(target="two"), max_steps=20, logger=logger, log_every_n_steps=5).fit(Linear(), loader())
    assert [step for step, _ in logger.rows] == [4, 9, 14, 19]
    assert set(logger.rows[-1][1]) - {"epoch"} == NAMES
    files = [f"curriculum/{name}.png" for name in ("policy", "policy", "policy", "losses", "syllabus")]
    assert logger.figures == [("run 7", Figure, file) for file in files]


def test_an_interrupted_run_shows_how_far_it_came(tmp_path):
    class Interrupted(Linear):
        def training_step(self, batch, batch_idx):
            if self.global_step == 7:
                raise RuntimeError("out of luck")
            return super().training_step(batch, batch_idx)

    logger = TensorBoardLogger(tmp_path)
    with pytest.raises(RuntimeError, match="out of luck"):
        trainer(CurriculumCallback(), max_steps=16, logger=logger).fit(Interrupted(), loader())
    assert len(events_of(logger).Images("curriculum/policy")) == 1


def test_the_progress_bar_shows_the_task_and_the_effective_number_of_tasks():
    seen = []

    class Bar(pl.callbacks.TQDMProgressBar):
        def on_train_batch_end(self, trainer, *arguments):
            super().on_train_batch_end(trainer, *arguments)
            seen.append(self.get_metrics(trainer, trainer.lightning_module))

    bar, callback = Bar(), CurriculumCallback()
    trainer(callback, bar, max_steps=10, enable_progress_bar=True).fit(Linear(), loader())
    assert len(seen) == 10
    assert all(entry["task"] in ("one", "two", "three") for entry in seen)
    assert seen[0]["effective_tasks"] == "3.0"
    assert "get_metrics" not in vars(bar), "the bar has its own metrics back"
