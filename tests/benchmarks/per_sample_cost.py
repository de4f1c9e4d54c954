"""What per-sample gradients add to a training step: ratios to the plain step, side by side, one process per model.

    python -m tests.benchmarks.per_sample_cost --out docs/results

Every step is a forward pass, a backward pass and a step of Adam; the inner products are with that step, and the copy of
the parameters is counted. Times are of the processor, on one thread. Ratios are of median step times of the same round;
reported is their median over rounds. The steps in which gradients are verified come before the first round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from curricula.signals.per_sample import PerSampleGradients
from examples.repeat_copy import repeat_copy
from tests.benchmarks.signal_cost import Transformer

SLOTS = 8


class Case:
    """A module with the loss of one batch.

    Args:
        module: in training.
        loss: of its batch.
        batch_size: samples.
        steps: per round.
    """

    def __init__(self, module: nn.Module, loss: Callable[[], Tensor], batch_size: int, steps: int) -> None:
        self.module = module
        self.loss = loss
        self.batch_size = batch_size
        self.steps = steps


def mlp() -> Case:
    """Return a small network on 64 samples."""
    module = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    inputs, targets = torch.randn(64, 64), torch.randint(10, (64,))
    return Case(module, lambda: nn.functional.cross_entropy(module(inputs), targets), 64, 200)


def lstm() -> Case:
    """Return the LSTM of repeat copy, of which the read-out is covered."""
    workload = repeat_copy()
    module = workload.model()
    batch = next(iter(list(workload.tasks(0).values())[-1]))
    return Case(module, lambda: module.training_step(batch, 0), len(batch[0]), 100)


def transformer() -> Case:
    """Return the transformer of ten million parameters, of which all but the attention is covered."""
    module = Transformer()
    tokens = torch.randint(1000, (8, 64))
    return Case(module, lambda: module.training_step(tokens, 0), 8, 6)


def convolution() -> Case:
    """Return a small convolutional network on 32 images."""
    module = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.GroupNorm(4, 64), nn.ReLU()),
        *(nn.Conv2d(64, 64, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 64, 10)),
    )
    inputs, targets = torch.randn(32, 3, 32, 32), torch.randint(10, (32,))
    return Case(module, lambda: nn.functional.cross_entropy(module(inputs), targets), 32, 15)


CASES = {"MLP": mlp, "LSTM": lstm, "transformer": transformer, "convolution": convolution}
VARIANTS = ("inner products", "squared norms", f"Gram matrix of {SLOTS} slots", "Gram matrix of samples")


class Training:
    """A training that measures, or does not.

    Args:
        case: what is trained.
        variant: of :data:`VARIANTS`, or ``None``.
    """

    def __init__(self, case: Case, variant: str | None) -> None:
        self.case = case
        self.variant = variant
        self.optimizer = torch.optim.Adam(case.module.parameters(), lr=1e-4)
        self.per_sample = PerSampleGradients(case.module)

    def step(self) -> None:
        """Make one step."""
        self.optimizer.zero_grad()
        if self.variant is None:
            self.case.loss().backward()
            self.optimizer.step()
            return
        self.per_sample.clear()
        with self.per_sample.watch(self.case.batch_size):
            self.case.loss().backward()
        if self.variant == VARIANTS[0]:
            old = {name: p.detach().clone() for name, p in self.case.module.named_parameters()}
            self.optimizer.step()
            self.per_sample.inner_products(
                {name: p.detach() - old[name] for name, p in self.case.module.named_parameters()}
            )
            return
        if self.variant == VARIANTS[1]:
            self.per_sample.squared_norms()
        else:
            self.per_sample.gram(SLOTS if self.variant == VARIANTS[2] else None)
        self.optimizer.step()

    def seconds(self) -> float:
        """Return the median time of a step."""
        times = []
        for _ in range(self.case.steps):
            start = time.process_time()
            self.step()
            times.append(time.process_time() - start)
        return statistics.median(times)


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Return the plain step in milliseconds, and what each variant adds in percent."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    case = CASES[name]()
    trainings = {variant: Training(case, variant) for variant in (None, *VARIANTS)}
    for training in trainings.values():
        training.step()
        training.step()
    times: dict[str | None, list[float]] = {variant: [] for variant in trainings}
    for _ in range(rounds):
        for variant, training in trainings.items():
            times[variant].append(training.seconds())
    extra = {
        variant: [round(100 * (own / plain - 1), 1) for own, plain in zip(times[variant], times[None], strict=True)]
        for variant in VARIANTS
    }
    return {
        "parameters": sum(parameter.numel() for parameter in case.module.parameters()),
        "covered": round(trainings[VARIANTS[0]].per_sample.coverage().share, 3),
        "plain_step_ms": round(1000 * statistics.median(times[None]), 2),
        "extra_percent": {name: {"median": statistics.median(row), "all": row} for name, row in extra.items()},
    }


def main() -> None:
    """Run the benchmark, each model in a fresh process, and write ``per_sample_cost.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", choices=CASES, help="measure this one only, in this process")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "per_sample_cost.json"
    if options.model is not None:
        path.write_text(json.dumps(measure(options.model, options.rounds)), encoding="utf-8")
        return
    result = {}
    for model in CASES:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "tests.benchmarks.per_sample_cost", "--model", model, "--out", folder]
            subprocess.run([*command, "--rounds", str(options.rounds)], check=True)
            result[model] = json.loads((Path(folder) / path.name).read_text(encoding="utf-8"))
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for model, row in result.items():
        print(
            f"{model}: {row['parameters']:,} parameters, {row['covered']:.1%} covered, {row['plain_step_ms']} ms a step"
        )
        for name, cost in row["extra_percent"].items():
            print(f"  {name:24s} {cost['median']:+7.1f} %   {cost['all']}")


if __name__ == "__main__":
    main()
