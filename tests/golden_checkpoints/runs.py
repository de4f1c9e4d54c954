"""The runs of which golden checkpoints are kept: everything that is compared in them is the same with any torch.

``python -m tests.golden_checkpoints.runs`` writes those of the present version beside this file. One that is there
already is left alone: it was written by the code of its time, and that is what it is for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

import curricula
from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import Exp3, Exp3S, FixedPolicy
from curricula.rewards import QuantileScaler
from curricula.signals import Signal
from tests.models import Rows, StreamedRows, rows_of, trainer

FOLDER = Path(__file__).parent

SAVED, STEPS = 13, 30


class Scripted(Signal):
    """Progress that depends on the draw alone, and is not finite now and then."""

    def after_step(self, step):
        number = step.draw.id
        return math.nan if number % 11 == 7 else ((number * 13) % 17 + 6 * step.draw.arm) / (10 + number)


class Model(pl.LightningModule):
    """Trains on rows; what it learns is of no interest."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch[1].float()[:, None]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-6)


class Recorder(pl.Callback):
    """Writes down which rows of which task were trained on."""

    def __init__(self):
        self.batches: list[list[Any]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        task, rows = rows_of(batch)
        self.batches.append([task, rows])


class Saver(pl.Callback):
    """Saves one checkpoint; a ModelCheckpoint would put the path of this machine into it."""

    def __init__(self, path: Path):
        self.path = path

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == SAVED and not self.path.exists():
            trainer.save_checkpoint(self.path)


def tasks():
    return {"rows": Rows(0, 40), "a stream": StreamedRows(1, 23), "naïve / ü": Rows(2, 17), "last": Rows(3, 9)}


@dataclass
class Run:
    """One way to train."""

    bandit: Callable[[], Any]
    scaler: Callable[[], Any] = lambda: QuantileScaler(window=10, warmup=3)
    loader: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    target: str | None = None

    def fit(self, *others: pl.Callback, ckpt_path: Path | None = None) -> tuple[CurriculumCallback, Recorder]:
        callback = CurriculumCallback(self.bandit(), Scripted(), self.scaler(), target=self.target, seed=2017)
        loader = CurriculumLoader(tasks(), batch_size=4, steps_per_epoch=9, seed=2017, **self.loader)
        recorder = Recorder()
        fitter = trainer(callback, recorder, *others, max_steps=STEPS, **self.trainer)
        fitter.fit(Model(), loader, ckpt_path=ckpt_path)
        return callback, recorder


# Constants are given: what is resumed are numbers of a run, not the rules for the default rates.
RUNS = {
    "exp3s": Run(lambda: Exp3S(eta=0.05, epsilon=0.2), target="last"),
    "exp3s_beta": Run(
        lambda: Exp3S(eta=0.05, epsilon=0.2, beta=0.1, alpha=0.01),
        lambda: QuantileScaler(window=8, warmup=3, reservoir=True),
        loader={"grid": {"x": 2, "y": ["low", "high"]}},
    ),
    "exp3": Run(lambda: Exp3(eta=0.05, epsilon=0.2), trainer={"accumulate_grad_batches": 2}),
    "fixed": Run(lambda: FixedPolicy([4.0, 3.0, 2.0, 1.0]), loader={"drop_last": True}),
}


def record(callback: CurriculumCallback, recorder: Recorder) -> dict[str, Any]:
    """Return what a run must come to, whether it was interrupted or not."""
    history = callback.history
    return {
        "arms": [int(arm) for arm in history.column("arm")],
        "probabilities": [float(f"{value:.12g}") for value in history.column("probability")],
        "rewards": [None if math.isnan(value) else float(f"{value:.12g}") for value in history.column("reward")],
        "draws": history.draws.tolist(),
        "skipped": callback.teacher.skipped,
        "batches": recorder.batches,
    }


def write(folder: Path, version: str) -> list[Path]:
    """Write a checkpoint and its record per run, and return the paths of the checkpoints."""
    written = []
    for name, run in RUNS.items():
        path = folder / f"{version}-{name}.ckpt"
        if path.exists():
            continue
        found = record(*run.fit(Saver(path)))
        text = json.dumps(found, separators=(",", ":"), ensure_ascii=False).replace("],", "],\n")
        path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    for path in write(FOLDER, curricula.__version__):
        print(path.name)  # noqa: T201
