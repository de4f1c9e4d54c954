"""Two processes on the CPU: one curriculum."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, math, sys
import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy
from curricula import CurriculumCallback, CurriculumLoader
from tests.models import Linear, noisy_tasks, trainer

class Model(Linear):
    def __init__(self, kind):
        super().__init__(4)
        self.kind, self.indices = kind, []
    def training_step(self, batch, batch_idx):
        if self._trainer.training and not self.probing():
            self.indices.append(batch[0].tolist())
        loss = super().training_step(batch, batch_idx)
        return loss * math.nan if self.kind == "nan" and batch_idx == 4 and self.global_rank == 1 else loss
    def probing(self):
        import torch
        return not torch.is_grad_enabled()
    def on_before_optimizer_step(self, optimizer):
        for parameter in self.parameters():
            parameter.grad.nan_to_num_()

results = {}
for name, kind, workers in (("0 workers", "plain", 0), ("2 workers", "plain", 2), ("nan", "nan", 0)):
    pl.seed_everything(0, verbose=False)
    callback = CurriculumCallback(seed=5)
    loader = CurriculumLoader(noisy_tasks(), batch_size=4, steps_per_epoch=8, num_workers=workers)
    model = Model(kind)
    fitter = trainer(callback, max_steps=24, devices=2, strategy=DDPStrategy(process_group_backend="gloo"))
    fitter.fit(model, loader)
    results[name] = {
        "arms": callback.history.column("arm").tolist(),
        "teacher": callback.teacher.state_dict()["sha256"],
        "skipped": sum(callback.teacher.skipped),
        "samples": model.indices,
    }
open(f"{sys.argv[1]}/{fitter.global_rank}.json", "w").write(json.dumps(results))
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What the two ranks found: the trainer starts the second, which takes seconds and is done once."""
    folder = tmp_path_factory.mktemp("ranks")
    script = folder / "train.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    for name in ("MASTER_PORT", "MASTER_ADDR", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE"):
        environment.pop(name, None)
    command = [sys.executable, str(script), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_draw_the_same_tasks_and_read_other_samples(workers, ranks):
    first, second = (rank[f"{workers} workers"] for rank in ranks)
    assert len(first["arms"]) == 24
    assert first["arms"] == second["arms"]
    assert len(set(first["arms"])) == 4
    assert first["teacher"] == second["teacher"]
    for ours, theirs in zip(first["samples"], second["samples"], strict=True):
        assert not {tuple(row) for row in ours} & {tuple(row) for row in theirs}


def test_progress_that_is_not_finite_on_one_rank_is_skipped_on_all(ranks):
    first, second = (rank["nan"] for rank in ranks)
    assert first["skipped"] == second["skipped"] == 3
    assert first["teacher"] == second["teacher"]
