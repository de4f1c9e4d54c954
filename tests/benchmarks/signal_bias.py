"""Bias and noise of the signals, among tasks of which some teach and some are coin flips.

    python -m tests.benchmarks.signal_bias --out docs/results

One run per seed on the junk arms under uniform draws, two micro-batches per step; at every step all signals are
measured together. The unit of each signal is its mean on the learnable tasks, so that 0 is "taught nothing" and 1
"taught as much as a learnable task does on average". Reported are the mean on the tasks of coin flips, and the standard
deviation within a task over its visits, while the learnable tasks are being learned. The reference is the fall of the
loss on a fresh batch of 1024.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import FixedPolicy
from curricula.signals import (
    FirstOrderPredictionGain,
    GradientL2Gain,
    GradientPredictionGain,
    L2Gain,
    PredictionGain,
    Signal,
    Step,
    UnbiasedGradientPredictionGain,
)
from examples.compare.training import quiet
from examples.junk_arms import junk_arms
from tests.benchmarks.signal_fidelity import Together

FRESH = 1024


class FreshGain(Signal):
    """The fall of the loss on a fresh batch, or on the first part of one."""

    def __init__(self, size: int = FRESH) -> None:
        self.size = size

    def before_step(self, step: Step) -> None:
        """Take the batch and evaluate it at the old parameters."""
        if "fresh" not in SHARED:
            SHARED["fresh"] = step.sample()
        step.notes["batch"] = tuple(part[: self.size] for part in SHARED["fresh"])
        step.notes["old"] = step.probe_loss(step.notes["batch"])

    def after_step(self, step: Step) -> float:
        """Return the fall."""
        SHARED.clear()
        return float(step.notes["old"]) - step.probe_loss(step.notes["batch"])


SHARED: dict[str, Any] = {}
"""The fresh batch of the step, for signals that take parts of it."""

COMPARED: dict[str, Any] = {
    "reference": FreshGain,
    "PredictionGain": PredictionGain,
    "FirstOrderPredictionGain": FirstOrderPredictionGain,
    "GradientPredictionGain": GradientPredictionGain,
    "UnbiasedGradientPredictionGain": UnbiasedGradientPredictionGain,
    "SelfPredictionGain": lambda: FreshGain(64),
    "L2Gain": L2Gain,
    "GradientL2Gain": GradientL2Gain,
}


def _measure(steps: int, seed: int) -> dict[str, dict[str, float]]:
    pl.seed_everything(seed, verbose=False)
    workload = junk_arms(batch_size=32)
    fresh = junk_arms(batch_size=FRESH).tasks(seed + 500_000)
    signal = Together(COMPARED)
    callback = CurriculumCallback(FixedPolicy.uniform(), signal, seed=seed)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accumulate_grad_batches=2,
    )
    trainer.fit(workload.model(), CurriculumLoader(workload.tasks(seed), probe_tasks=fresh, steps_per_epoch=2 * steps))
    first = steps // 10
    values, arms = np.array(signal.rows)[first:], callback.history.column("arm")[first:].astype(int)
    names = list(workload.tasks(seed))
    of = {kind: [arm for arm, name in enumerate(names) if name.startswith(kind)] for kind in ("k=", "noise")}
    result = {}
    for column, name in enumerate(COMPARED):
        seen = values[:, column]
        unit = float(seen[np.isin(arms, of["k="])].mean())
        spread = [float(seen[arms == arm].std()) for arm in range(len(names))]
        result[name] = {
            "mean_on_noise": round(float(seen[np.isin(arms, of["noise"])].mean()) / abs(unit), 3),
            "deviation_on_noise": round(statistics.fmean(spread[arm] for arm in of["noise"]) / abs(unit), 2),
            "deviation_on_learnable": round(statistics.fmean(spread[arm] for arm in of["k="]) / abs(unit), 2),
        }
    return result


def main() -> None:
    """Run the measurement and write ``signal_bias.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    options = parser.parse_args()
    quiet()
    runs = [_measure(options.steps, seed) for seed in range(options.seeds)]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "signal_bias.json").write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    for name in runs[0]:
        print(f"{name:32s}", {key: [run[name][key] for run in runs] for key in runs[0][name]})


if __name__ == "__main__":
    main()
