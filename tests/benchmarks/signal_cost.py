"""What every signal adds to a step, as a ratio to the plain step, side by side in one run.

    python -m tests.benchmarks.signal_cost --out docs/results

The plain step is that of the same loader and trainer without the callback. Ratios are of median step times of the same
round; reported is their median over rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from curricula import CurriculumCallback, CurriculumLoader, signals
from curricula.bandits import FixedPolicy
from examples.comparison import quiet
from examples.repeat_copy import repeat_copy

SIGNALS = [name for name in signals.__all__ if name not in ("Signal", "Step") and "Variational" not in name]


class Tokens:
    """An endless stream of random token sequences."""

    def __init__(self, seed: int, batch_size: int = 8, length: int = 64, vocabulary: int = 1000) -> None:
        self.seed = seed
        self.shape = (batch_size, length)
        self.vocabulary = vocabulary

    def __iter__(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            yield torch.randint(self.vocabulary, self.shape, generator=generator)


class Transformer(pl.LightningModule):
    """A language model, by default of about ten million parameters."""

    def __init__(self, vocabulary: int = 1000, width: int = 512, layers: int = 3, lr: float = 1e-4) -> None:
        super().__init__()
        self.lr = lr
        self.embedding = nn.Embedding(vocabulary, width)
        layer = nn.TransformerEncoderLayer(width, 8, 4 * width, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.readout = nn.Linear(width, vocabulary)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the mean cross-entropy of the next token."""
        mask = nn.Transformer.generate_square_subsequent_mask(batch.shape[1])
        logits = self.readout(self.encoder(self.embedding(batch), mask=mask, is_causal=True))
        return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class Stopwatch(pl.Callback):
    """Notes when every batch begins."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        """Note it."""
        self.times.append(time.perf_counter())

    def median(self) -> float:
        """Return the median time from batch to batch, the first three left out."""
        return statistics.median(after - before for before, after in zip(self.times[3:], self.times[4:], strict=False))


def _seconds(
    steps: int, model: Callable[[], pl.LightningModule], tasks: Callable[[int], Mapping[str, Any]], name: str | None
) -> float:
    torch.manual_seed(0)
    loader = CurriculumLoader(tasks(0), probe_tasks=tasks(1), steps_per_epoch=steps)
    watch = Stopwatch()
    callbacks: list[pl.Callback] = [watch]
    if name is not None:
        signal = getattr(signals, name)()
        callbacks.append(CurriculumCallback(FixedPolicy.uniform(), signal, target=loader.names[-1]))
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model(), loader)
    return watch.median()


def measure(steps: int, rounds: int, model: Any, tasks: Any) -> dict[str, Any]:
    """Return the plain step in milliseconds and the extra cost of every signal in percent of it."""
    variants: list[str | None] = [None, *SIGNALS]
    times: dict[str | None, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name in variants:
            times[name].append(_seconds(steps, model, tasks, name))
    extra = {
        str(name): [round(100 * (value / plain - 1), 1) for value, plain in zip(times[name], times[None], strict=True)]
        for name in SIGNALS
    }
    return {
        "plain_step_ms": round(1000 * statistics.median(times[None]), 2),
        "parameters": sum(parameter.numel() for parameter in model().parameters()),
        "extra_percent": {name: {"median": statistics.median(values), "all": values} for name, values in extra.items()},
    }


def main() -> None:
    """Run the benchmark and write ``signal_cost.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    options = parser.parse_args()
    quiet()
    workload = repeat_copy()
    result = {
        "LSTM": measure(300, options.rounds, workload.model, workload.tasks),
        "transformer": measure(
            14, options.rounds, Transformer, lambda seed: {f"task {k}": Tokens(10 * k + seed) for k in range(4)}
        ),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "signal_cost.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for model, row in result.items():
        print(f"{model}: {row['parameters']:,} parameters, plain step {row['plain_step_ms']} ms")
        for name, cost in row["extra_percent"].items():
            print(f"  {name:28s} {cost['median']:+7.1f} %   {cost['all']}")


if __name__ == "__main__":
    main()
