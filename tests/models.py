"""Tiny models, tasks and trainers that the tests share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset


class Constant(Dataset):
    """Samples whose every input is one number, so that a batch tells which task it is of; targets count upwards."""

    def __init__(self, value: float, size: int = 32, width: int = 2):
        self.value = value
        self.size = size
        self.width = width

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return torch.full((self.width,), float(self.value)), torch.tensor([float(index % 5)])


def tasks_of_constants(names: Sequence[str], size: int = 32, width: int = 2) -> dict[str, Constant]:
    """Tasks of which the k-th has samples of the number k."""
    return {name: Constant(value, size, width) for value, name in enumerate(names)}


def noisy_tasks(width: int = 4) -> dict[str, TensorDataset]:
    """Random regressions, no two samples alike."""
    numbers = torch.Generator().manual_seed(0)
    return {
        name: TensorDataset(torch.randn(32, width, generator=numbers), torch.randn(32, 1, generator=numbers) * scale)
        for scale, name in enumerate("abcd")
    }


class Linear(pl.LightningModule):
    """Linear regression by plain SGD."""

    def __init__(self, width: int = 2, lr: float = 0.01):
        super().__init__()
        self.layer = nn.Linear(width, 1)
        self.lr = lr

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return (self.layer(inputs) - targets).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class Noisy(pl.LightningModule):
    """Dropout, BatchNorm and a logged metric: all that an extra forward pass could disturb."""

    def __init__(self, width: int = 4):
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(width, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 1)
        )

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        loss = (self.network(inputs) - targets).square().mean()
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def trainer(*callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    """A quiet trainer on the CPU."""
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(callbacks=list(callbacks), **{**quiet, **options})


class Rows(Dataset):
    """Samples that are their task's number and their own index."""

    def __init__(self, task: int, size: int):
        self.task = task
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return self.task, index


class StreamedRows(IterableDataset):
    """The same samples one after the other, with no index to ask for."""

    def __init__(self, task: int, size: int):
        self.rows = Rows(task, size)

    def __iter__(self):
        return (self.rows[index] for index in range(len(self.rows)))


def tasks_of_rows(*sizes: int) -> dict[str, Rows]:
    """Map-style tasks "0", "1", ... of these sizes."""
    return {str(task): Rows(task, size) for task, size in enumerate(sizes)}


def rows_of(batch: Any) -> tuple[int, list[int]]:
    """Return the one task of a collated batch of rows, and the rows."""
    tasks, indices = batch
    (task,) = set(tasks.tolist())
    return task, indices.tolist()


class Counting(IterableDataset):
    """Rows that keep their place by themselves, over the ends of passes too."""

    def __init__(self, task, size):
        self.task, self.size, self.place = task, size, 0

    def __iter__(self):
        while self.place < self.size:
            self.place += 1
            yield self.task, self.place - 1
        self.place = 0

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]
