"""Plain LightningModules; they know nothing of curricula."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from curricula.variational import Variational


class ParityModel(pl.LightningModule):
    """An MLP with two hidden layers of 128 units.

    Args:
        inputs: number of input features.
        lr: learning rate of Adam.
    """

    def __init__(self, inputs: int, lr: float = 2e-3) -> None:
        super().__init__()
        self.lr = lr
        self.network: nn.Module = nn.Sequential(
            nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1)
        )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the mean cross-entropy in nats."""
        inputs, labels = batch
        return nn.functional.binary_cross_entropy_with_logits(self.network(inputs).squeeze(1), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class VariationalParityModel(ParityModel):
    """The same with a Gaussian over every weight, for the signals of complexity.

    Args:
        inputs: number of input features.
        samples: that the training is expected to see.
        lr: learning rate of Adam.
    """

    def __init__(self, inputs: int, samples: float, lr: float = 2e-3) -> None:
        super().__init__(inputs, lr)
        self.variational = Variational(self.network, samples=samples)
        self.network = self.variational

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the mean cross-entropy in nats, in training with the divergence per sample."""
        loss = super().training_step(batch, batch_idx)
        return self.variational.loss(loss) if self.training else loss
