"""Decimal addition, digits as characters (Zaremba & Sutskever 2014; Matiisen et al. 2017): one LSTM reads and answers.

One task per number of digits, "Learning to Execute", arXiv 1410.4615, and "Teacher-Student Curriculum Learning", arXiv
1707.00183. Both numbers of a sum come one after the other, so that the network has to hold the first in memory.

Training on the target alone does not fail at this size, as it does in the papers: in a prototype of the same form it
had .96 of the target right after 14,000 updates, uniform mixed sampling .65 (one seed each). So a good result here says
how fast a method comes to long sums, not that a curriculum is needed. With 5 digits the target alone had none right
after 12,500 updates, but uniform mixed sampling only .01 after 12,000: too few to tell the two apart.

Simplified: up to 4 digits instead of 9, an LSTM of 64 units that reads and writes instead of an encoder and a decoder,
numbers from the last digit to the first, and both of the same length.
"""

from examples.addition.model import Model
from examples.addition.sums import DIGITS, held_out, name, tasks

TARGET = name(DIGITS)
"""The longest sums."""

GOAL = 0.5
"""In ``UNIT``, for the target. Uniform mixed sampling passed it after 13,000 updates in a prototype (seed 0)."""

HIGHER_IS_BETTER = True
"""The score is an accuracy."""

BUDGET = 14_000
"""Optimiser steps, a minute on one core: a little more than uniform mixed sampling needs for the goal."""

BATCH_SIZE = 64
"""Sums per step."""

LEARNING_RATES = (3e-3, 5e-3, 1e-2)
"""To tune over, for Adam at a constant rate; gradients are clipped to norm ``GRADIENT_CLIP``."""

GRADIENT_CLIP = 1.0
"""``gradient_clip_val`` of the Trainer: recurrent networks need one."""

UNIT = "share of sums without an error"
"""Of ``score``; ``losses`` are in nats per character."""

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
    "held_out",
    "tasks",
]
