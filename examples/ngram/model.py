"""A plain LightningModule; it knows nothing of curricula."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from examples.ngram.text import SYMBOLS


class Model(pl.LightningModule):
    """One LSTM layer that predicts the next symbol. Which source wrote a sequence it has to find out itself.

    Args:
        lr: learning rate of Adam, above 0.
        hidden: units of the LSTM, at least 1.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(self, lr: float = 1e-2, hidden: int = 64) -> None:
        super().__init__()
        if not lr > 0:
            raise ValueError(f"lr must be above 0, got {lr}")
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, got {hidden}")
        self.lr = lr
        self.lstm = nn.LSTM(len(SYMBOLS), hidden, batch_first=True)
        self.readout = nn.Linear(hidden, len(SYMBOLS))

    def forward(self, inputs: Tensor, predicted: int) -> Tensor:
        """Return the logits of the symbols after the last ``predicted`` inputs, shape ``(batch, predicted, 32)``."""
        outputs, _ = self.lstm(nn.functional.one_hot(inputs, len(SYMBOLS)).to(self.readout.weight.dtype))
        logits: Tensor = self.readout(outputs[:, -predicted:])
        return logits

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the cross-entropy of every sequence, in nats per predicted character."""
        inputs, targets = batch
        logits = self(inputs, targets.shape[1])
        return nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(dim=1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the mean cross-entropy, in nats per predicted character, and the losses that it is the mean of."""
        losses = self.losses(batch)
        return {"loss": losses.mean(), "losses": losses}

    @torch.no_grad()
    def score(self, batch: tuple[Tensor, Tensor]) -> float:
        """Return the mean cross-entropy, in nats per predicted character; lower is better."""
        return float(self.losses(batch).mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)
