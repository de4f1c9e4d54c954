"""A plain LightningModule; it knows nothing of curricula."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from examples.digits.data import CLASSES, PIXELS


class Model(pl.LightningModule):
    """An MLP with one hidden layer; it is not told the domain.

    Args:
        lr: learning rate of Adam.
        hidden: units of the hidden layer.
    """

    def __init__(self, lr: float = 1e-3, *, hidden: int = 64) -> None:
        super().__init__()
        self.lr = lr
        self.network = nn.Sequential(nn.Linear(PIXELS, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES))

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the logits of the classes, shape ``(batch, 10)``.

        Args:
            pictures: shape ``(batch, 64)``.
        """
        logits: Tensor = self.network(pictures)
        return logits

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the cross-entropy of each sample in nats, shape ``(batch,)``.

        Args:
            batch: pictures of shape ``(batch, 64)``, and classes.
        """
        pictures, classes = batch
        return nn.functional.cross_entropy(self(pictures), classes, reduction="none")

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the mean cross-entropy in nats, and the losses that it is the mean of."""
        losses = self.losses(batch)
        return {"loss": losses.mean(), "losses": losses}

    @torch.no_grad()
    def score(self, batch: tuple[Tensor, Tensor]) -> float:
        """Return the share of pictures whose class has the largest logit, from 0 to 1.

        Args:
            batch: as in :meth:`losses`.
        """
        pictures, classes = batch
        return float((self(pictures).argmax(dim=1) == classes).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)
