"""Checks of options that have nothing to do with torch."""

from __future__ import annotations

from typing import Any, SupportsFloat

import numpy as np


def check_flags(**flags: bool) -> None:
    """Raise unless every value is ``True`` or ``False``."""
    for name, value in flags.items():
        if not isinstance(value, bool):  # "no" and "false" of a configuration would count as true
            raise TypeError(f"{name} must be True or False, got {value!r}")


def as_int(what: str, value: Any) -> int:
    """Return the value as an int, whether of numpy or Python's own, or raise ``TypeError``; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{what} must be an int, got {value!r}")
    return int(value)


def check_count(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number of at least ``least``, or raise."""
    count = as_int(name, value)
    if count < least:
        raise ValueError(f"{name} must be at least {least}, got {count}")
    return count


def as_number(what: str, value: Any, hint: str = "") -> float:
    """Return the value as a float, whether of numpy, of torch or Python's own, or raise ``TypeError``.

    Args:
        what: what the message calls it.
        value: what was given; text is no number.
        hint: end of the message.
    """
    if type(value) is float:  # the check of a protocol takes ten times as long as all else
        return value
    try:
        if isinstance(value, SupportsFloat):
            return float(value)
    except (TypeError, ValueError, RuntimeError):  # an array or a tensor of several numbers
        pass
    raise TypeError(f"{what} must be a number, got {value!r}{hint}")
