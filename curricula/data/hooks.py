"""What a loader asks the training that it is attached to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


def _one() -> int:  # functions of the module, unlike lambdas, can be sent to the processes of a spawning strategy
    return 1


def _never() -> bool:
    return False


def _no_end() -> float:
    return math.inf


@dataclass(frozen=True)
class Hooks:
    """Answers of a training; without one, every batch is a step and an epoch ends with the loader."""

    micro_batches: Callable[[], int] = _one
    """Batches of an optimiser step."""
    goes_on: Callable[[], bool] = _never
    """Whether the step of the batch that was delivered last needs another batch."""
    epoch_length: Callable[[], float] = _no_end
    """Batches after which the training ends an epoch."""
    evaluates: Callable[[], bool] = _never
    """Whether the training evaluates now."""


def hooks(
    micro_batches: Callable[[], int] | None,
    goes_on: Callable[[], bool] | None,
    epoch_length: Callable[[], float] | None,
    evaluates: Callable[[], bool] | None,
) -> Hooks:
    """Return the answers of a training, with the default for each that is not given."""
    return Hooks(micro_batches or _one, goes_on or _never, epoch_length or _no_end, evaluates or _never)
