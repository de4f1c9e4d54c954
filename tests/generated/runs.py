"""One training of a way: all objects are new, and what it did is recorded batch by batch."""

from __future__ import annotations

import hashlib
import importlib
import shutil
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from curricula import CurriculumCallback, bandits, signals
from curricula.rewards import QuantileScaler
from tests.generated import control
from tests.generated.data import make_datamodule, make_loader, regressions
from tests.generated.modules import make_module
from tests.generated.ways import Way

EPOCHS_WITHOUT_END = 1000

RESUMES_IN_A_ROW = 2
"""At most; Lightning may count an epoch twice at each."""


@dataclass(frozen=True)
class Kept:
    """A checkpoint as it was when it was written."""

    path: Path
    batches: int
    """Trained on before it."""
    whole: bool
    """Written between two optimiser steps; else gradients are missing in it."""
    stage: str
    """The last that happened before it: ``"batch"``, ``"begun validation"``, ``"validation"``, or ``"epoch"``."""


@dataclass
class Run:
    """What a training did and left behind."""

    first: int = 0
    """Number of batches trained on before it, by the run that it goes on from."""
    steps: list[tuple[str, str, float]] = field(default_factory=list)
    """Per batch: digests of the batch, of the module and the random numbers after it, and the learning rate."""
    validated: list[int] = field(default_factory=list)
    """Numbers of batches after which it validated."""
    kept: list[Kept] = field(default_factory=list)
    history: dict[str, str] = field(default_factory=dict)
    teacher: dict[str, Any] = field(default_factory=dict)
    module: dict[str, torch.Tensor] = field(default_factory=dict)
    optimizers: str = ""
    schedulers: str = ""


def digest(value: Any) -> str:
    """Return a hash of every bit of nested tensors and numbers."""
    leaves, spec = tree_flatten(value)
    hashed = hashlib.sha256(str(spec).encode())
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            exact = leaf.detach().double() if leaf.is_floating_point() else leaf.detach()
            hashed.update(f"{leaf.dtype} {tuple(leaf.shape)}".encode() + exact.numpy().tobytes())
        else:
            hashed.update(repr(leaf).encode())
    return hashed.hexdigest()[:16]


@cache
def _callbacks(package: str) -> dict[str, type[Any]]:
    lightning = importlib.import_module(package)

    class RandomStream(lightning.Callback):
        """Keeps torch's random numbers in the checkpoint, for modules and samples that draw some."""

        state_key = "RandomStream"

        def __init__(self):
            self.state = None

        def state_dict(self):
            return {"torch": torch.get_rng_state()}

        def load_state_dict(self, state_dict):
            self.state = state_dict["torch"]

        def on_train_start(self, trainer, pl_module):
            if self.state is not None:
                torch.set_rng_state(self.state)

    class Recorder(lightning.Callback):
        """Writes down what happens."""

        state_key = "Recorder"

        def __init__(self, run: Run):
            self.run = run
            self.whole = True
            self.stage = ""
            self.batch = ""

        def state_dict(self):
            return {"batches": self.run.first + len(self.run.steps), "whole": self.whole, "stage": self.stage}

        def load_state_dict(self, state_dict):
            self.run.first = state_dict["batches"]

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.batch = digest(batch)

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            place = batch_idx + 1
            self.stage = "batch"
            self.whole = place % trainer.accumulate_grad_batches == 0 or place == trainer.num_training_batches
            state = digest([pl_module.state_dict(), torch.get_rng_state()])
            self.run.steps.append((self.batch, state, trainer.optimizers[0].param_groups[0]["lr"]))

        def on_validation_start(self, trainer, pl_module):
            self.stage = "begun validation"

        def on_validation_end(self, trainer, pl_module):
            self.stage = "validation"
            if not trainer.sanity_checking:
                self.run.validated.append(self.run.first + len(self.run.steps))

        def on_train_epoch_end(self, trainer, pl_module):
            self.stage = "epoch"

    class Stop(lightning.Callback):
        """Ends the training early, as a user's criterion does."""

        def __init__(self, steps: int):
            self.steps = steps

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step >= self.steps:
                trainer.should_stop = True

    class Interrupt(lightning.Callback):
        """Raises at the first chance after so many batches."""

        def __init__(self, run: Run, batches: int, way: Way):
            self.run = run
            self.batches = batches
            self.way = way

        def strike(self, place):
            if place == self.way.error_at and self.run.first + len(self.run.steps) >= self.batches:
                raise {"KeyboardInterrupt": KeyboardInterrupt, "RuntimeError": RuntimeError}[self.way.error](
                    "on purpose"
                )

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self.strike("batch end")

        def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
            self.strike("validation")

        def on_train_epoch_end(self, trainer, pl_module):
            self.strike("epoch end")

    return {cls.__name__: cls for cls in (RandomStream, Recorder, Stop, Interrupt)}


