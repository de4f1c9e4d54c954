"""How well cheap signals agree with prediction gain, step by step, in the same training.

    python -m tests.benchmarks.signal_fidelity --out docs/results

One run per model under uniform draws; at every step prediction gain and the others are measured together. Reported are
the correlations over all steps after the first tenth, and those of the tasks' means in windows of 25 steps per task.
For the transformer, which has dropout, the reference is the fall of the loss without dropout.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
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
from examples.compare.training import quiet
from examples.parity_staircase import staircase
from examples.repeat_copy import repeat_copy
from examples.workload import Workload
from tests.benchmarks.signal_cost import Transformer


class GainWithoutDropout(PredictionGain):
    """The fall of the loss on the training batch in evaluation mode."""

    def before_step(self, step: Step) -> None:
        """Evaluate the loss at the old parameters."""
        step.notes["old"] = self._loss(step)

    def after_step(self, step: Step) -> float:
        """Return its fall."""
        return float(step.notes["old"]) - self._loss(step)

    def _loss(self, step: Step) -> float:
        step.module.eval()
        loss = step.probe_loss()
        step.module.train()
        return loss


class QuarterBatchGain(Signal):
    """Prediction gain on the first quarter of the batch, before and after."""

    def before_step(self, step: Step) -> None:
        """Evaluate the loss at the old parameters."""
        step.notes["old"] = step.probe_loss(_quarter(step.batch))

    def after_step(self, step: Step) -> float:
        """Return its fall."""
        return float(step.notes["old"]) - step.probe_loss(_quarter(step.batch))


def _quarter(batch: Any) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch[: len(batch) // 4]
    return tuple(_quarter(part) for part in batch)


COMPARED = {
    "PredictionGain": PredictionGain,
    "FirstOrderPredictionGain": FirstOrderPredictionGain,
    "GradientPredictionGain": GradientPredictionGain,
    "QuarterBatchGain": QuarterBatchGain,
    "SelfPredictionGain": SelfPredictionGain,
}


class Periodic:
    """An endless stream of batches of sequences that repeat a random pattern; longer ones are harder to continue."""

    def __init__(self, period: int, seed: int, batch_size: int = 16, length: int = 48, vocabulary: int = 32) -> None:
        self.period, self.seed = period, seed
        self.batch_size, self.length, self.vocabulary = batch_size, length, vocabulary

    def __iter__(self) -> Iterator[torch.Tensor]:
        generator = torch.Generator().manual_seed(self.seed * 10_007 + self.period)
        while True:
            patterns = torch.randint(self.vocabulary, (self.batch_size, self.period), generator=generator)
            yield patterns.repeat(1, self.length // self.period + 1)[:, : self.length]


def small_transformer() -> Workload:
    """Return a language model with dropout on sequences of periods 1 to 8."""
    return Workload(
        name="transformer",
        title="Transformer with dropout",
        text="Continue periodic sequences.",
        tasks=lambda seed: {f"period {period}": Periodic(period, seed) for period in range(1, 9)},
        held_out=dict,
        model=lambda: Transformer(vocabulary=32, width=64, layers=2, lr=1e-3),
        target="period 8",
        goal=0.1,
        budget=3000,
        evaluate_every=50,
    )


MODELS = {
    "parity_staircase_8": lambda: staircase(duplicates=0),
    "repeat_copy": repeat_copy,
    "transformer": small_transformer,
}


class Together(Signal):
    """Measures several signals at every step, each with notes of its own."""

    needs_loss = True
    needs_probe = True
    needs_gradients = True
    needs_samples = True

    def __init__(self, compared: Mapping[str, Callable[[], Signal]]) -> None:
        self.signals = {name: make() for name, make in compared.items()}
        self.rows: list[list[float]] = []
        # Only where one of them does: the trainer must accumulate for it.
        self.needs_micro_batches = any(signal.needs_micro_batches for signal in self.signals.values())  # type: ignore[misc]

    def after_backward(self, step: Step) -> None:
        """Let each look at the gradients so far, with notes of its own."""
        self._each(step, lambda signal: signal.after_backward(step))

    def before_step(self, step: Step) -> None:
        """Let each measure, with notes of its own."""
        self._each(step, lambda signal: signal.before_step(step))

    def after_step(self, step: Step) -> float:
        """Note what each saw and return the first."""
        row: list[float] = []
        self._each(step, lambda signal: row.append(signal.after_step(step)))
        self.rows.append(row)
        return row[0]

    def _each(self, step: Step, do: Callable[[Signal], object]) -> None:
        notes = step.notes
        for name, signal in self.signals.items():
            step.notes = notes.setdefault(name, {})
            do(signal)
        step.notes = notes


def _measure(name: str, steps: int, seed: int) -> dict[str, Any]:
    pl.seed_everything(seed, verbose=False)
    workload = MODELS[name]()
    compared = {"GainWithoutDropout": GainWithoutDropout, **COMPARED} if name == "transformer" else COMPARED
    signal = Together(compared)
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
    for column, other in enumerate(compared):
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
    result = {name: [_measure(name, options.steps, seed) for seed in range(options.seeds)] for name in MODELS}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "signal_fidelity.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, runs in result.items():
        for other in runs[0]:
            rows = [run[other] for run in runs]
            print(name, other, {key: [row[key] for row in rows] for key in rows[0]})


if __name__ == "__main__":
    main()
