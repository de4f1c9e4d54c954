"""The curriculum in the trainer's loggers and in its progress bar."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.logger import DummyLogger

from curricula import CurriculumCallback, CurriculumLoader
from curricula.tracking.history import effective_number
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


def test_scalars_come_at_the_pace_and_step_of_the_trainer(tmp_path):
    class Logging(Linear):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.log("loss", loss)
            return loss

    memory = Memory(tmp_path)
    callback = CurriculumCallback(target="two")
    trainer(callback, max_steps=40, logger=memory, log_every_n_steps=5).fit(Logging(), loader())
    ours = [(step, metrics) for step, metrics in memory.rows if any(name.startswith("curriculum/") for name in metrics)]
    theirs = [step for step, metrics in memory.rows if "loss" in metrics]
    assert [step for step, _ in ours] == theirs == list(range(4, 40, 5))
    final = ours[-1][1]
    assert set(final) == {
        f"curriculum/{name}"
        for name in ("effective_tasks", "probability", "skipped", "progress", "reward", "target_probability")
    }
    policy = callback.teacher.probabilities()
    assert final["curriculum/target_probability"] == policy[1]
    assert final["curriculum/effective_tasks"] == pytest.approx(effective_number(policy))
    assert final["curriculum/reward"] == callback.history.column("reward")[-1]


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


def test_wandb_offline_gets_scalars_and_pictures(tmp_path, monkeypatch):
    pictures = []
    log_image = WandbLogger.log_image

    def noted(self, key, images, step=None, **options):
        pictures.append((key, step, images[0].size, np.asarray(images[0]).std() > 0))
        log_image(self, key, images, step, **options)

    monkeypatch.setattr(WandbLogger, "log_image", noted)
    logger = WandbLogger(save_dir=tmp_path, offline=True, project="test")
    trainer(CurriculumCallback(), max_steps=40, logger=logger, log_every_n_steps=10).fit(Linear(), loader())
    names = set(logger.experiment.summary.keys())
    logger.experiment.finish()
    assert {"curriculum/effective_tasks", "curriculum/reward", "curriculum/policy"} <= names
    assert [step for _, step, _, _ in pictures] == [4, 9, 14, 19, 24, 29, 34, 39], (
        "eight per run, and the last at its end"
    )
    assert all(key == "curriculum/policy" and width > 500 and drawn for key, _, (width, _), drawn in pictures)
    assert list(Path(tmp_path, "wandb").glob("offline-run-*/*.wandb"))


def test_tensorboard_gets_scalars_and_pictures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    trainer(CurriculumCallback(), max_steps=16, logger=logger, log_every_n_steps=4).fit(Linear(), loader())
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    assert "curriculum/reward" in events.Tags()["scalars"]
    assert len(events.Images("curriculum/policy")) > 1


def test_pictures_can_be_left_out(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    trainer(CurriculumCallback(log_figures=False), max_steps=16, logger=logger).fit(Linear(), loader())
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    assert events.Tags()["images"] == []


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
