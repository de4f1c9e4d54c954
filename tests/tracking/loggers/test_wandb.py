"""Weights & Biases: what is in the run's file after training, as W&B would show it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import wandb
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger

from curricula import CurriculumCallback, CurriculumLoader, Teacher
from curricula.bandits import Exp3S
from curricula.signals import PredictionGain
from curricula.tracking.loggers import schedule, weights_and_biases
from curricula.tracking.loggers.settings import settings
from tests.benchmarks.logging_cost import long_run
from tests.models import Linear, tasks_of_constants, trainer
from tests.tracking.loggers.wandb_run import WandbRun

ROOT = Path(__file__).parents[3]


class Model(Linear):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss)
        return loss


def loader():
    names = [f"{length} x {repeats}" for length in range(4) for repeats in range(3)]
    grid = {"length": [str(k) for k in range(4)], "repeats": [str(k) for k in range(3)]}
    return CurriculumLoader(tasks_of_constants(names), batch_size=4, steps_per_epoch=10, grid=grid)


def fit(folder, callback, *others, max_steps=40, ckpt_path=None, **options):
    logger = WandbLogger(save_dir=folder, offline=True, project="test", **options)
    fitter = trainer(
        callback,
        *others,
        max_steps=max_steps,
        logger=logger,
        log_every_n_steps=10,
        enable_checkpointing=bool(others),
    )
    fitter.fit(Model(lr=1e-3), loader(), ckpt_path=ckpt_path)
    logger.experiment.finish()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "GAP", 20)
        fit(folder, CurriculumCallback(signal=PredictionGain(), target="1 x 1"))
    return WandbRun(folder)


def test_the_numbers_have_the_steps_of_lightnings_own(run):
    steps = [9, 19, 29, 39]
    assert [step for step, _ in run.series("loss")] == steps
    for name in ("effective_tasks", "target_probability", "progress_rate", "reward", "skipped", "signal_time_share"):
        assert [step for step, _ in run.series(f"curriculum/{name}")] == steps, name


def test_no_step_goes_back(run):
    for axis in ("_step", "trainer/global_step"):
        values = [row[axis] for row in run.rows]
        assert values == sorted(values)
    assert len({row["_step"] for row in run.rows}) == len(run.rows)


def test_the_numbers_are_drawn_over_the_trainers_step(run):
    axes = {metric.glob_name: metric.step_metric for metric in run.metrics if metric.glob_name}
    assert axes["curriculum/*"] == "trainer/global_step"


def test_there_are_no_panels_per_task(run):
    keys = {key for row in run.rows for key in row if key.startswith("curriculum/")}
    assert len(keys) == 9 + 3 + 7 + 1
    assert not any(" x " in key for key in keys)


def test_lines_of_the_leading_tasks_are_native_charts_over_tables(run):
    for name in ("policy_lines", "loss_lines", "reward_lines"):
        panel = run.config["_wandb"]["visualize"][f"curriculum/{name}"]
        assert panel["panel_type"] == "Vega2"
        assert f"curriculum/{name}_table" in json.dumps(panel)
        assert [step for step, _ in run.series(f"curriculum/{name}_table")] == [19, 39]
        table = run.table(f"curriculum/{name}_table")
        assert table["columns"] == ["step", "lineKey", "lineVal"]
        tasks = {key for _, key, _ in table["data"]}
        assert len(tasks - {"all others"}) <= 10
        assert "1 x 1 (target)" in tasks
    sums: dict[float, float] = {}
    for step, _, value in run.table("curriculum/policy_lines_table")["data"]:
        sums[step] = sums.get(step, 0.0) + value
    assert all(abs(total - 1) < 5e-3 for total in sums.values()), "the lines of the policy sum to 1"


def test_the_charts_are_interactive(run):
    for name in ("policy", "losses", "rewards", "draws", "syllabus", "grid", "learning"):
        series = run.series(f"curriculum/{name}")
        assert [step for step, _ in series] == ([19, 39] if name == "policy" else [39])
        assert series[-1][1]["_type"] == "plotly-file"
        text = run.media(series[-1][1]).read_text()
        assert "bdata" not in text, "plain lists are read by every version of plotly.js"
        assert json.loads(text, parse_constant=lambda sign: pytest.fail(f"{sign} is no JSON"))["data"]


@pytest.mark.parametrize("reason", ["too large", "no plotly"])
def test_what_cannot_be_a_chart_is_a_picture(reason, tmp_path, monkeypatch):
    if reason == "too large":
        monkeypatch.setattr(weights_and_biases, "_LARGEST", 1000)
    else:
        monkeypatch.setitem(sys.modules, "curricula.tracking.charts", None)
    fit(tmp_path, CurriculumCallback())
    found = WandbRun(tmp_path)
    for name in ("policy", "losses", "syllabus"):
        ((step, value),) = found.series(f"curriculum/{name}")
        assert (step, value["_type"]) == (39, "image-file")
        assert value["width"] > 500
        assert found.media(value).stat().st_size > 5000
    assert found.series("curriculum/policy_lines_table")


def test_the_table_of_the_tasks_comes_once_at_the_end(run):
    assert [step for step, _ in run.series("curriculum/tasks")] == [39]
    table = run.table("curriculum/tasks")
    assert table["columns"][:5] == ["task", "length", "repeats", "draws", "share of draws"]
    assert [row[:3] for row in table["data"]] == [[f"{a} x {b}", str(a), str(b)] for a in range(4) for b in range(3)]
    assert sum(row[3] for row in table["data"]) == 40


def test_the_configuration_is_the_allowlist_and_nothing_else(run):
    assert set(run.config) == {"_wandb", "curriculum"}
    found = run.config["curriculum"]
    assert set(found) == {"bandit", "signal", "scaler"}
    assert set(found["bandit"]) == {"name", "num_arms", "horizon", "eta", "epsilon", "beta", "segments"}
    assert (found["bandit"]["name"], found["bandit"]["num_arms"], found["bandit"]["horizon"]) == ("Exp3S", 12, 40)
    assert found["signal"] == {"name": "PredictionGain"}
    assert found["scaler"] == {
        "name": "QuantileScaler",
        "low": 0.2,
        "high": 0.8,
        "window": 1000,
        "warmup": 10,
        "reservoir": False,
    }


def test_text_in_an_option_of_a_bandit_stays_here():
    bandit = Exp3S()
    bandit.beta_note = bandit.secret = "hunter2"
    teacher = Teacher(["a", "b"], bandit=bandit)
    assert "hunter2" not in json.dumps(settings(teacher, PredictionGain()))


def test_a_hyperparameter_named_curriculum_stays_the_users(tmp_path):
    logger = WandbLogger(save_dir=tmp_path, offline=True, config={"curriculum": "hand-made"})
    trainer(CurriculumCallback(), max_steps=4, logger=logger).fit(Model(), loader())
    logger.experiment.finish()
    assert WandbRun(tmp_path).config["curriculum"] == "hand-made"


def test_a_resumed_run_goes_on_along_the_axis(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "GAP", 20)
    saver = ModelCheckpoint(tmp_path, every_n_train_steps=25, save_top_k=-1, filename="{step}")
    fit(tmp_path, CurriculumCallback(), saver, max_steps=25, id="one")
    fit(tmp_path, CurriculumCallback(), max_steps=60, ckpt_path=tmp_path / "step=25.ckpt", id="one")
    first, second = WandbRun(tmp_path, 0), WandbRun(tmp_path, 1)
    assert first.path.stem == second.path.stem == "run-one"
    assert [step for step, _ in first.series("curriculum/reward")] == [9, 19]
    assert [step for step, _ in second.series("curriculum/reward")] == [29, 39, 49, 59]
    assert [step for step, _ in first.series("curriculum/policy")] == [19, 24]
    assert [step for step, _ in second.series("curriculum/policy")] == [39, 59]
    assert sum(row[3] for row in second.table("curriculum/tasks")["data"]) == 60


class Closes(pl.Callback):
    """Ends the W&B run in the middle of training."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 20:
            trainer.logger.experiment.finish()


