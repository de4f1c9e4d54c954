"""The constants of the workload, with their reasons; all were fixed before any method was compared."""

TARGET: str | None = None
"""No type is the target: the goal is to solve many types."""

UNIT = "share of wrong answers"
"""Of ``Model.score``."""

HIGHER_IS_BETTER = False
"""The score is an error."""

GOAL = 0.05
"""Error of one type that counts as solved, as in Weston et al. 2015 and Graves et al. 2017."""

SOLVED_GOAL = 6
"""Types below ``GOAL`` that mixed uniform sampling solves within ``BUDGET`` at least: less means a broken training."""

BATCH_SIZE = 32
"""Samples per optimiser step: room for 8 types with 4 samples each. Graves et al. 2017 took 16 of one type."""

BUDGET = 3_500
"""Optimiser steps of the short setting, 75 seconds on one core. Uniform sampling in mixed batches (8 types with 4
samples each) solves types 1, 6, 9, 11, 12, 13 and 20."""

LONG_BUDGET = 20_000
"""Optimiser steps of the long setting, for the claim of Graves et al. 2017 about the number of solved types: about
7 minutes (reckoned from the short setting)."""

LEARNING_RATES = (1e-3, 2e-3, 4e-3)
"""To tune over."""
