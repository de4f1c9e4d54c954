"""A linear-Gaussian model in float64, and the progress that a signal sees in it."""

from __future__ import annotations

import torch

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import FixedPolicy
from tests.models import Linear, noisy_tasks, trainer

STEPS = 12


class Exact(Linear):
    """Linear regression in float64 that writes down its parameters and gradients around every step."""

    def __init__(self, lr=0.01, optimizer=torch.optim.SGD, **options):
        super().__init__(4, lr)
        torch.manual_seed(1)
        torch.nn.init.normal_(self.layer.weight)
        self.double()
        self.make_optimizer = lambda parameters: optimizer(parameters, lr=lr, **options)
        self.before, self.after, self.gradients = [], [], []

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return super().training_step((inputs.double(), targets.double()), batch_idx)

    def configure_optimizers(self):
        return self.make_optimizer(self.parameters())

    def flat(self):
        return torch.cat([parameter.detach().flatten().clone() for parameter in self.parameters()])

    def on_before_optimizer_step(self, optimizer):
        self.before.append(self.flat())
        self.gradients.append(torch.cat([parameter.grad.flatten().clone() for parameter in self.parameters()]))

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if len(self.after) < len(self.before):
            self.after.append(self.flat())


def progress(model, signal, **options):
    """The raw progress of every step of a short training with uniform draws."""
    callback = CurriculumCallback(FixedPolicy.uniform(), signal)
    loader = CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=STEPS)
    trainer(callback, **{"max_epochs": 1, **options}).fit(model, loader)
    return torch.tensor(callback.history.column("progress"))
