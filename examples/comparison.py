"""Compare methods on a workload over seeds: same budget, same evaluation, uniform sampling in the same run."""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import Exp3S, FixedPolicy
from curricula.signals import (
    FirstOrderPredictionGain,
    GradientL2Gain,
    GradientPredictionGain,
    GradientVariationalComplexityGain,
    L2Gain,
    MeanPredictionGain,
    PredictionGain,
    SelfPredictionGain,
    Signal,
    TargetPredictionGain,
    UnbiasedGradientPredictionGain,
    VariationalComplexityGain,
)
from curricula.tracking import CurriculumHistory
from curricula.tracking.curves import Comparison, Curve
from curricula.tracking.report import Section, write_report
from examples.compare.training import quiet
from examples.junk_arms import junk_arms
from examples.parity_staircase import staircase
from examples.parity_staircase.model import VariationalParityModel
from examples.parity_staircase.tasks import INPUTS, STEPS
from examples.repeat_copy import repeat_copy
from examples.repeat_copy.model import VariationalRepeatCopyModel
from examples.workload import Workload

Method = Callable[[Workload, int], CurriculumCallback]


def variational(workload: Workload, model: Callable[[], pl.LightningModule]) -> Workload:
    """Return the workload with a model whose weights are Gaussian."""
    return replace(
        workload, name=f"{workload.name}_variational", title=f"{workload.title}, Gaussian weights", model=model
    )


def in_halves(workload: Workload) -> Workload:
    """Return the workload with two micro-batches per step, for signals that compare them."""
    return replace(
        workload,
        name=f"{workload.name}_halves",
        title=f"{workload.title}, in two micro-batches",
        trainer_options={**workload.trainer_options, "accumulate_grad_batches": 2},
    )


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "parity_staircase": staircase,
    "parity_staircase_8": lambda: staircase(duplicates=0),
    "repeat_copy": repeat_copy,
    "junk_arms_4_10_6": junk_arms,
    "junk_arms_8_24_0": lambda: junk_arms(useful=8, noise=24, duplicates=0),
    "parity_staircase_8_variational": lambda: variational(
        staircase(duplicates=0), lambda: VariationalParityModel(INPUTS + STEPS, samples=64 * 8_000)
    ),
    "repeat_copy_variational": lambda: variational(
        repeat_copy(), lambda: VariationalRepeatCopyModel(4, 64, samples=16 * 40 * 12_000)
    ),
    "parity_staircase_8_halves": lambda: in_halves(staircase(duplicates=0, batch_size=32)),
    "parity_staircase_halves": lambda: in_halves(staircase(batch_size=32)),
    "repeat_copy_halves": lambda: in_halves(repeat_copy(batch_size=8)),
    "junk_arms_4_10_6_halves": lambda: in_halves(junk_arms(batch_size=32)),
    "junk_arms_8_24_0_halves": lambda: in_halves(junk_arms(useful=8, noise=24, duplicates=0, batch_size=32)),
}

SIGNALS: dict[str, Callable[[], Signal]] = {
    "PG": PredictionGain,
    "GPG": GradientPredictionGain,
    "UGPG": UnbiasedGradientPredictionGain,
    "FPG": FirstOrderPredictionGain,
    "SPG": SelfPredictionGain,
    "TPG": TargetPredictionGain,
    "MPG": MeanPredictionGain,
    "L2G": L2Gain,
    "GL2G": GradientL2Gain,
    "VCG": VariationalComplexityGain,
    "GVCG": GradientVariationalComplexityGain,
}


def _with_signal(make: Callable[[], Signal]) -> Method:
    return lambda work, seed: CurriculumCallback(signal=make(), target=work.target, seed=seed)


def _noise_share(share: float) -> Method:
    """A fixed policy that knows which tasks are noise: what could be hoped for from leaving them alone."""

    def make(work: Workload, seed: int) -> CurriculumCallback:
        noise = [name.startswith("noise") for name in work.tasks(seed)]
        each = share / max(1, sum(noise)), (1 - share) / (len(noise) - sum(noise))
        policy = FixedPolicy([each[0] if is_noise else each[1] for is_noise in noise])
        return CurriculumCallback(policy, GradientPredictionGain(), target=work.target, seed=seed)

    return make


