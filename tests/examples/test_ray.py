"""Two workers under Ray Train, of which one is killed."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from pathlib import Path

import pytest
import torch

from curricula import CurriculumCallback, CurriculumLoader
from tests.examples.outcomes import outcome
from tests.examples.processes import run_together
from tests.ranks import on_ranks

pytest.importorskip("ray.train", reason="Ray Train is not installed")

STEPS = 40
KILLED_AT = 23

SCRIPT = """
import json, os, signal, sys
from pathlib import Path
import lightning.pytorch as pl
import ray
from examples.ray.train import run

class Killed(pl.Callback):
    def __init__(self, starts):
        self.starts = starts

    def on_train_start(self, trainer, pl_module):
        self.first = trainer.global_step == 0
        with self.starts.open("a") as file:
            file.write(json.dumps([trainer.global_step, trainer.world_size]) + "\\n")

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if self.first and trainer.global_step == KILLED_AT and trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

folder, temporary = map(Path, sys.argv[1:])
ray.init(
    "local",
    num_cpus=2,
    include_dashboard=False,
    object_store_memory=100 * 2**20,
    _node_ip_address="127.0.0.1",
    _temp_dir=str(temporary),
)
options = {"workers": (2, 2), "steps": STEPS, "report_every": 10}
result = run(folder, "killed", callbacks=[Killed(folder / "starts.txt")], **options)
(folder / "checkpoint.json").write_text(json.dumps(result.checkpoint.path))
""".replace("STEPS", str(STEPS)).replace("KILLED_AT", str(KILLED_AT))


def train_whole(folder):
    """Train in two processes that nobody kills, nor Ray starts."""
    import lightning.pytorch as pl
    import ray.train
    from lightning.pytorch.strategies import DDPStrategy

    from examples.ray.report import CHECKPOINT, ReportEveryNSteps
    from examples.ray.train import GLOBAL_BATCH, Regression, waves

    def report(metrics, checkpoint):
        if trainer.is_global_zero:
            shutil.copy(Path(checkpoint.path) / CHECKPOINT, folder / CHECKPOINT)

    ray.train.report = report
    pl.seed_everything(0, verbose=False)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        devices=2,
        strategy=DDPStrategy(process_group_backend="gloo"),
        callbacks=[CurriculumCallback(seed=0), ReportEveryNSteps(STEPS)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Regression(), CurriculumLoader(waves(), batch_size=GLOBAL_BATCH // 2, steps_per_epoch=100, seed=0))


@pytest.fixture
def temporary():
    """A folder with a short name: Ray's sockets lie in it."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_checkpoint_is_reported_every_so_many_steps_when_they_have_taught_the_curriculum(accumulation, monkeypatch):
    import lightning.pytorch as pl
    import ray.train

    from examples.ray.report import CHECKPOINT, ReportEveryNSteps
    from examples.ray.train import Regression, waves

    reported = []

    def report(metrics, checkpoint):
        with checkpoint.as_directory() as folder:
            content = torch.load(Path(folder) / CHECKPOINT, weights_only=True)
        open_draws = content["callbacks"]["CurriculumCallback"]["teacher"]["content"]["open"]
        reported.append((metrics["step"], content["global_step"], open_draws))

    monkeypatch.setattr(ray.train, "report", report)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=7,
        accumulate_grad_batches=accumulation,
        callbacks=[ReportEveryNSteps(3), CurriculumCallback()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Regression(), CurriculumLoader(waves(), batch_size=8, steps_per_epoch=30))
    assert reported == [(3, 3, []), (6, 6, [])]


def test_numbers_of_workers_that_cannot_share_the_batch_are_refused(tmp_path):
    from examples.ray.train import run

    with pytest.raises(ValueError, match="5 workers cannot share a batch of 96 samples equally"):
        run(tmp_path, "refused", workers=(4, 6), steps=1, report_every=1)


def test_a_run_that_loses_a_worker_ends_as_one_that_does_not(tmp_path, temporary):
    script = tmp_path / "killed.py"
    script.write_text(SCRIPT)
    environment = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_TOKEN": uuid.uuid4().hex,
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
        "RAY_worker_niceness": "0",  # else all that the tests run at the same time comes before it
    }
    done = run_together(tmp_path, {"driver": [script, tmp_path, temporary]}, timeout=240, driver=environment)
    code, said = done["driver"]
    assert code == 0, said[-5000:]
    starts = [json.loads(line) for line in (tmp_path / "starts.txt").read_text().splitlines()]
    # A report counts once Ray's controller has seen it: that of step 20 may have come too late.
    assert starts in [[[0, 2], [0, 2], [step, 2], [step, 2]] for step in (10, 20)]
    checkpoint = Path(json.loads((tmp_path / "checkpoint.json").read_text()))
    on_ranks(train_whole, tmp_path, (2, []))
    whole, killed = (outcome(folder / "checkpoint.ckpt") for folder in (tmp_path, checkpoint))
    assert whole["step"] == STEPS
    assert len(set(whole["arms"])) == 4
    assert killed == whole
    kept = len(list(checkpoint.parent.glob("checkpoint_2*")))
    came_too_late = starts[-1][0] == 10  # then nobody knows of the checkpoint of step 20, and it stays
    assert 2 <= kept <= 2 + came_too_late, "the last two are kept"
