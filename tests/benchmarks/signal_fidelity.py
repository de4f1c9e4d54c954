"""How well cheap signals agree with prediction gain, step by step, in the same training.

    python -m tests.benchmarks.signal_fidelity --out docs/results

One run per model under uniform draws; at every step prediction gain and the others are measured together. Reported are
the correlations over all steps after the first tenth, and those of the tasks' means in windows of 25 steps per task.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from scipy.stats import pearsonr, spearmanr

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import FixedPolicy
from curricula.signals import (
    FirstOrderPredictionGain,
    GradientPredictionGain,
    PredictionGain,
    SelfPredictionGain,
    Signal,
    Step,
)
from examples.comparison import WORKLOADS, quiet

COMPARED = {
    "PredictionGain": PredictionGain,
    "FirstOrderPredictionGain": FirstOrderPredictionGain,
    "GradientPredictionGain": GradientPredictionGain,
    "SelfPredictionGain": SelfPredictionGain,
}


class Together(Signal):
    """Measures several signals at every step, each with notes of its own."""

    needs_loss = True
    needs_probe = True
    needs_gradients = True
    needs_samples = True

    def __init__(self) -> None:
        self.signals = {name: make() for name, make in COMPARED.items()}
        self.rows: list[list[float]] = []

    def before_step(self, step: Step) -> None:
        """Let each measure, with notes of its own."""
        notes = dict(step.notes)
        for name, signal in self.signals.items():
            step.notes = notes.setdefault(name, {})
            signal.before_step(step)
        step.notes = notes

    def after_step(self, step: Step) -> float:
        """Note what each saw and return prediction gain."""
        notes, row = step.notes, []
        for name, signal in self.signals.items():
            step.notes = notes[name]
            row.append(signal.after_step(step))
        step.notes = notes
        self.rows.append(row)
        return row[0]


def _measure(name: str, steps: int, seed: int) -> dict[str, Any]:
    pl.seed_everything(seed, verbose=False)
    workload = WORKLOADS[name]()
    signal = Together()
    callback = CurriculumCallback(FixedPolicy.uniform(), signal, seed=seed)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **workload.trainer_options,
    )
    tasks, fresh = workload.tasks(seed), workload.tasks(seed + 500_000)
    trainer.fit(workload.model(), CurriculumLoader(tasks, probe_tasks=fresh, steps_per_epoch=steps))
    first = steps // 10
    values = np.array(signal.rows)[first:]
    arms = callback.history.column("arm")[first:].astype(int)
    window = 25 * len(tasks)
    result = {}
    for column, other in enumerate(COMPARED):
        if column == 0:
            continue
        means = []
        for begin in range(0, len(values) - window + 1, window):
            part, part_arms = values[begin : begin + window], arms[begin : begin + window]
            both = [part[part_arms == arm].mean(axis=0)[[0, column]] for arm in np.unique(part_arms)]
            means.append(float(spearmanr(np.array(both)).statistic))
        result[other] = {
            "pearson": round(float(pearsonr(values[:, 0], values[:, column]).statistic), 3),
            "spearman": round(float(spearmanr(values[:, 0], values[:, column]).statistic), 3),
            "spearman_of_task_means": round(float(np.mean(means)), 3),
        }
    return result


def main() -> None:
    """Run the measurement and write ``signal_fidelity.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    options = parser.parse_args()
    quiet()
    result = {
        name: [_measure(name, options.steps, seed) for seed in range(options.seeds)]
        for name in ("parity_staircase_8", "repeat_copy")
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "signal_fidelity.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, runs in result.items():
        for other in runs[0]:
            rows = [run[other] for run in runs]
            print(name, other, {key: [row[key] for row in rows] for key in rows[0]})


if __name__ == "__main__":
    main()
