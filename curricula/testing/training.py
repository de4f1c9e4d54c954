"""Short trainings in which every trace that a signal could leave is written down."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from curricula.bandits import Bandit, FixedPolicy
from curricula.callback import CurriculumCallback
from curricula.data.loader import CurriculumLoader
from curricula.signals.base import Signal
from curricula.teacher import Teacher
from curricula.testing.chance import global_numbers
from curricula.testing.repeats import alone, digest

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Noisy(pl.LightningModule):
    """Dropout, BatchNorm, a logged metric and Adam: all that a signal could disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 1))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the squared error."""
        inputs, targets = batch
        loss: Tensor = (self.network(inputs) - targets).square().mean()
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return an optimiser with a memory."""
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class NoisyPerSample(Noisy):
    """The same with a loss for every sample."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the squared error, and that of every sample."""
        inputs, targets = batch
        losses = (self.network(inputs) - targets).square().flatten(1).mean(dim=1)
        self.log("loss", losses.mean(), on_step=True, on_epoch=True)
        return {"loss": losses.mean(), "losses": losses}


def regressions() -> dict[str, TensorDataset]:
    """Return four tasks of four inputs and one target, no two samples alike."""
    numbers = torch.Generator().manual_seed(0)
    return {
        name: TensorDataset(
            torch.randn(32, 4, generator=numbers), torch.randn(32, 1, generator=numbers) * (scale + 0.5)
        )
        for scale, name in enumerate("abcd")
    }


@dataclass(frozen=True)
class Training:
    """What was seen in a training.

    Attributes:
        traces: per batch, a fingerprint of everything that the training consists of, by name.
        callback: that of the curriculum; ``None`` for a training without.
    """

    traces: list[dict[str, str]]
    callback: CurriculumCallback | None

    @property
    def progress(self) -> list[float]:
        """Raw progress of every step."""
        return self.column("progress")

    def column(self, name: str) -> list[float]:
        """Return a column of the history."""
        if self.callback is None:
            return []
        values: list[float] = self.callback.history.column(name).tolist()
        return values


class Witness(pl.Callback):
    """Writes down the state of the training after every batch, after all that the curriculum did."""

    def __init__(self) -> None:
        self.traces: list[dict[str, str]] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the fingerprints."""
        parameters = dict(pl_module.named_parameters())
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.traces.append(
            {
                "parameters": digest(parameters),
                "gradients": digest({name: value.grad for name, value in parameters.items()}),
                "buffers": digest(dict(pl_module.named_buffers())),
                "state of the optimisers": digest([optimizer.state_dict() for optimizer in trainer.optimizers]),
                "random streams": digest([torch.get_rng_state(), *global_numbers()]),
                "logged metrics": repr({name: metrics[name] for name in sorted(metrics) if "curriculum/" not in name}),
                "modes": repr(
                    (
                        torch.is_grad_enabled(),
                        [part.training for part in pl_module.modules()],
                        [parameter.requires_grad for parameter in parameters.values()],
                    )
                ),
                "attributes": repr([sorted(vars(part)) for part in pl_module.modules()]),
            }
        )


class RandomStream(pl.Callback):
    """Keeps torch's random stream in the checkpoint, for models that draw from it."""

    def __init__(self) -> None:
        self._state: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the stream."""
        return {"torch": torch.get_rng_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the stream until the training starts."""
        self._state = state_dict["torch"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the stream to where it was."""
        if self._state is not None:
            torch.set_rng_state(self._state)


class Save(pl.Callback):
    """Saves a checkpoint after a step."""

    def __init__(self, step: int, path: Path) -> None:
        self._step = step
        self._path = path

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save it."""
        if trainer.global_step == self._step and not self._path.exists():
            trainer.save_checkpoint(self._path)


class Spoil(pl.Callback):
    """Adds NaN to the loss of one step; the gradients stay as they are."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._now = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Wrap what computes the loss, for training and for the probe."""
        for name in ("training_step", "curriculum_loss"):
            function = getattr(pl_module, name, None)
            if function is not None:
                setattr(pl_module, name, self._spoiled(function))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Learn whether it is time."""
        self._now = trainer.global_step == self._step

    def _spoiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def spoiled(*arguments: Any, **options: Any) -> Any:
            output = function(*arguments, **options)
            if not self._now:
                return output
            return {**output, "loss": output["loss"] + math.nan} if isinstance(output, Mapping) else output + math.nan

        return spoiled


def train(
    signal: Signal | None,
    make_model: Callable[[], pl.LightningModule],
    tasks: Mapping[str, Any],
    *others: pl.Callback,
    bandit: Bandit | None = None,
    target: Any = None,
    seed: int = 0,
    steps: int = 20,
    checkpoint: Path | None = None,
    draws_per_batch: int = 1,
    **options: Any,
) -> Training:
    """Train for so many steps, with a signal or without; all global random streams are put back afterwards.

    Args:
        signal: ``None`` for uniform draws without a curriculum.
        make_model: called once the random streams are seeded.
        tasks: of the loader.
        others: more callbacks; they come after that of the curriculum.
        bandit: default uniform draws.
        target: of the callback.
        seed: of the draws and of the global random streams.
        steps: of the optimiser.
        checkpoint: to resume from.
        draws_per_batch: of the loader.
        options: of the trainer.
    """
    loader = CurriculumLoader(tasks, batch_size=8, draws_per_batch=draws_per_batch, steps_per_epoch=10, seed=seed)
    callback, witness = None, Witness()
    if signal is None:
        micro_batches = int(options.get("accumulate_grad_batches", 1))
        teacher = Teacher(loader.names, bandit=FixedPolicy.uniform(), seed=seed)
        loader.attach(teacher, micro_batches=lambda: micro_batches)
    else:
        callback = CurriculumCallback(bandit or FixedPolicy.uniform(), signal, target=target, seed=seed)
    callbacks = [*([] if callback is None else [callback]), RandomStream(), witness, *others]
    with alone(seed):
        model = make_model()
        trainer = _trainer_of(model)(callbacks=callbacks, **{**QUIET, "max_steps": steps, **options})
        trainer.fit(model, loader, ckpt_path=checkpoint)
    return Training(witness.traces, callback)


def _trainer_of(model: Any) -> Any:
    if isinstance(model, pl.LightningModule):
        return pl.Trainer
    from lightning.pytorch import Trainer  # each of the two packages refuses the modules of the other

    return Trainer
