"""Parity staircase: y = x1 * ... * xk for k = 1 .. 8, each task a step on the one before."""

from examples.parity_staircase.model import ParityModel
from examples.parity_staircase.tasks import staircase

__all__ = ["ParityModel", "staircase"]
