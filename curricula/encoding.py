"""States of the user's own objects, in a form that a checkpoint can hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor


def encoded(owner: str, value: Any, where: str) -> Any:
    """Return a state in a form that our seal and ``weights_only=True`` accept, as a copy.

    Args:
        owner: whose state it is, for messages.
        value: of plain containers, numbers, text, bytes and dense tensors.
        where: name of the value, for messages.

    Raises:
        TypeError: if it holds anything else.

    Example:
        >>> decoded(encoded("signal X", {"best": -math.inf, ("a", 1): b"raw"}, "state_dict()"))
        {'best': -inf, ('a', 1): b'raw'}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if type(value) is bytes:
        return {"bytes": value.hex()}
    if isinstance(value, Tensor) and _is_plain(value):
        return value.detach().clone()
    if type(value) in (list, tuple):
        parts = [encoded(owner, part, f"{where}[{place}]") for place, part in enumerate(value)]
        return {"tuple": parts} if type(value) is tuple else parts
    if isinstance(value, dict):
        return {
            "dict": [
                [encoded(owner, key, f"the keys of {where}"), encoded(owner, part, f"{where}[{key!r}]")]
                for key, part in value.items()
            ]
        }
    found = f"a tensor of {value.dtype}" if isinstance(value, Tensor) else f"a {_name_of(type(value))}"
    raise TypeError(
        f"{owner} has {found} at {where}, which a checkpoint cannot hold: its state_dict() may return dicts, "
        "lists, tuples, numbers, text, bytes and dense tensors (torch.from_numpy makes one of an array)"
    )


def _is_plain(tensor: Tensor) -> bool:
    try:
        tensor.detach().cpu().numpy()
    except (TypeError, RuntimeError, ValueError):  # sparse, quantised, bfloat16: what our digest cannot read
        return False
    return True


def _name_of(kind: type) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def decoded(value: Any) -> Any:
    """Return the state that :func:`encoded` was given."""
    if isinstance(value, list):
        return [decoded(part) for part in value]
    if isinstance(value, Tensor):
        return value.clone()
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {decoded(key): decoded(part) for key, part in content}
    if kind == "tuple":
        return tuple(decoded(part) for part in content)
    return bytes.fromhex(content) if kind == "bytes" else float(content)
