"""Shares of tasks by name, as users give them: checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from curricula.checks import as_number
from curricula.task_names import closest, listed

ROUNDING = 1e-3
"""How far from 1 the sum of shares that a user gives may be."""


def checked_shares(what: str, shares: Mapping[str, float]) -> dict[str, float]:
    """Return shares of tasks that sum to 1, or raise.

    Args:
        what: what a message calls them.
        shares: by name, at least 0; their sum may be rounded in the third digit.

    Raises:
        TypeError: if they are not given by name, or one is no number.
        ValueError: if one is negative or not finite, or they do not sum to 1.

    Example:
        >>> checked_shares("prior", {"easy": 2, "hard": 3})
        Traceback (most recent call last):
        ...
        ValueError: prior must be of shares that sum to 1, got the sum 5: in these ratios they are \
{'easy': 0.4, 'hard': 0.6}
    """
    if not isinstance(shares, Mapping):
        raise TypeError(f"{what} must be the share of every task by name, got {shares!r}")
    numbers: dict[str, float] = {}
    for name, share in shares.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"{what} must name its tasks by strings that are not empty, got {name!r}: put it in quotes")
        if isinstance(share, bool):
            raise TypeError(f"{what}[{name!r}] must be a number, got {share!r}")
        numbers[name] = as_number(f"{what}[{name!r}]", share)
        if not (numbers[name] >= 0.0 and math.isfinite(numbers[name])):
            raise ValueError(f"{what}[{name!r}] must be a share, finite and >= 0, got {share!r}")
    total = math.fsum(numbers.values())
    if abs(total - 1.0) > ROUNDING:
        instead = {name: float(f"{share / total:.4g}") for name, share in numbers.items()} if total > 0 else {}
        hint = f": in these ratios they are {instead}" if 0 < len(instead) <= 20 else ""
        raise ValueError(f"{what} must be of shares that sum to 1, got the sum {total:g}{hint}")
    # What was normalised before stays as it is, bit by bit.
    return numbers if abs(total - 1.0) <= 1e-12 else {name: share / total for name, share in numbers.items()}


def shares_of_all(what: str, shares: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """Return the share of every task, or raise ``ValueError`` if one is unknown or missing, or they do not sum to 1."""
    check_known(what, list(shares), names)
    missing = [name for name in names if name not in shares]
    if missing:
        raise ValueError(f"{what} has no share for {listed(missing)}: give one for every task, 0 is one too")
    return checked_shares(what, shares)


def check_known(what: str, given: Sequence[str], names: Sequence[str]) -> None:
    """Raise ``ValueError`` if a name is of no task, with the nearest that is.

    Example:
        >>> check_known("prior", ["esay"], ["easy", "hard"])
        Traceback (most recent call last):
        ...
        ValueError: prior names no task 'esay': did you mean 'easy'?
    """
    known = set(names)
    for name in given:
        if name not in known:
            near = closest(str(name), names)
            hint = f"the tasks are {listed(names)}" if near is None else f"did you mean {near!r}?"
            raise ValueError(f"{what} names no task {name!r}: {hint}")
