"""Repeat copy (Graves et al. 2017, section 5.2): read a sequence of bits, then write it R times."""

from examples.repeat_copy.model import RepeatCopyModel
from examples.repeat_copy.tasks import repeat_copy

__all__ = ["RepeatCopyModel", "repeat_copy"]
