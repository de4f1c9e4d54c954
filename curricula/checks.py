"""Checks of options that have nothing to do with torch."""

from __future__ import annotations


def check_flags(**flags: bool) -> None:
    """Raise unless every value is ``True`` or ``False``."""
    for name, value in flags.items():
        if not isinstance(value, bool):  # "no" and "false" of a configuration would count as true
            raise TypeError(f"{name} must be True or False, got {value!r}")
