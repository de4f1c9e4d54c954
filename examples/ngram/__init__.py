"""Character n-grams (Graves et al. 2017, section 5.1): text of Kneser-Ney sources of orders 0 to 10, one LSTM.

Eleven tasks, "Automated Curriculum Learning for Neural Networks", arXiv 1704.03003. A source of a higher order has more
structure and a lower entropy: 3.47, 2.86, 2.20, 1.65, 1.26, 1.04, .90, .82, .77, .71 and .68 nats per character. The
question is whether a curriculum prefers structure to noise. The paper's own answer holds here too: the 10-gram source
is learned fastest by training on nothing else, and uniform sampling is a strong baseline.

Simplified: sources from 1M characters of the King James text over 32 symbols (lower case, little punctuation); endless
streams instead of 1M characters per source; one LSTM layer with 64 units instead of two with 512, trained with Adam.
As in the paper: sequences of 150 symbols, 50 to read and 100 to predict, batches of 32, and no code of the task.
"""

from examples.ngram.model import Model
from examples.ngram.sources import floors, held_out, sources, tasks

TARGET = "10-gram"
"""As in the paper: the source with the most structure."""

GOAL = 1.35
"""In ``UNIT``, for the target. In prototypes (3 seeds) uniform sampling ended there after 2,000 updates, training on
the target alone at 1.20. The goal asks how much earlier other methods come to where uniform sampling ends."""

HIGHER_IS_BETTER = False
"""The score is a loss."""

BUDGET = 2_000
"""Optimiser steps, a minute on one core; as many as the prototypes had."""

BATCH_SIZE = 32
"""As in the paper."""

LEARNING_RATES = (3e-3, 1e-2, 2e-2)
"""To tune over, for Adam at a constant rate; gradients are clipped to norm ``GRADIENT_CLIP``."""

GRADIENT_CLIP = 1.0
"""``gradient_clip_val`` of the Trainer: recurrent networks need one."""

UNIT = "nats per character"
"""Of ``losses`` and ``score``."""

__all__ = [
    "BATCH_SIZE",
    "BUDGET",
    "GOAL",
    "GRADIENT_CLIP",
    "HIGHER_IS_BETTER",
    "LEARNING_RATES",
    "TARGET",
    "UNIT",
    "Model",
    "floors",
    "held_out",
    "sources",
    "tasks",
]
