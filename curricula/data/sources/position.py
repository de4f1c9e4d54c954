"""Positions in a stream, as they are in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Position: TypeAlias = "list[int] | dict[str, Any]"
"""The number of the pass, the batches taken from it, and the size of one (0: unknown); or more, by name."""


def next_pass(position: Position) -> Position:
    """Return the beginning of the pass after a position, for another stream of the same task.

    Example:
        >>> next_pass([2, 5, 8]), next_pass([2, 0, 8])
        ([3, 0], [2, 0])
    """
    if not isinstance(position, Mapping):
        number, taken = position[:2]
        return [number + 1 if taken else number, 0]
    number, taken, size = position["counted"]
    if "total" not in position:
        return [number + 1 if taken or position.get("at_end") else number, 0]
    # The passes of other processes may be shorter: the new stream counts from its beginning, as in all of them.
    first_pass = number + 1 if position["total"] else number
    counted = [first_pass, 0, size]
    return {"counted": counted, "total": 0, "first_pass": first_pass, "processes": position["processes"]}
