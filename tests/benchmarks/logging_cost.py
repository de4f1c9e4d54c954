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

from curricula import Teacher
from curricula.signals import PredictionGain
from curricula.tracking import CurriculumHistory
from curricula.tracking.loggers import Loggers
from examples.comparison import quiet
from examples.repeat_copy import repeat_copy


def long_run(folder: Path, *, steps: int, size: int = 13, every: int = 50, offered: int = 0) -> dict[str, Any]:
    """Log a run without a model to an offline W&B, and return what it took.

    Args:
        folder: where W&B writes.
        steps: of the run.
        size: tasks are on a grid of size x size.
        every: the trainer's ``log_every_n_steps``.
        offered: only so many steps, evenly spread, earn a reward and are recorded, to save time; 0: all.
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
    stride = max(1, steps // offered) if offered else 1
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
        loggers.after_step(teacher, gain, reward)
        seconds += time.perf_counter() - start
    start = time.perf_counter()
    loggers.finish()
    seconds += time.perf_counter() - start
    file, media = Path(run.settings.sync_file), Path(run.settings.files_dir, "media")
    run.finish()
    sizes = {kind: sum(found.stat().st_size for found in media.rglob(f"*{kind}")) for kind in (".table.json", ".plotly.json", ".png")}
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
    module = workload.model()
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
    trainer.fit(module, batches)
    return (time.perf_counter() - start) / steps * 1e6
