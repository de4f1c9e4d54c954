"""A plain LightningModule; it knows nothing of curricula."""

from __future__ import annotations

import math

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from examples.multilingual.data import alphabet


class Model(pl.LightningModule):
    """An LSTM over characters; it is not told the language.

    Args:
        lr: learning rate of Adam.
        hidden: units of the LSTM.
        embedding: size of the vector of a character.
        dropout: share of the inputs and outputs of the LSTM that training leaves out.
    """

    def __init__(self, lr: float = 8e-3, *, hidden: int = 128, embedding: int = 64, dropout: float = 0.3) -> None:
        super().__init__()
        self.lr = lr
        signs = len(alphabet())
        self.embedding = nn.Embedding(signs, embedding)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, signs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits of the next characters, shape ``(batch, time, characters)``.

        Args:
            inputs: positions in the alphabet, shape ``(batch, time)``.
        """
        outputs, _ = self.lstm(self.dropout(self.embedding(inputs)))
        logits: Tensor = self.readout(self.dropout(outputs))
        return logits

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the cross-entropy of each sample in nats per character, shape ``(batch,)``; in training with dropout.

        Args:
            batch: inputs and targets, each of shape ``(batch, time)``.
        """
        inputs, targets = batch
        logits = self(inputs)
        return nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(dim=1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the mean cross-entropy in nats per character, and the losses that it is the mean of."""
        losses = self.losses(batch)
        return {"loss": losses.mean(), "losses": losses}

    @torch.no_grad()
    def score(self, batch: tuple[Tensor, Tensor]) -> float:
        """Return the mean cross-entropy in bits per character, without dropout in either mode of the module.

        Args:
            batch: as in :meth:`losses`.
        """
        training = self.training
        self.eval()
        try:
            return float(self.losses(batch).mean()) / math.log(2)
        finally:
            self.train(training)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)
