"""Digits in three domains, beside five domains of pure noise.

Each domain shows the 64 pixels in an order of its own, as in permuted MNIST (Goodfellow et al. 2014), and the model is
not told the domain. The labels of three domains are right. Those of the other five were drawn at random, once per seed:
they can be memorized, but they teach nothing about held-out pictures, and five steps in eight go to them under uniform
sampling. A curriculum that takes a large loss, or a large gradient, for a chance to learn prefers the noise. Noise of
this kind is a standard test of data selection (Mindermann et al. 2022, "Prioritized training on points that are
learnable, worth learning, and not yet learned"); Graves et al. 2017 have no experiment with it.

What was simplified: 1,797 pictures of 8 x 8 pixels and an MLP with 64 units, where published work has millions of
pictures and deep networks; whole tasks are noise, so tasks rather than samples have to be avoided.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from examples.digits.data import CLASSES, draw_pictures, generator, held_out_batch
from examples.digits.model import Model

CLEAN = 3
NOISE = 5

UNIT = "accuracy"
"""What ``Model.score`` returns, from 0 to 1."""

HIGHER_IS_BETTER = True

TARGET: str | None = None
"""No domain is the target: the mean over the three clean ones is."""

GOAL = 0.9
"""Of the mean over the clean domains. At a good learning rate uniform mixed batches reach it near the end of the
budget, batches that are four fifths clean in half of it, and one domain a batch on some seeds only (seeds 100 to 103).
"""

BUDGET = 1_200
"""Optimiser steps, a few seconds on one core."""

BATCH_SIZE = 16

LEARNING_RATES = (4e-3, 8e-3, 1.6e-2, 3.2e-2)
"""To tune over, for Adam at a constant rate."""


def tasks(seed: int) -> dict[str, TensorDataset]:
    """Return a map-style dataset of 1,000 pictures and classes per domain, first the clean ones.

    Args:
        seed: decides which pictures a domain has, and the labels of the noise.

    Raises:
        ValueError: if the seed is negative or no integer.
    """
    found = {}
    for domain in range(CLEAN + NOISE):
        random = generator(seed, domain)
        pictures, classes = draw_pictures(domain, random)
        if domain < CLEAN:
            found[f"domain {domain + 1}"] = TensorDataset(pictures, classes)
        else:
            labels = torch.randint(0, CLASSES, classes.shape, generator=random)
            found[f"noise {domain + 1 - CLEAN}"] = TensorDataset(pictures, labels)
    return found


def held_out() -> dict[str, tuple[Tensor, Tensor]]:
    """Return per clean domain the same 449 pictures, which no task has in any domain.

    A fixed shuffle of the file says which pictures these are, and nothing depends on a seed of the training. The
    domains of noise have no batch: there is nothing to be right about.
    """
    return {f"domain {domain + 1}": held_out_batch(domain) for domain in range(CLEAN)}


__all__ = [
    "BATCH_SIZE",
    "BUDGET",
    "GOAL",
    "HIGHER_IS_BETTER",
    "LEARNING_RATES",
    "TARGET",
    "UNIT",
    "Model",
    "held_out",
    "tasks",
]
