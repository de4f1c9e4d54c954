"""The module of a way to train, made from the package that the trainer is of."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from curricula.variational import Variational
from tests.generated.data import WIDTH, validation_loader
from tests.generated.ways import Way


def _network(kind: str) -> nn.Module:
    if kind == "noisy":
        return nn.Sequential(nn.Linear(WIDTH, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 1))
    if kind == "gaussian":
        return Variational(nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, 1)), samples=50.0, sigma=0.1)
    return nn.Linear(WIDTH, 1)


def _schedule(way: Way, optimizer: torch.optim.Optimizer, total: Any) -> lr_scheduler.LRScheduler:
    if way.schedule == "epoch":
        return lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.7)
    if way.schedule == "epoch cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=way.epochs)
    if way.schedule == "step":
        return lr_scheduler.ExponentialLR(optimizer, gamma=0.98)
    if way.schedule == "one cycle":
        return lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, total_steps=int(total()) + 1)
    warm_up = max(1, int(total()) // 4)
    return lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warm_up))


@cache
def _classes(package: str) -> dict[str, type[Any]]:
    lightning = importlib.import_module(package)

    class Net(lightning.LightningModule):
        """A small regression."""

        def __init__(self, way: Way, serve: Callable[[], Any] | None):
            super().__init__()
            self.way = way
            self.serve = serve
            self.network = _network(way.network)

        def loss(self, batch):
            inputs, targets = batch
            loss = (self.network(inputs) - targets).square().mean()
            return self.network.loss(loss) if self.way.network == "gaussian" else loss

        def training_step(self, batch, batch_idx):
            loss = self.loss(batch)
            if self.way.logs != "none":
                self.log("loss", loss, on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch, batch_idx):
            self.log("val_loss", self.loss(batch))

        def val_dataloader(self):
            return validation_loader()

        def configure_optimizers(self):
            if self.way.optimizer == "adam":
                optimizer: torch.optim.Optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
            else:
                optimizer = torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)
            if self.way.schedule == "none":
                return optimizer
            scheduler = _schedule(self.way, optimizer, lambda: self.trainer.estimated_stepping_batches)
            interval = "epoch" if self.way.schedule.startswith("epoch") else "step"
            return [optimizer], [{"scheduler": scheduler, "interval": interval}]

    class Manual(Net):
        """The same, with optimiser steps by hand."""

        def __init__(self, way: Way, serve: Callable[[], Any] | None):
            super().__init__(way, serve)
            self.automatic_optimization = False

        def curriculum_loss(self, batch, batch_idx):
            return self.loss(batch)

        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            optimizer, scheduler = self.optimizers(), self.lr_schedulers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            if scheduler is not None and not self.way.schedule.startswith("epoch"):
                scheduler.step()
            return loss

        def on_train_epoch_end(self):
            scheduler = self.lr_schedulers()
            if scheduler is not None and self.way.schedule.startswith("epoch"):
                scheduler.step()

    class Serving(Net):
        """The same, with the training loader in the module."""

        def train_dataloader(self):
            return self.serve()

    class ManualServing(Serving, Manual):
        """Both."""

    return {cls.__name__: cls for cls in (Net, Manual, Serving, ManualServing)}


def make_module(way: Way, serve: Callable[[], Any] | None) -> Any:
    """Return the module of a way.

    Args:
        way: how to train.
        serve: what ``train_dataloader`` of the module returns; ``None``: it has none.
    """
    name = ("Manual" if way.manual else "") + ("Serving" if serve is not None else "")
    return _classes(way.package)[name or "Net"](way, serve)
