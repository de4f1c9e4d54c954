"""Ways to train, chosen at random by a seed: plain values, with no trainer in sight."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields, replace
from typing import Any

from curricula import signals
from tests.signals.kinds import measuring_classes

SIZES = (12, 18, 10, 14)
"""Samples of the tasks: with no batch size in use does a pass leave one sample, which BatchNorm refuses."""

SIGNALS = tuple(sorted(kind.__name__ for kind in measuring_classes()))

OPTIONS: dict[str, tuple[Any, ...]] = {
    "package": ("pytorch_lightning", "lightning.pytorch"),
    "signal": SIGNALS,
    "target": ("task", "held out"),
    "bandit": (
        *("Exp3S", "Exp3S optimistic", "Exp3S paper", "Exp3", "FixedPolicy", "WithoutReplacement"),
        *("TSCLOnline", "TSCLNaive", "TSCLWindow", "TSCLSampling"),
        *("SlidingWindowUCB", "DiscountedUCB", "OnlineDataMixing", "Boltzmann"),
    ),
    "scaler": ("window", "reservoir", "paper"),
    "network": ("linear", "noisy", "gaussian"),
    "optimizer": ("sgd", "adam"),
    "manual": (False, True),
    "schedule": ("none", "epoch", "step", "one cycle", "warm-up", "epoch cosine"),
    # Not "64-true": Lightning loads a checkpoint before it makes the parameters float64, and so rounds them to float32.
    "precision": ("32-true", "bf16-mixed"),
    "data": ("map", "augmented", "streams", "endless", "loaders", "mixed"),
    "workers": ("none", "two", "persistent"),
    "given_by": ("fit", "module", "our datamodule", "own datamodule", "adopted datamodule"),
    "batch_size": (5, 8),
    "steps_per_epoch": (None, 6, 7),
    "limit": (None, 5, 0.75),
    "overfit": (0, 5),
    "accumulate": (1, 2, 3),
    "clip": ("none", "norm", "value"),
    "length": ("epochs", "steps", "both, steps first", "both, epochs first", "time"),
    "validation": ("never", "end", "second epoch", "batches", "part", "across epochs"),
    "sanity": (0, 2),
    "checkpoints": ("default", "steps", "validation", "epoch end", "time", "exception", "last"),
    "error": ("KeyboardInterrupt", "RuntimeError"),
    "error_at": ("batch end", "validation", "epoch end"),
    "logs": ("none", "module", "module and file"),
    "shuffle": (True, False),
    "cost": ("none", "given"),
    "reload": (0, 1, 2),
    "save_last": (True, "link"),
}
"""What may be chosen, by the name of the field of :class:`Way`."""

RARE: dict[str, Any] = {"workers": "none", "manual": False, "limit": None, "overfit": 0, "reload": 0}
"""What is chosen four times in five: the other values are slow, or exclude much."""

WITH_WORKERS = ("map", "augmented", "loaders", "mixed")
WITH_LENGTH = ("map", "augmented", "loaders")
WITH_TOTAL = ("one cycle", "warm-up")


@dataclass(frozen=True)
class Way:
    """One way to train. The fields are described by :data:`OPTIONS`."""

    seed: int
    package: str
    signal: str
    target: str
    bandit: str
    scaler: str
    network: str
    optimizer: str
    manual: bool
    schedule: str
    precision: str
    data: str
    workers: str
    given_by: str
    batch_size: int
    steps_per_epoch: int | None
    limit: int | float | None
    overfit: int
    accumulate: int
    clip: str
    length: str
    validation: str
    sanity: int
    checkpoints: str
    error: str
    error_at: str
    logs: str
    shuffle: bool
    cost: str
    reload: int
    save_last: bool | str

    def __str__(self) -> str:
        return " ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(self))

    @property
    def loader_batches(self) -> int:
        """Batches per epoch of the loader."""
        return self.steps_per_epoch or sum(-(-size // self.batch_size) for size in SIZES)

    @property
    def epoch_batches(self) -> int:
        """Batches that the trainer takes per epoch."""
        batches = self.loader_batches
        if self.overfit:
            return min(self.overfit, batches)
        if isinstance(self.limit, float):
            return int(batches * self.limit)
        return min(self.limit or batches, batches)

    @property
    def epochs(self) -> int:
        """Epochs of the longest training: more of them where few places are left to resume from."""
        epochs = 6 if self.checkpoints in ("steps", "exception", "last") else 4
        return 2 * epochs if self.validation == "second epoch" and self.saves_at_validations else epochs

    @property
    def epoch_steps(self) -> int:
        """Optimiser steps per epoch."""
        return -(-self.epoch_batches // self.accumulate)

    @property
    def steps(self) -> int:
        """Optimiser steps after which the training ends."""
        by_epochs = self.length in ("epochs", "both, epochs first")
        return self.epoch_steps * self.epochs - (0 if by_epochs else self.epoch_steps // 2)

    @property
    def saves_at_validations(self) -> bool:
        """Checkpoints are written while the trainer validates, or right after it."""
        by_error = self.checkpoints == "exception" and self.error_at == "validation"
        return by_error or self.checkpoints in ("default", "validation")

    @property
    def saves_after_epochs(self) -> bool:
        """Checkpoints are written in ``on_train_epoch_end``."""
        by_error = self.checkpoints == "exception" and self.error_at == "epoch end"
        by_default = self.checkpoints == "default" and self.validation in ("never", "end")
        return by_error or by_default or self.checkpoints == "epoch end"


def make_way(seed: int) -> Way:
    """Return the way of a seed: the same in every process."""
    numbers = random.Random(seed)
    chosen = {name: numbers.choice(values) for name, values in OPTIONS.items()}
    chosen.update({name: usual for name, usual in RARE.items() if numbers.random() < 0.8})
    # The options with the most values go round, so that a few dozen seeds have them all several times.
    chosen["signal"] = SIGNALS[seed % len(SIGNALS)]
    chosen["checkpoints"] = OPTIONS["checkpoints"][seed % len(OPTIONS["checkpoints"])]
    _settle(chosen, numbers)
    return _within_lightning(Way(seed=seed, **chosen))


def _settle(chosen: dict[str, Any], numbers: random.Random) -> None:
    """Mend what excludes each other, in the library or in Lightning."""
    signal = getattr(signals, chosen["signal"])
    if "Variational" in chosen["signal"]:
        chosen["network"] = "gaussian"
    if signal.needs_micro_batches:
        chosen["manual"] = False
        chosen["accumulate"] = max(2, chosen["accumulate"])
    if chosen["manual"]:  # Lightning accumulates and clips by itself only where it optimises by itself
        chosen["accumulate"], chosen["clip"] = 1, "none"
        if chosen["checkpoints"] == "time":  # Lightning saves by time only where it optimises by itself
            chosen["checkpoints"] = "steps"
        if chosen["schedule"].startswith("epoch"):
            # Lightning calls `on_train_epoch_end`, where these are stepped by hand, once more after a resume.
            chosen["schedule"] = "step"
    if chosen["validation"] == "never" and chosen["error_at"] == "validation":
        chosen["error_at"] = "batch end"
    if chosen["data"] not in WITH_WORKERS:
        chosen["workers"] = "none"
    if chosen["data"] not in WITH_LENGTH and chosen["steps_per_epoch"] is None:
        chosen["steps_per_epoch"] = 6
    if chosen["overfit"]:
        chosen["limit"] = None
    if chosen["length"] == "time" and chosen["schedule"] in WITH_TOTAL:  # there is no total to look at
        chosen["schedule"] = "step"
    if chosen["checkpoints"] == "validation" and chosen["validation"] == "never":
        chosen["validation"] = numbers.choice(OPTIONS["validation"][1:])
    at_validation = Way(seed=0, **chosen).saves_at_validations
    if at_validation and chosen["validation"] in ("part", "across epochs"):  # few of these are between whole steps
        if signal.needs_micro_batches:
            chosen["validation"] = "batches"
        else:
            chosen["accumulate"] = 1
    if chosen["given_by"] == "our datamodule":
        chosen["package"] = "pytorch_lightning"


def _within_lightning(way: Way) -> Way:
    """Leave out what Lightning (2.6) does not resume exactly, with any loader and without this library.

    ``python -m tests.generated.resumes --control`` shows it, for a way that is changed by hand.
    """
    if way.saves_after_epochs and way.length in ("steps", "both, steps first", "both, epochs first"):
        # With max_steps, a run that goes on from the end of an epoch counts that epoch twice, and max_epochs is reached
        # too early. If the epoch did not end with a validation, it takes the next batch for the last of an epoch as
        # well: it steps in the middle of an accumulation, steps the schedules of epochs, and its epochs begin one batch
        # later from then on, so that workers do not read ahead over the same boundaries.
        way = replace(way, length="steps" if way.length == "steps" else "both, steps first")
        shifted = way.accumulate > 1 or way.schedule.startswith("epoch") or way.workers != "none"
        if shifted and way.validation != "end":
            way = replace(way, validation="end")
    return way
