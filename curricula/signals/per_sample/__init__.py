"""Per-sample gradients from one backward pass: inner products and norms, without the gradients themselves."""

from curricula.signals.per_sample.coverage import Coverage
from curricula.signals.per_sample.gradients import PerSampleGradients

__all__ = ["Coverage", "PerSampleGradients"]
