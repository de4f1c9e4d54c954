"""Repeat copy in batches whose samples differ in length: padded at the end, with a mask over the answers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from examples.repeat_copy.model import RepeatCopyModel

Batch = tuple[Tensor, Tensor, Tensor]
"""Inputs, shape ``(batch, time, bits + 2)``; targets, shape ``(batch, time, bits + 1)``; whether a step is answered,
shape ``(batch, time)``."""


def collate(samples: Sequence[tuple[Tensor, Tensor]]) -> Batch:
    """Return samples of any tasks as one batch. The padding comes last, so that the network never reads it before.

    Args:
        samples: inputs, shape ``(time, bits + 2)``, and the targets of the last steps, shape ``(answer, bits + 1)``.
    """
    targets, answered = [], []
    for inputs, target in samples:
        silent = len(inputs) - len(target)
        targets.append(torch.cat([target.new_zeros(silent, target.shape[1]), target]))
        answered.append(torch.arange(len(inputs)) >= silent)
    padded = [pad_sequence(values, batch_first=True) for values in ([inputs for inputs, _ in samples], targets)]
    return padded[0], padded[1], pad_sequence(answered, batch_first=True)


class MixedRepeatCopyModel(RepeatCopyModel):
    """The model of repeat copy for such batches. On a batch of one task the loss is the same.

    Args:
        bits: per vector.
        hidden: units of the LSTM.
        lr: learning rate of Adam.
    """

    def losses(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy per answered bit of every sample in nats, shape ``(batch,)``."""
        inputs, targets, answered = batch
        logits = self.network(inputs, inputs.shape[1])
        bits = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=2)
        return (bits * answered).sum(dim=1) / answered.sum(dim=1)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # type: ignore[override]
        """Return the mean over the samples, in nats."""
        return self.losses(batch).mean()

    @torch.no_grad()
    def score(self, batch: Batch) -> float:
        """Return the mean cross-entropy per answered bit, in nats; lower is better."""
        return float(self.losses(batch).mean())
