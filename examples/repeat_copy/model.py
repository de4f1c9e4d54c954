"""Plain LightningModules; they know nothing of curricula."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from curricula.variational import Variational


class RepeatCopyNetwork(nn.Module):
    """One LSTM layer and a linear read-out of the last steps.

    Args:
        bits: per vector.
        hidden: units of the LSTM.
    """

    def __init__(self, bits: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(bits + 2, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, bits + 1)

    def forward(self, inputs: Tensor, answers: int) -> Tensor:
        """Return the logits of the last ``answers`` steps."""
        outputs, _ = self.lstm(inputs)
        logits: Tensor = self.readout(outputs[:, -answers:])
        return logits


class RepeatCopyModel(pl.LightningModule):
    """The network and its loss.

    Args:
        bits: per vector.
        hidden: units of the LSTM.
        lr: learning rate of Adam.
    """

    def __init__(self, bits: int, hidden: int, lr: float = 5e-3) -> None:
        super().__init__()
        self.lr = lr
        self.network: nn.Module = RepeatCopyNetwork(bits, hidden)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the mean cross-entropy per answered bit, in nats."""
        inputs, targets = batch
        logits = self.network(inputs, targets.shape[1])
        return nn.functional.binary_cross_entropy_with_logits(logits, targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class VariationalRepeatCopyModel(RepeatCopyModel):
    """The same with a Gaussian over every weight, for the signals of complexity.

    Args:
        bits: per vector.
        hidden: units of the LSTM.
        samples: bits that the training is expected to see, as the loss is per bit.
        lr: learning rate of Adam.
    """

    def __init__(self, bits: int, hidden: int, samples: float, lr: float = 5e-3) -> None:
        super().__init__(bits, hidden, lr)
        self.variational = Variational(self.network, samples=samples)
        self.network = self.variational

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the mean cross-entropy per answered bit, in nats, in training with the divergence per bit."""
        loss = super().training_step(batch, batch_idx)
        return self.variational.loss(loss) if self.training else loss