METHODS: dict[str, Method] = {
    "uniform": lambda work, seed: CurriculumCallback(
        FixedPolicy.uniform(), GradientPredictionGain(), target=work.target, seed=seed
    ),
    "curriculum": lambda work, seed: CurriculumCallback(target=work.target, seed=seed),
    **{f"curriculum, {name}": _with_signal(make) for name, make in SIGNALS.items()},
    **{f"fixed, {percent} % noise": _noise_share(percent / 100) for percent in (0, 10, 20, 30)},
    "paper's constants": lambda work, seed: CurriculumCallback(
        Exp3S.paper(), PredictionGain(), target=work.target, seed=seed
    ),
}


PROBE_SEED = 500_000
"""Added to the seed of the tasks that fresh batches for the signals come from."""


@dataclass(frozen=True)
class Run:
    """What one training run reached.

    Attributes:
        workload: its name.
        method: its name.
        seed: of the model, the data and the draws.
        reached: optimiser steps to the goal; ``None`` if it was not reached within the budget.
        budget: most optimiser steps.
        steps: of each evaluation.
        target_loss: held-out loss of the target task at each evaluation.
        mean_loss: mean held-out loss over the held-out tasks at each evaluation.
        draws: steps trained on each task, in the order of the tasks.
        seconds: wall-clock time, indicative only.
        history: file of the curriculum's history, or ``None``.
    """

    workload: str
    method: str
    seed: int
    reached: int | None
    budget: int
    steps: list[int]
    target_loss: list[float]
    mean_loss: list[float]
    draws: list[int]
    seconds: float
    history: str | None


class Evaluation(pl.Callback):
    """Measures the held-out losses every few steps and stops the run at the goal."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._batches = dict(workload.held_out())
        self.steps: list[int] = []
        self.target_loss: list[float] = []
        self.mean_loss: list[float] = []
        self.reached: int | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Evaluate when it is time to."""
        step = trainer.global_step
        if step % self._workload.evaluate_every or step == (self.steps[-1] if self.steps else 0):
            return
        pl_module.eval()
        with torch.no_grad():
            losses = {name: _loss(pl_module.training_step(held, 0)) for name, held in self._batches.items()}
        pl_module.train()
        self.steps.append(trainer.global_step)
        self.target_loss.append(losses[self._workload.target])
        self.mean_loss.append(statistics.fmean(losses.values()))
        for logger in trainer.loggers:
            logger.log_metrics(
                {"held_out/target_loss": self.target_loss[-1], "held_out/mean_loss": self.mean_loss[-1]},
                step=trainer.global_step,
            )
        if self.target_loss[-1] < self._workload.goal:
            self.reached = trainer.global_step
            trainer.should_stop = True


def _loss(output: Any) -> float:
    return float(output)


def train(
    workload: Workload,
    method: str,
    seed: int,
    *,
    out: Path | None = None,
    progress_bar: bool = False,
    logger: Any = False,
    make: Method | None = None,
) -> Run:
    """Train once.

    Args:
        workload: what to train on.
        method: its name in ``METHODS``, or a name for ``make``.
        seed: of everything.
        out: folder for the history of the curriculum.
        progress_bar: whether to show Lightning's.
        logger: as in ``Trainer``.
        make: the callback of a method that is not in ``METHODS``.
    """
    pl.seed_everything(seed, verbose=False)
    loader = CurriculumLoader(
        workload.tasks(seed),
        steps_per_epoch=workload.evaluate_every,
        grid=workload.grid,
        seed=seed,
        probe_tasks=workload.tasks(seed + PROBE_SEED),
    )
    callback = (make or METHODS[method])(workload, seed)
    evaluation = Evaluation(workload)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=workload.budget,
        callbacks=[callback, evaluation],
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=progress_bar,
        enable_model_summary=False,
        **workload.trainer_options,
    )
    start = time.perf_counter()
    trainer.fit(workload.model(), loader)
    seconds = time.perf_counter() - start
    path = None if out is None else out / f"{workload.name}-{method.replace(' ', '_')}-{seed}.history.json"
    return Run(
        workload.name,
        method,
        seed,
        evaluation.reached,
        workload.budget,
        evaluation.steps,
        evaluation.target_loss,
        evaluation.mean_loss,
        callback.history.draws.tolist(),
        seconds,
        None if path is None else str(callback.history.save(path)),
    )


def add_run_options(parser: argparse.ArgumentParser, out: Path) -> None:
    """Add the options that a single run of any workload has."""
    parser.add_argument("--method", choices=METHODS, default="curriculum")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=None, help="most optimiser steps")
    parser.add_argument("--threads", type=int, default=1, help="of torch; small models are fastest with 1")
    parser.add_argument("--out", type=Path, default=out, help="folder of the history and the page")


