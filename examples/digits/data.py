"""The digits: 1,797 pictures of 8 x 8 pixels, and which of them are held out."""

from __future__ import annotations

import functools
import gzip
import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DATA = Path(__file__).with_name("digits.csv.gz")

PIXELS = 64
CLASSES = 10

HELD_OUT = 449
"""Pictures that no training sees, a quarter of all, the same in every domain."""

SAMPLES = 1_000
"""Pictures of a domain, drawn by the seed from the 1,348 that are not held out, for each domain apart."""


@functools.cache
def _rows() -> Tensor:
    rows = np.loadtxt(io.StringIO(gzip.decompress(DATA.read_bytes()).decode()), delimiter=",", dtype=np.float32)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1797))
    return torch.from_numpy(rows)[order]


def training_pictures() -> tuple[Tensor, Tensor]:
    """Return the pictures that training may see, shape ``(1348, 64)`` from 0 to 1, and their classes."""
    return _split(_rows()[HELD_OUT:])


def held_out_pictures() -> tuple[Tensor, Tensor]:
    """Return the pictures that no training sees, shape ``(449, 64)`` from 0 to 1, and their classes.

    A fixed shuffle of the file says which ones they are, not the seed of a training.
    """
    return _split(_rows()[:HELD_OUT])


def pixel_order(domain: int) -> Tensor:
    """Return the order in which a domain shows the pixels, shape ``(64,)``, the same in every run.

    Args:
        domain: its number; 0 has the pictures as they are, every other a permutation of its own.
    """
    if domain == 0:
        return torch.arange(PIXELS)
    return torch.randperm(PIXELS, generator=torch.Generator().manual_seed(domain))


def held_out_batch(domain: int) -> tuple[Tensor, Tensor]:
    """Return the held-out pictures as a domain shows them, with their right classes.

    Args:
        domain: its number.
    """
    pictures, classes = held_out_pictures()
    return pictures[:, pixel_order(domain)], classes


def draw_pictures(domain: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw the pictures of a domain, without repetition, with their right classes.

    Args:
        domain: its number.
        random: where the numbers come from.

    Returns:
        ``SAMPLES`` pictures as the domain shows them, shape ``(1000, 64)``, and classes.
    """
    pictures, classes = training_pictures()
    drawn = torch.randperm(len(pictures), generator=random)[:SAMPLES]
    return pictures[drawn][:, pixel_order(domain)], classes[drawn]


def generator(seed: int, domain: int) -> torch.Generator:
    """Return a generator of random numbers of a domain's own.

    Args:
        seed: of the run, at least 0.
        domain: its number, below 1,000.

    Raises:
        ValueError: if the seed is negative or no integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed={seed!r}: give an integer of 0 or more")
    return torch.Generator().manual_seed(1_000 * seed + domain)


def wrong_classes(classes: Tensor, random: torch.Generator) -> Tensor:
    """Return for every class one of the nine others, uniformly.

    Args:
        classes: shape ``(samples,)``, from 0 to 9.
        random: where the numbers come from.
    """
    return (classes + torch.randint(1, CLASSES, classes.shape, generator=random)) % CLASSES


def _split(rows: Tensor) -> tuple[Tensor, Tensor]:
    return rows[:, :PIXELS] / 16, rows[:, PIXELS].long()
