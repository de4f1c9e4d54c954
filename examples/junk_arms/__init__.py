"""Junk arms: a few learnable tasks among pure noise and copies of a task that is solved at once."""

from examples.junk_arms.tasks import junk_arms

__all__ = ["junk_arms"]
