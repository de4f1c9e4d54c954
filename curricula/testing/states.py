"""Saved state in tests: plain, through files, and what is left of it when a part is missing."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

_PLAIN = (str, int, bool, type(None))


def text(state: Any) -> str:
    """Return a state as text: equal texts are equal states, bit for bit, with 1, 1.0 and True told apart."""
    try:
        return json.dumps(state, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError):
        check_plain(state)  # which says what it is
        raise


def check_plain(value: Any, place: str = "state") -> None:
    """Fail unless a state is of plain containers and numbers: anything else makes a checkpoint that cannot be read.

    ``torch.load(weights_only=True)`` refuses numpy scalars (``numpy.float64`` is a ``float``), deques, enumerations and
    dataclasses; JSON has no NaN and makes keys strings.
    """
    kind = type(value)
    if kind is dict:
        for key, part in value.items():
            assert type(key) is str, f"keys in {place} must be strings, got {key!r}"
            check_plain(part, f"{place}[{key!r}]")
    elif kind in (list, tuple):
        for index, part in enumerate(value):
            check_plain(part, f"{place}[{index}]")
    elif kind is float:
        assert math.isfinite(value), f"{place} must be finite, got {value}"
    else:
        assert kind in _PLAIN, (
            f"{place} must be a dict, list, str, int, float, bool or None, got {kind.__module__}.{kind.__qualname__}: "
            "use array.tolist(), int() or float()"
        )


def through_json(state: Any) -> Any:
    """Return the state as it comes back from a JSON file."""
    return json.loads(text(state))


def through_torch(state: Any) -> Any:
    """Return the state as it comes back from a checkpoint that is read without running code."""
    import torch

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


CARRIERS: dict[str, Callable[[Any], Any]] = {"JSON": through_json, "torch.load(weights_only=True)": through_torch}
"""Ways for a state to go through a file."""


def damaged(state: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what a state would be if a part of it were missing, or a list in it were one too short."""
    for key, value in state.items():
        yield f"a state without {key!r}", {other: part for other, part in state.items() if other != key}
        if isinstance(value, (list, tuple)) and value:
            yield f"a state whose {key!r} is one too short", {**state, key: value[:-1]}
