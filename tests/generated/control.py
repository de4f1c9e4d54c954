"""The control: the same trainer without the curriculum, on batches that are a function of their number.

What is not exact here is not exact in Lightning itself: ``python -m tests.generated.resumes --control``.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import torch

from tests.generated.data import WIDTH
from tests.generated.ways import Way


class Batches:
    """A loader whose batches follow from how many came before."""

    def __init__(self, way: Way):
        self.way = way
        self.taken = 0

    def __len__(self) -> int:
        return self.way.loader_batches

    def __iter__(self):
        for _ in range(self.taken % self.way.epoch_batches, len(self)):
            numbers = torch.Generator().manual_seed(self.taken)
            self.taken += 1
            size = self.way.batch_size
            yield torch.randn(size, WIDTH, generator=numbers), torch.randn(size, 1, generator=numbers)


@cache
def keeper(package: str) -> type[Any]:
    """Return a callback class that keeps the place of such a loader in the checkpoint."""
    lightning = importlib.import_module(package)

    class Keeper(lightning.Callback):
        """Saves and restores the number of batches."""

        def __init__(self, loader: Batches):
            self.loader = loader
            self.saved = None

        def state_dict(self):
            return {"taken": self.loader.taken}

        def load_state_dict(self, state_dict):
            self.saved = state_dict["taken"]

        def on_train_start(self, trainer, pl_module):
            if self.saved is not None:
                self.loader.taken = self.saved

    return Keeper
