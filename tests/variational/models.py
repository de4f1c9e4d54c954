"""Variational models in float64, and the progress that a signal sees in them."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import nn

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import FixedPolicy
from curricula.variational import Variational
from tests.models import noisy_tasks, trainer

STEPS = 12


class Exact(pl.LightningModule):
    """A small network in float64 that writes down divergences and gradients around every step."""

    def __init__(self, lr=0.01, samples=50.0, *, kl_in_loss=True, optimizer=torch.optim.SGD, **options):
        super().__init__()
        torch.manual_seed(1)
        network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1)).double()
        self.network = Variational(network, samples=samples, sigma=0.1, **options)
        with torch.no_grad():  # away from the prior that fits best, where its gradient is zero
            self.network.prior_mean += 0.05
            self.network.prior_rho += 0.3
        self.lr, self.kl_in_loss, self.optimizer = lr, kl_in_loss, optimizer
        self.of_loss, self.of_kl, self.before, self.after = [], [], [], []

    def gaussians(self):
        return [*self.network.module.parameters(), *self.network.rho]

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        expected = (self.network(inputs.double()) - targets).square().mean()
        if torch.is_grad_enabled():  # not in a probe
            self.of_loss.append(_flat(torch.autograd.grad(expected, self.gaussians(), retain_graph=True)))
        return self.network.loss(expected) if self.kl_in_loss else expected

    def on_before_optimizer_step(self, optimizer):
        everything = [*self.gaussians(), self.network.prior_mean, self.network.prior_rho]
        kl = self.network.kl()
        self.before.append(kl.item())
        self.of_kl.append(_flat(torch.autograd.grad(kl, everything)))

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if len(self.after) < len(self.before):
            self.after.append(self.network.kl().item())

    def configure_optimizers(self):
        return self.optimizer(self.parameters(), lr=self.lr)


class TwoSteps(Exact):
    """Makes two optimiser steps on every batch by hand."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        for _ in range(2):
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, batch_idx))
            optimizer.step()

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.after.append(self.network.kl().item())


class VariationalNoisy(pl.LightningModule):
    """The noisy model of the conformance tests with Gaussian weights: dropout, BatchNorm, a logged metric, Adam."""

    def __init__(self, width: int = 4, lr: float = 1e-2):
        super().__init__()
        self.network = Variational(
            nn.Sequential(nn.Linear(width, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 1)),
            samples=1000,
        )
        self.lr = lr

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        loss = self.network.loss((self.network(inputs) - targets).square().mean())
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def progress(model, signal, **options):
    """The raw progress of every step of a short training with uniform draws."""
    callback = CurriculumCallback(FixedPolicy.uniform(), signal)
    loader = CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=STEPS)
    torch.manual_seed(2)
    trainer(callback, **{"max_epochs": 1, **options}).fit(model, loader)
    return torch.tensor(callback.history.column("progress"))


def _flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])
