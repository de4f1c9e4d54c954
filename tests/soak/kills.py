"""Training that is killed at random moments, again and again, against training that is not.

Run ``python -m tests.soak.kills --kills 100 --out docs/results``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import multiprocessing
import os
import random
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import Exp3S
from curricula.rewards import QuantileScaler
from tests.models import Linear, StreamedRows, noisy_tasks, trainer


class Adam(Linear):
    """Linear regression with an optimiser that has a state."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class WholeSteps(ModelCheckpoint):
    """Saves after whole optimiser steps alone.

    A resumed ModelCheckpoint has forgotten that it saved the step that it was resumed from, and saves again after the
    next batch; under accumulation that is in the middle of a step, whose gradients so far no checkpoint holds.
    """

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


def as_regression(rows: list[Any]) -> Any:
    """Make samples of a number and an index fit for the model."""
    inputs = torch.tensor([[task, index, task * index, 1.0] for task, index in rows]) / 40
    return inputs, inputs.sum(dim=1, keepdim=True)


def train(folder: Path, steps: int, workers: int, accumulation: int) -> None:
    """Train from the newest checkpoint in the folder, or from the start; write what came of it."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)  # on the disk of the checkpoints, so that a save is atomic
    pl.seed_everything(0, verbose=False)
    tasks = {**noisy_tasks(), "stream": DataLoader(StreamedRows(5, 40), batch_size=8, collate_fn=as_regression)}
    loader = CurriculumLoader(tasks, batch_size=8, steps_per_epoch=50 * accumulation, num_workers=workers)
    callback = CurriculumCallback(Exp3S(beta=0.01), scaler=QuantileScaler(window=100))
    saver = WholeSteps(folder, "{step}", monitor="step", mode="max", save_top_k=2, every_n_train_steps=1)
    fitter = trainer(callback, saver, max_steps=steps, enable_checkpointing=True, accumulate_grad_batches=accumulation)
    saved = sorted(folder.glob("step=*.ckpt"), key=lambda path: int(path.stem[5:]))
    model = Adam(4)
    fitter.fit(model, loader, ckpt_path=saved[-1] if saved else None)
    arms = callback.history.column("arm").astype(int).tolist()
    weights = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    result = {
        "arms": arms,
        "curriculum": callback.teacher.state_dict()["sha256"],
        "weights": hashlib.sha256(weights).hexdigest(),
    }
    (folder / "result.part").write_text(json.dumps(result))
    (folder / "result.part").replace(folder / "result.json")


def run(folder: Path, *arguments: Any, kills: int, moments: random.Random) -> dict[str, int]:
    """Train in processes of which the first ``kills`` are killed at random moments, until the training is done."""
    done, unreadable, at = 0, 0, set()
    folder.mkdir()
    while not (folder / "result.json").exists():
        process = multiprocessing.get_context("fork").Process(target=train, args=(folder, *arguments))
        process.start()
        process.join(moments.uniform(0.05, 0.35) if done < kills else None)
        if process.is_alive():
            process.kill()
            process.join()
            done += 1
        elif process.exitcode:
            raise SystemExit(f"the training failed after {done} kills")
        saved = sorted(folder.glob("step=*.ckpt"), key=lambda path: int(path.stem[5:]))
        at.update(path.stem for path in saved[-1:])
        unreadable += sum(not readable(path) for path in saved)
    return {"kills": done, "unreadable": unreadable, "steps_stopped_at": len(at)}


def readable(path: Path) -> bool:
    """Tell whether a checkpoint is whole."""
    try:
        torch.load(path, weights_only=True)
    except Exception:  # noqa: BLE001 - whatever it is, the file is lost
        return False
    return True


def survive(
    folder: Path, *, kills: int, steps: int, seed: int, workers: int = 0, accumulation: int = 1
) -> dict[str, Any]:
    """Kill a run so often, as many times over as it takes, and compare every finished one with one that was left alone.

    Args:
        folder: for the runs; must not exist.
        kills: how many processes are killed in all.
        steps: of a run.
        seed: of the moments.
        workers: worker processes of the loader.
        accumulation: batches per optimiser step.

    Returns:
        Counts of kills, runs, unreadable checkpoints, and runs that ended otherwise than the one left alone.
    """
    folder.mkdir(parents=True)
    moments = random.Random(seed)
    arguments = (steps, workers, accumulation)
    run(folder / "whole", *arguments, kills=0, moments=moments)
    whole = json.loads((folder / "whole" / "result.json").read_text())
    assert len(whole["arms"]) == steps
    total = {"kills": 0, "runs": 0, "steps_stopped_at": 0, "unreadable": 0, "different": 0}
    while total["kills"] < kills:
        place = folder / f"killed{total['runs']}"
        found = run(place, *arguments, kills=kills - total["kills"], moments=moments)
        for name, count in found.items():
            total[name] += count
        total["runs"] += 1
        total["different"] += json.loads((place / "result.json").read_text()) != whole
    return {"steps": steps, "workers": workers, "accumulation": accumulation, **total}


def kill_and_compare(out: Path | None, kills: int, steps: int, seed: int) -> dict[str, Any]:
    """Kill runs of several kinds, and write into the folder, and return, what was lost."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        kinds = [{"workers": 0}, {"workers": 0, "accumulation": 3}, {"workers": 2}]
        shares = [kills - 2 * (kills // 3), *[kills // 3] * 2]
        rows = [
            survive(Path(folder) / str(number), kills=share, steps=steps, seed=seed + number, **kind)
            for number, (kind, share) in enumerate(zip(kinds, shares, strict=True))
        ]
    result = {"runs": rows, "seconds": round(time.perf_counter() - start)}
    if out is not None:
        (out / "kills.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def main() -> None:
    """Read the options, and print what was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    print(json.dumps(kill_and_compare(**vars(options))))


if __name__ == "__main__":
    main()
