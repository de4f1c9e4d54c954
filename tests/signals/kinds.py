"""The exported signals: all, and those that measure a step by themselves."""

from __future__ import annotations

import inspect

from curricula import signals
from curricula.signals import Signal


def signal_classes() -> list[type[Signal]]:
    """Return every signal of ``curricula.signals``."""
    exported = [getattr(signals, name) for name in signals.__all__]
    return [
        kind
        for kind in exported
        if isinstance(kind, type) and issubclass(kind, Signal) and not inspect.isabstract(kind)
    ]


def measuring_classes() -> list[type[Signal]]:
    """Return those that need nothing but the step: no reported value, no validation."""
    return [kind for kind in signal_classes() if not (kind.needs_outputs or kind.needs_validation)]