@cache
def _keeping(package: str) -> type[Any]:
    fabric = "lightning_fabric" if package == "pytorch_lightning" else "lightning.fabric"
    base = importlib.import_module(f"{fabric}.plugins").TorchCheckpointIO

    class Keeping(base):
        """Copies every checkpoint that is written, also those that Lightning replaces or removes later."""

        def __init__(self, run: Run, folder: Path):
            super().__init__()
            self.run = run
            self.folder = folder

        def save_checkpoint(self, checkpoint, path, storage_options=None):
            super().save_checkpoint(checkpoint, path, storage_options)
            copied = self.folder / f"kept-{len(self.run.kept)}.ckpt"
            shutil.copy(path, copied)
            self.run.kept.append(Kept(copied, **checkpoint["callbacks"]["Recorder"]))

    return Keeping


def _bandit(way: Way) -> bandits.Bandit:
    made: Any = {
        "Exp3S optimistic": lambda: bandits.Exp3S(beta=0.05),
        "Exp3S paper": bandits.Exp3S.paper,
        "Exp3": lambda: bandits.Exp3(eta=0.1, epsilon=0.1),
        "FixedPolicy": lambda: bandits.FixedPolicy([4.0, 3.0, 2.0, 1.0]),
        "WithoutReplacement": lambda: bandits.WithoutReplacement([5, 3, 4, 6]),
    }.get(way.bandit)
    return getattr(bandits, way.bandit)() if made is None else made()


def _scaler(way: Way) -> QuantileScaler:
    return {
        "window": lambda: QuantileScaler(window=15, warmup=3),
        "reservoir": lambda: QuantileScaler(window=8, warmup=3, reservoir=True),
        "paper": QuantileScaler.paper,
    }[way.scaler]()


def make_callback(way: Way) -> CurriculumCallback:
    """Return the curriculum's callback."""
    signal = getattr(signals, way.signal)()
    target: Any = None
    if signal.needs_target:
        target = "d" if way.target == "task" else regressions(2)["a"]
    cost = _samples if way.cost == "given" else None
    return CurriculumCallback(_bandit(way), signal, _scaler(way), cost=cost, target=target, seed=3)


def _samples(batch: Any) -> float:
    return float(len(batch[0]))


def _checkpoints(way: Way, folder: Path) -> list[Any]:
    saver = importlib.import_module(f"{way.package}.callbacks").ModelCheckpoint
    options: dict[str, dict[str, Any]] = {
        "steps": {"every_n_train_steps": 2, "save_top_k": -1},
        "validation": {"monitor": "val_loss", "save_top_k": 2, "save_on_train_epoch_end": False},
        "epoch end": {"save_on_train_epoch_end": True, "save_top_k": -1},
        "time": {"train_time_interval": timedelta(microseconds=1), "save_top_k": -1},
        "exception": {"save_on_exception": True, "every_n_epochs": EPOCHS_WITHOUT_END},
        "last": {"save_last": way.save_last, "every_n_train_steps": 3},
    }
    return [] if way.checkpoints == "default" else [saver(dirpath=folder, **options[way.checkpoints])]


