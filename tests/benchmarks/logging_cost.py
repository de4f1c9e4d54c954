"""What logging to W&B costs: time per step against a training step, and bytes of a long run.

    python -m tests.benchmarks.logging_cost --out docs/results

Time: repeat copy on 13 x 13 tasks, a bare trainer's step against what the loggers add to it at the default pace. Both
are measured in every round, one right after the other; medians over rounds are reported. Bytes: a run of 100,000
steps, in which draws, rewards, history and logging are real (W&B offline) and only the model is left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytorch_lightning as pl
import torch
import wandb
from pytorch_lightning.loggers import WandbLogger
from torch.utils.data import DataLoader

from curricula import Teacher
from curricula.signals import PredictionGain
from curricula.tracking import CurriculumHistory
from curricula.tracking.loggers import Loggers
from examples.compare.training import quiet
from examples.repeat_copy import repeat_copy


def long_run(folder: Path, *, steps: int, size: int = 13, every: int = 50, rewarded: int = 0) -> dict[str, Any]:
    """Log a run without a model to an offline W&B, and return what it took.

    Args:
        folder: where W&B writes.
        steps: of the run.
        size: tasks are on a grid of size x size.
        every: the trainer's ``log_every_n_steps``.
        rewarded: only so many steps, evenly spread, draw a task and earn a reward, to save time; 0: all.
    """
    labels = [str(number) for number in range(1, size + 1)]
    names = [f"length {length}, repeats {repeats}" for length, repeats in itertools.product(labels, labels)]
    teacher = Teacher(names, horizon=steps)
    history = CurriculumHistory(names, grid={"length": labels, "repeats": labels}, target=names[-1])
    logger = WandbLogger(save_dir=folder, offline=True, project="cost")
    run = logger.experiment
    loop = SimpleNamespace(_batches_that_stepped=0)
    trainer = SimpleNamespace(
        loggers=[logger],
        is_global_zero=True,
        log_every_n_steps=every,
        global_step=0,
        fit_loop=SimpleNamespace(epoch_loop=loop),
    )
    loggers = Loggers(trainer, history, figures=True)
    loggers.start(teacher, PredictionGain())
    skills = [0.0] * len(names)
    stride = max(1, steps // rewarded) if rewarded else 1
    seconds = 0.0
    for step in range(steps):
        if step % stride == 0:
            draw = teacher.draw()
            row, column = divmod(draw.arm, size)
            gain = math.exp(-row - column + skills[draw.arm]) * (1 - skills[draw.arm])
            skills[draw.arm] += 0.01 * (1 - skills[draw.arm])
            reward = teacher.reward(draw, gain)
        loop._batches_that_stepped = step
        policy = teacher.bandit.probabilities()
        history.record(draw, progress=gain, reward=reward, loss=1.0 - skills[draw.arm] + 1e-3, policy=policy)
        start = time.perf_counter()
        loggers.after_step(teacher, [gain], [reward])
        seconds += time.perf_counter() - start
    start = time.perf_counter()
    loggers.finish()
    seconds += time.perf_counter() - start
    file, media = Path(run.settings.sync_file), Path(run.settings.files_dir, "media")
    run.finish()
    sizes = {
        kind: sum(found.stat().st_size for found in media.rglob(f"*{kind}"))
        for kind in (".table.json", ".plotly.json", ".png")
    }
    return {
        "steps": steps,
        "tasks": len(names),
        "log_every_n_steps": every,
        "bytes": file.stat().st_size + sum(sizes.values()),
        "bytes_of_records": file.stat().st_size,
        "bytes_of_media": sizes,
        "microseconds_per_step": round(seconds / steps * 1e6, 2),
    }


def training_step(steps: int) -> float:
    """Return the microseconds of a step of repeat copy in a bare trainer, on tasks taken in turn."""
    workload = repeat_copy(size=13)
    pl.seed_everything(0, verbose=False)
    module: pl.LightningModule = workload.model()
    streams = [iter(task) for task in workload.tasks(0).values()]
    batches = [next(streams[place % len(streams)]) for place in range(steps)]
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    start = time.perf_counter()
    trainer.fit(module, DataLoader(batches, batch_size=None))
    return (time.perf_counter() - start) / steps * 1e6


def measure(steps: int, rounds: int) -> dict[str, Any]:
    """Return bytes and time of a run of so many steps, and the time against a training step."""
    trained, logged = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            trained.append(training_step(169 * 2))
            run = long_run(Path(folder, str(number)), steps=steps)
            logged.append(run["microseconds_per_step"])
        often = long_run(Path(folder, "often"), steps=steps, every=1)
    # The first round warms up.
    shares = [cost / step for cost, step in zip(logged[1:], trained[1:], strict=True)]
    return {
        "rounds": rounds,
        "torch": torch.__version__,
        "wandb": wandb.__version__,
        "cpu": platform.machine(),
        "training_step_microseconds": round(statistics.median(trained[1:]), 1),
        "logging_microseconds_per_step": round(statistics.median(logged[1:]), 1),
        "logging_share_of_a_step": round(statistics.median(shares), 5),
        "logging_share_min": round(min(shares), 5),
        "logging_share_max": round(max(shares), 5),
        "default_pace": run,
        "every_step": often,
    }


def main() -> None:
    """Run the benchmark and write ``logging_cost.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    options = parser.parse_args()
    quiet()
    result = measure(options.steps, options.rounds)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "logging_cost.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    share = result["logging_share_of_a_step"]
    print(f"{result['logging_microseconds_per_step']} us per step, {share:.2%} of a training step")
    for pace in ("default_pace", "every_step"):
        print(f"{pace}: {result[pace]['bytes']:,} bytes for {options.steps:,} steps")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
