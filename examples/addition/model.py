"""A plain LightningModule; it knows nothing of curricula."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from examples.addition.sums import SYMBOLS


class Model(pl.LightningModule):
    """One LSTM layer that reads the question, one character a step, and then writes the answer.

    While it writes, the input is a character of its own; what was written is not fed back.

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
        self.lstm = nn.LSTM(len(SYMBOLS) + 1, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, len(SYMBOLS))

    def forward(self, questions: Tensor, answer: int) -> Tensor:
        """Return the logits of the ``answer`` characters of every answer, shape ``(batch, answer, symbols)``."""
        silence = questions.new_full((len(questions), answer), len(SYMBOLS))
        inputs = nn.functional.one_hot(torch.cat([questions, silence], dim=1), len(SYMBOLS) + 1)
        outputs, _ = self.lstm(inputs.to(self.readout.weight.dtype))
        logits: Tensor = self.readout(outputs[:, -answer:])
        return logits

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the cross-entropy of every answer, in nats per character."""
        questions, answers = batch
        logits = self(questions, answers.shape[1])
        return nn.functional.cross_entropy(logits.transpose(1, 2), answers, reduction="none").mean(dim=1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the mean cross-entropy, in nats per character, and the losses that it is the mean of."""
        losses = self.losses(batch)
        return {"loss": losses.mean(), "losses": losses}

    @torch.no_grad()
    def score(self, batch: tuple[Tensor, Tensor]) -> float:
        """Return the share of answers of which every character is right; higher is better."""
        questions, answers = batch
        return float((self(questions, answers.shape[1]).argmax(dim=2) == answers).all(dim=1).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)
