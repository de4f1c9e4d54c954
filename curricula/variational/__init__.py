"""Networks with Gaussian weights, for the signals that ask how much a step made the network more complex."""

from curricula.variational.module import NORMALISATION, Variational, variational_modules

__all__ = ["NORMALISATION", "Variational", "variational_modules"]
