"""What the callback costs per step, side by side with a bare Trainer in one run.

    python -m tests.benchmarks.callback_cost --out docs/results

Every variant trains the same tiny model on batches made beforehand, interleaved over several rounds; the cost is the
median over rounds of the difference to the bare Trainer of the same round.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LearningRateMonitor
from pytorch_lightning.loggers.logger import DummyLogger
from torch import Tensor, nn

from curricula import CurriculumCallback, CurriculumLoader
from curricula.signals import FirstOrderPredictionGain, GradientPredictionGain, PredictionGain, Signal, Step
from examples.compare.training import quiet


class Loss(Signal):
    """The loss itself: no probe, no gradients; what is left is the cost of the curriculum."""

    needs_loss = True

    def after_step(self, step: Step) -> float:
        """Return the loss."""
        return step.loss


class Model(pl.LightningModule):
    """The smallest model that trains."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return a loss."""
        return self.layer(batch).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return SGD."""
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class Endless:
    """The same batch for ever."""

    def __init__(self, batch: Tensor) -> None:
        self.batch = batch

    def __iter__(self) -> Iterator[Tensor]:
        return itertools.repeat(self.batch)


class Sized:
    """The same batch, so many times: the loader of the bare Trainer."""

    def __init__(self, batch: Tensor, length: int) -> None:
        self.batch = batch
        self.length = length

    def __iter__(self) -> Iterator[Tensor]:
        return itertools.repeat(self.batch, self.length)

    def __len__(self) -> int:
        return self.length


class Forward(pl.Callback):
    """One more forward pass per step: what a probe costs at the least."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Run it."""
        with torch.no_grad():
            float(pl_module.training_step(batch, batch_idx))


def _microseconds(steps: int, loader: Any, callbacks: list[pl.Callback], logger: Any = False, **options: Any) -> float:
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        callbacks=callbacks,
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    model = Model()
    start = time.perf_counter()
    trainer.fit(model, loader)
    return (time.perf_counter() - start) / steps * 1e6


def _curriculum(steps: int, num_tasks: int, signal: Signal | None) -> float:
    batch = torch.ones(4, 8)
    loader = CurriculumLoader({f"task {k}": Endless(batch) for k in range(num_tasks)}, steps_per_epoch=steps)
    return _microseconds(steps, loader, [] if signal is None else [CurriculumCallback(signal=signal)])


def measure(steps: int, rounds: int) -> dict[str, Any]:
    """Return, per variant, microseconds per step and the difference to the bare Trainer."""
    plain = Sized(torch.ones(4, 8), steps)
    variants: dict[str, Callable[[], float]] = {
        "bare Trainer": lambda: _microseconds(steps, plain, []),
        "empty callback": lambda: _microseconds(steps, plain, [pl.Callback()]),
        "one more forward": lambda: _microseconds(steps, plain, [Forward()]),
        "LearningRateMonitor, every step": lambda: _microseconds(
            steps, plain, [LearningRateMonitor()], logger=DummyLogger(), log_every_n_steps=1
        ),
        "loader alone, N = 169": lambda: _curriculum(steps, 169, None),
        "curriculum, N = 10": lambda: _curriculum(steps, 10, Loss()),
        "curriculum, N = 169": lambda: _curriculum(steps, 169, Loss()),
        "curriculum, N = 10,000": lambda: _curriculum(steps, 10_000, Loss()),
        "curriculum + default signal, N = 169": lambda: _curriculum(steps, 169, FirstOrderPredictionGain()),
        "curriculum + GradientPredictionGain, N = 169": lambda: _curriculum(steps, 169, GradientPredictionGain()),
        "curriculum + PredictionGain, N = 169": lambda: _curriculum(steps, 169, PredictionGain()),
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    for name, run in [*variants.items()] * (rounds + 1):
        times[name].append(run())
    rows = {}
    for name, values in times.items():
        over = [value - bare for value, bare in zip(values[1:], times["bare Trainer"][1:], strict=True)]
        rows[name] = {
            "microseconds_per_step": round(statistics.median(values[1:]), 1),
            "over_bare": round(statistics.median(over), 1),
            "over_bare_min": round(min(over), 1),
            "over_bare_max": round(max(over), 1),
        }
    return {"steps": steps, "rounds": rounds, "torch": torch.__version__, "cpu": platform.machine(), "variants": rows}


def main() -> None:
    """Run the benchmark and write ``callback_cost.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    options = parser.parse_args()
    quiet()
    result = measure(options.steps, options.rounds)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "callback_cost.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, row in result["variants"].items():
        print(f"{name:48s} {row['microseconds_per_step']:8.1f} us/step   over bare {row['over_bare']:+8.1f}")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
