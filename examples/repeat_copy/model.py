"""A plain LightningModule; it knows nothing of curricula."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor, nn


class RepeatCopyModel(pl.LightningModule):
    """One LSTM layer and a linear read-out.

    Args:
        bits: per vector.
        hidden: units of the LSTM.
        lr: learning rate of Adam.
    """

    def __init__(self, bits: int, hidden: int, lr: float = 5e-3) -> None:
        super().__init__()
        self.lr = lr
        self.lstm = nn.LSTM(bits + 2, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, bits + 1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the mean cross-entropy per answered bit, in nats."""
        inputs, targets = batch
        outputs, _ = self.lstm(inputs)
        logits = self.readout(outputs[:, -targets.shape[1] :])
        return nn.functional.binary_cross_entropy_with_logits(logits, targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)
