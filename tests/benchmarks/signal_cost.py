"""What every signal adds to a step, as a ratio to the plain step, side by side in one run.

    python -m tests.benchmarks.signal_cost --out docs/results

The plain step is that of the same loader, model and trainer without the callback: for signals that compare
micro-batches in two of half the size, for those of complexity with Gaussian weights. Ratios are of median step times of
the same round; reported is their median over rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from curricula import CurriculumCallback, CurriculumLoader, signals
from curricula.bandits import FixedPolicy
from curricula.variational import Variational
from examples.compare.training import quiet
from examples.repeat_copy import repeat_copy
from examples.repeat_copy.model import VariationalRepeatCopyModel
from tests.signals.kinds import measuring_classes

SIGNALS = [kind.__name__ for kind in measuring_classes()]


def form(name: str) -> str:
    """Return the form of training that a signal asks for."""
    if getattr(signals, name).needs_micro_batches:
        return "halves"
    return "variational" if "Variational" in name else "plain"


@dataclass(frozen=True)
class Training:
    """What is trained, in one form of training.

    Attributes:
        model: makes the module.
        tasks: from a seed to the tasks.
        accumulation: micro-batches per step.
    """

    model: Callable[[], pl.LightningModule]
    tasks: Callable[[int], Mapping[str, Any]]
    accumulation: int = 1


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


class VariationalTransformer(Transformer):
    """The same with Gaussian weights."""

    def __init__(self) -> None:
        super().__init__()
        parts = nn.ModuleDict({"embedding": self.embedding, "encoder": self.encoder, "readout": self.readout})
        self.variational = Variational(LanguageModel(parts), samples=1e6)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the mean cross-entropy of the next token, with the divergence."""
        logits = self.variational(batch)
        loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten())
        return self.variational.loss(loss)


class LanguageModel(nn.Module):
    """Embedding, encoder and read-out in one module."""

    def __init__(self, parts: nn.ModuleDict) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, batch: Tensor) -> Tensor:
        """Return the logits."""
        mask = nn.Transformer.generate_square_subsequent_mask(batch.shape[1])
        hidden = self.parts["encoder"](self.parts["embedding"](batch), mask=mask, is_causal=True)
        logits: Tensor = self.parts["readout"](hidden)
        return logits


class Stopwatch(pl.Callback):
    """Notes when every batch begins."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        """Note it."""
        self.times.append(time.perf_counter())

    def median(self, batches: int) -> float:
        """Return the median time of so many batches, the first three times left out."""
        times = self.times[3 * batches :: batches]
        return statistics.median(after - before for before, after in pairwise(times))


def _seconds(steps: int, training: Training, name: str | None) -> float:
    torch.manual_seed(0)
    batches = steps * training.accumulation
    loader = CurriculumLoader(training.tasks(0), probe_tasks=training.tasks(1), steps_per_epoch=batches)
    watch = Stopwatch()
    callbacks: list[pl.Callback] = [watch]
    if name is not None:
        signal = getattr(signals, name)()
        callbacks.append(CurriculumCallback(FixedPolicy.uniform(), signal, target=loader.names[-1]))
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        accumulate_grad_batches=training.accumulation,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(training.model(), loader)
    return watch.median(training.accumulation)


def measure(steps: int, rounds: int, forms: Mapping[str, Training]) -> dict[str, Any]:
    """Return the plain step of each form in milliseconds, and the extra cost of every signal in percent of its own."""
    plain: dict[str, list[float]] = {name: [] for name in forms}
    times: dict[str, list[float]] = {name: [] for name in SIGNALS}
    for _ in range(rounds):
        for name, training in forms.items():
            plain[name].append(_seconds(steps, training, None))
        for name in SIGNALS:
            times[name].append(_seconds(steps, forms[form(name)], name))
    extra = {
        name: [round(100 * (value / base - 1), 1) for value, base in zip(times[name], plain[form(name)], strict=True)]
        for name in SIGNALS
    }
    model = forms["plain"].model()
    return {
        "plain_step_ms": {name: round(1000 * statistics.median(values), 2) for name, values in plain.items()},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "extra_percent": {name: {"median": statistics.median(values), "all": values} for name, values in extra.items()},
    }


def _tokens(batch_size: int) -> Callable[[int], Mapping[str, Any]]:
    return lambda seed: {f"task {k}": Tokens(10 * k + seed, batch_size) for k in range(4)}


def main() -> None:
    """Run the benchmark and write ``signal_cost.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    options = parser.parse_args()
    quiet()
    copy, copy_halves = repeat_copy(), repeat_copy(batch_size=8)
    result = {
        "LSTM": measure(
            300,
            options.rounds,
            {
                "plain": Training(copy.model, copy.tasks),
                "halves": Training(copy.model, copy_halves.tasks, 2),
                "variational": Training(lambda: VariationalRepeatCopyModel(4, 64, samples=1e6), copy.tasks),
            },
        ),
        "transformer": measure(
            14,
            options.rounds,
            {
                "plain": Training(Transformer, _tokens(8)),
                "halves": Training(Transformer, _tokens(4), 2),
                "variational": Training(VariationalTransformer, _tokens(8)),
            },
        ),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "signal_cost.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for model, row in result.items():
        print(f"{model}: {row['parameters']:,} parameters, plain steps in ms: {row['plain_step_ms']}")
        for name, cost in row["extra_percent"].items():
            print(f"  {name:28s} {cost['median']:+7.1f} %   {cost['all']}")


if __name__ == "__main__":
    main()