def run_from_command_line(workload: Workload, options: argparse.Namespace) -> None:
    """Train once with a progress bar, and write the page."""
    quiet(options.threads)
    if options.steps is not None:
        workload = replace(workload, budget=options.steps)
    run = train(workload, options.method, options.seed, out=options.out, progress_bar=True)
    history = CurriculumHistory.load(Path(str(run.history)))
    section = Section(workload.title, workload.text, history=history, comparison=comparison([run], workload))
    page = write_report(options.out / "index.html", [section], title=f"{workload.title}: {options.method}")
    print("goal not reached" if run.reached is None else f"goal reached after {run.reached:,} steps")
    print(f"the page: {page.resolve()}")


def _train_one(job: tuple[str, str, int, str | None]) -> Run:
    workload, method, seed, out = job
    return train(WORKLOADS[workload](), method, seed, out=None if out is None else Path(out))


def compare(
    workloads: Sequence[str],
    methods: Sequence[str],
    seeds: Sequence[int],
    *,
    jobs: int = 2,
    out: Path | None = None,
    report: Callable[[Run], None] = lambda run: None,
) -> list[Run]:
    """Train every method with every seed on every workload, ``jobs`` at a time, one thread each."""
    todo = [
        (workload, method, seed, None if out is None else str(out))
        for workload in workloads
        for seed in seeds
        for method in methods
    ]
    runs = []
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=quiet) as pool:
        for run in pool.map(_train_one, todo):
            runs.append(run)
            report(run)
    return runs


def table(runs: Iterable[Run], baseline: str = "uniform") -> list[dict[str, Any]]:
    """Return one row per workload and method: median steps to the goal with spread, ratio to the baseline, rank test.

    Runs that did not reach the goal count as the whole budget, which makes ratios to a baseline that fails smaller
    than they are. ``p`` is one-sided (fewer steps than the baseline), Mann-Whitney, exact where there are no ties.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.workload, run.method), []).append(run)
    rows = []
    for (workload, method), group in groups.items():
        steps = [_steps(run) for run in group]
        reference = [_steps(run) for run in groups.get((workload, baseline), [])]
        row: dict[str, Any] = {
            "workload": workload,
            "method": method,
            "seeds": len(group),
            "solved": sum(run.reached is not None for run in group),
            "median steps": statistics.median(steps),
            "min": min(steps),
            "max": max(steps),
            "ratio": statistics.median(reference) / statistics.median(steps) if reference else math.nan,
            "p": _rank_test(steps, reference) if reference and method != baseline else None,
            "seconds": round(statistics.median(run.seconds for run in group), 1),
        }
        rows.append(row)
    return rows


def _steps(run: Run) -> int:
    return run.budget if run.reached is None else run.reached


def _rank_test(ours: Sequence[int], reference: Sequence[int]) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(ours, reference, alternative="less").pvalue)


def comparison(runs: Iterable[Run], workload: Workload) -> Comparison:
    """Return the runs on one workload as curves, for the figures."""
    curves: dict[str, list[Curve]] = {}
    for run in runs:
        if run.workload == workload.name:
            curves.setdefault(run.method, []).append(Curve(run.steps, run.target_loss, run.reached, run.seed))
    return Comparison(curves, workload.goal, f"held-out loss of {workload.target} (nats per bit)")


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows of :func:`table` as a Markdown table."""
    lines = [
        "| workload | method | solved | steps to the goal: median [min - max] | ratio | p | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        p = "" if row["p"] is None else f"{row['p']:.2g}"
        steps = f"{row['median steps']:,.0f} [{row['min']:,} - {row['max']:,}]"
        cells = [
            row["workload"],
            row["method"],
            f"{row['solved']}/{row['seeds']}",
            steps,
            f"{row['ratio']:.2f}x",
            p,
            f"{row['seconds']:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def save_csv(runs: Sequence[Run], path: Path) -> Path:
    """Write one line per run, without the curves."""
    columns = ("workload", "method", "seed", "reached", "budget", "seconds")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for run in runs:
            values = asdict(run) | {"seconds": round(run.seconds, 1)}
            writer.writerow(["" if values[column] is None else values[column] for column in columns])
    return path


def save(runs: Sequence[Run], path: Path) -> Path:
    """Write all runs as JSON, for machines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(run) for run in runs], indent=1), encoding="utf-8")
    return path