def test_a_run_that_ends_too_early_costs_one_warning_and_no_training(tmp_path, caplog):
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    callback = CurriculumCallback()
    fitter = trainer(callback, Closes(), max_steps=40, logger=logger, log_every_n_steps=5)
    with caplog.at_level(logging.WARNING, logger="curricula"):
        fitter.fit(Linear(), loader())
    assert sum("WandbLogger failed" in message for message in caplog.messages) == 1
    assert callback.history.steps == 40
    assert [step for step, _ in WandbRun(tmp_path).series("curriculum/reward")][-1] in (14, 19)


def test_a_disabled_wandb_is_fine(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    callback, logger = CurriculumCallback(), WandbLogger(save_dir=tmp_path)
    with caplog.at_level(logging.WARNING, logger="curricula"):
        trainer(callback, max_steps=10, logger=logger, log_every_n_steps=5).fit(Model(), loader())
    logger.experiment.finish()
    assert callback.history.steps == 10
    assert not [message for message in caplog.messages if "failed" in message]


def test_a_run_of_the_users_own_gets_the_axis_too(tmp_path):
    with wandb.init(dir=tmp_path, mode="offline") as own:
        logger = WandbLogger(experiment=own)
        trainer(CurriculumCallback(log_figures=False), max_steps=10, logger=logger, log_every_n_steps=5).fit(
            Model(), loader()
        )
    found = WandbRun(tmp_path)
    assert {metric.glob_name: metric.step_metric for metric in found.metrics}["curriculum/*"] == "trainer/global_step"
    assert not found.series("curriculum/policy")
    assert found.series("curriculum/tasks"), "the table is no picture"


SCRIPT = """
import sys
from pathlib import Path
import wandb
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.strategies import DDPStrategy
from curricula import CurriculumCallback
from tests.tracking.loggers.test_wandb import Model, loader, trainer
settings = wandb.Settings(x_disable_meta=True, console="off", disable_code=True, disable_git=True)
logger = WandbLogger(save_dir=sys.argv[1], offline=True, settings=settings)
strategy = DDPStrategy(process_group_backend="gloo")
callback = CurriculumCallback()
fitter = trainer(callback, max_steps=20, devices=2, strategy=strategy, logger=logger, log_every_n_steps=5)
fitter.fit(Model(lr=1e-3), loader())
Path(sys.argv[1], f"rank-{fitter.global_rank}").write_text(str(callback.history.steps))
logger.experiment.finish()
"""


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    script = tmp_path_factory.mktemp("script") / "train.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "API_TOKEN": "canary-in-environment"}
    for name in ("MASTER_PORT", "MASTER_ADDR", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE"):
        environment.pop(name, None)
    command = [sys.executable, str(script), str(folder), "--password=canary-in-arguments"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_only_rank_zero_writes(two_ranks):
    assert {path.name: path.read_text() for path in two_ranks.glob("rank-*")} == {"rank-0": "20", "rank-1": "20"}
    found = WandbRun(two_ranks)
    assert len(found.files) == 1
    assert [step for step, _ in found.series("curriculum/reward")] == [4, 9, 14, 19]


def test_nothing_of_the_environment_or_the_command_line_is_recorded(two_ranks):
    files = [file for file in two_ranks.rglob("*") if file.is_file()]
    assert WandbRun(two_ranks).path in files
    assert [file for file in files if b"canary-in-" in file.read_bytes()] == []


@pytest.mark.parametrize("every", [50, 1])
def test_a_long_run_stays_within_its_bytes(every, tmp_path):
    result = long_run(tmp_path, steps=100_000, every=every, rewarded=5_000)
    assert result["tasks"] == 169
    assert sum(result["bytes_of_media"].values()) > 1_000_000, "charts were sent"
    assert result["bytes"] < 5_000_000


def test_a_longer_run_takes_hardly_more_bytes(tmp_path):
    short, long = (long_run(tmp_path, steps=steps, size=3, every=1, rewarded=500) for steps in (4_000, 64_000))
    assert long["bytes"] - short["bytes"] < 700_000, "four doublings, 128 entries each"