def _length(way: Way) -> dict[str, Any]:
    return {
        "epochs": {"max_epochs": way.epochs},
        "steps": {"max_steps": way.steps},
        "both, steps first": {"max_epochs": way.epochs + RESUMES_IN_A_ROW, "max_steps": way.steps},
        "both, epochs first": {"max_epochs": way.epochs, "max_steps": way.steps + 5},
        "time": {"max_time": timedelta(hours=1)},
    }[way.length]


def _validation(way: Way) -> dict[str, Any]:
    return {
        "never": {"limit_val_batches": 0},
        "end": {},
        "second epoch": {"check_val_every_n_epoch": 2},
        "batches": {"val_check_interval": max(2, way.accumulate)},
        "part": {"val_check_interval": 0.5},
        "across epochs": {"val_check_interval": 4, "check_val_every_n_epoch": None},
    }[way.validation]


def _logger(way: Way, folder: Path) -> Any:
    kind = importlib.import_module(f"{way.package}.loggers").CSVLogger
    return kind(folder, version=folder.name) if way.logs == "module and file" else False


def _trainer_options(way: Way) -> dict[str, Any]:
    clips = {"gradient_clip_val": 0.5, "gradient_clip_algorithm": way.clip} if way.clip != "none" else {}
    limits = {"overfit_batches": way.overfit} if way.overfit else {}
    if way.limit is not None:
        limits["limit_train_batches"] = way.limit
    return {
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": True,
        "precision": way.precision,
        "accumulate_grad_batches": way.accumulate,
        "num_sanity_val_steps": way.sanity,
        "reload_dataloaders_every_n_epochs": way.reload,
        "log_every_n_steps": 1,
        **_length(way),
        **_validation(way),
        **clips,
        **limits,
    }


def train(
    way: Way,
    folder: Path,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    interrupted_after: int | None = None,
    plain: bool = False,
) -> Run:
    """Train in a way, from the beginning or from a checkpoint, and return what happened.

    Args:
        way: how to train.
        folder: for copies of all checkpoints; made if it is not there.
        seed: of the global random numbers at the start.
        checkpoint: to go on from.
        interrupted_after: raise the error of the way at the first chance after so many batches.
        plain: without the curriculum, as a control: on a loader of fixed batches.
    """
    folder.mkdir(parents=True, exist_ok=True)
    saved = folder.parent / "saved"  # all runs of a way save to one place, as users' do
    lightning = importlib.import_module(way.package)
    lightning.seed_everything(seed, verbose=False)
    run, parts = Run(), _callbacks(way.package)
    datamodule = None if plain else make_datamodule(way)
    loader: Any = control.Batches(way) if plain else None
    in_module = way.given_by == "module"
    module = make_module(way, (partial(make_loader, way) if loader is None else lambda: loader) if in_module else None)
    if loader is None and way.given_by == "fit":
        loader = make_loader(way)
    own = control.keeper(way.package)(loader) if plain else make_callback(way)
    callbacks = [own, parts["RandomStream"](), parts["Recorder"](run)]
    if way.length == "time":
        callbacks.append(parts["Stop"](way.steps))
    if interrupted_after is not None:
        callbacks.append(parts["Interrupt"](run, interrupted_after, way))
    trainer = lightning.Trainer(
        callbacks=[*callbacks, *_checkpoints(way, saved)],
        plugins=[_keeping(way.package)(run, folder)],
        default_root_dir=saved,
        logger=_logger(way, folder),
        **_trainer_options(way),
    )
    given = None if in_module else loader
    try:
        trainer.fit(module, given, datamodule=datamodule, ckpt_path=checkpoint)
    except (SystemExit, RuntimeError) as error:  # Lightning makes an exit of Ctrl-C
        if interrupted_after is None or "on purpose" not in str(error.__context__ or error):
            raise
    if not plain:
        own_history = own.history
        run.history = {name: str(own_history.column(name).tolist()) for name in ("arm", "progress", "reward", "loss")}
        run.teacher = own.teacher.state_dict()
    run.module = {name: value.clone() for name, value in module.state_dict().items()}
    run.optimizers = digest([optimizer.state_dict() for optimizer in trainer.optimizers])
    run.schedulers = str([config.scheduler.state_dict() for config in trainer.lr_scheduler_configs])
    return run
