"""How a training is judged: the error of every type, and the number of types that are solved."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from examples.babi.model import Model

SOLVED_BELOW = 0.05
"""A type is solved when fewer of its held-out questions than this share are answered wrongly (Weston et al. 2015)."""


def errors(model: Model, batches: Mapping[str, dict[str, Tensor]]) -> dict[str, float]:
    """Return the share of wrong answers per type; ``batches`` is what ``held_out()`` returns."""
    return {name: model.score(batch) for name, batch in batches.items()}


def solved(errors: Mapping[str, float], below: float = SOLVED_BELOW) -> list[str]:
    """Return the names of the types with an error below ``below``; their number is the score of the workload."""
    return [name for name, error in errors.items() if error < below]


def majority_errors(batches: Mapping[str, dict[str, Tensor]]) -> dict[str, float]:
    """Return the error per type of always giving the most frequent answer of the batch.

    What a model reaches without reading: an error above it means that nothing was learned.
    """
    return {
        name: 1.0 - float(torch.bincount(batch["answer"]).max()) / len(batch["answer"])
        for name, batch in batches.items()
    }
