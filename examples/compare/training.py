"""One training: the same budget and the same evaluation, whatever the method."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from curricula import CurriculumCallback
from examples.compare.methods import METHODS, Method, Plan, Setting, named
from examples.compare.problem import Job, Problem
from examples.compare.records import Record, digest, versions


def quiet(threads: int = 1) -> None:
    """Silence Lightning's hints, and give this process so many threads."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    torch.set_num_threads(threads)


class Evaluation(pl.Callback):
    """Scores the module on every held-out batch every few steps, and ends the run at its goal if it ends there.

    Args:
        problem: that is trained on.
        steps: of the whole run; the last one is evaluated as well.
        on_scores: told the scores of the tasks.
    """

    def __init__(
        self, problem: Problem, steps: int, on_scores: Callable[[Mapping[str, float]], None] = lambda scores: None
    ) -> None:
        self._problem = problem
        self._steps = steps
        self._on_scores = on_scores
        self._cost = 0.0
        self._batches = dict(problem.held_out())
        self._start = time.process_time()
        self._paused = 0.0
        self.steps: list[int] = []
        self.seconds: list[float] = []
        self.cost: list[float] = []
        self.scores: dict[str, list[float]] = {name: [] for name in self._batches}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._start = time.process_time()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Evaluate when it is time to."""
        step = trainer.global_step
        cost = self._problem.cost
        self._cost += self._problem.batch_size if cost is None else cost(batch)
        due = step % self._problem.evaluate_every == 0 or step == self._steps
        if not due or step == (self.steps[-1] if self.steps else 0):
            return
        begin = time.process_time()
        self.steps.append(step)
        self.seconds.append(begin - self._start - self._paused)
        self.cost.append(self._cost)
        module: Any = pl_module  # has a score, as every problem's
        module.eval()
        with torch.no_grad():
            for name, held in self._batches.items():
                self.scores[name].append(float(module.score(held)))
        module.train()
        scores = {name: values[-1] for name, values in self.scores.items()}
        self._on_scores(scores)
        summary = self._problem.summary(scores)
        for logger in trainer.loggers:
            logger.log_metrics({f"held_out/{part}": value for part, value in summary.items()}, step=step)
        if self._problem.stops_at_goal and self._problem.reached(summary[self._problem.of]):
            trainer.should_stop = True
        self._paused += time.process_time() - begin


def method_on(problem: Problem, name: str) -> Method:
    """Return the method of this name, to be used on a problem.

    Raises:
        ValueError: if there is none, or it cannot be used there.
    """
    method: Method = named("method", name, METHODS)
    reason = method.refuses(problem)
    if reason is not None:
        raise ValueError(f"method {name!r} cannot be used on {problem.name!r}: {reason}")
    return method


def train(
    problem: Problem,
    job: Job,
    replayed: Record | None = None,
    *,
    make: Callable[[Setting], Plan] | None = None,
    history: Path | None = None,
    logger: Any = False,
    progress_bar: bool = False,
) -> Record:
    """Train once, and return what it came to.

    Args:
        problem: of the job.
        job: to be made.
        replayed: record of the run that the method replays, if it replays one.
        make: how batches are chosen, for a method that has no name here.
        history: file for the history of the curriculum; methods without a curriculum write none.
        logger: of the Trainer; it gets the held-out scores as well.
        progress_bar: whether to show Lightning's.

    Raises:
        ValueError: if there is no such method, or it cannot be used on the problem.
    """
    if make is None:
        make = method_on(problem, job.method).make
    pl.seed_everything(job.seed, verbose=False)
    steps = job.steps or problem.budget
    tasks = problem.tasks(job.seed)
    plan = make(Setting(problem, tasks, job.seed, steps, replayed))
    evaluation = Evaluation(problem, steps, plan.on_scores)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        callbacks=[*plan.callbacks, evaluation],
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=progress_bar,
        enable_model_summary=False,
        **problem.trainer_options,
    )
    trainer.fit(problem.model(job.lr), plan.loader)
    if history is not None:
        for callback in plan.callbacks:
            if isinstance(callback, CurriculumCallback):
                callback.history.save(history)
    return Record(
        problem=job.problem,
        method=job.method,
        lr=job.lr,
        seed=job.seed,
        steps=evaluation.steps,
        samples=[step * problem.batch_size * problem.micro_batches for step in evaluation.steps],
        cost=evaluation.cost,
        seconds=evaluation.seconds,
        scores=evaluation.scores,
        draws=plan.draws(),
        unit_of_draws=plan.unit_of_draws,
        arms=plan.arms(),
        budget=steps,
        configuration=digest(problem, job.steps),
        versions=versions(),
    )
