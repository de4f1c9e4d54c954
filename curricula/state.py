"""Sealed state: plain containers with a format number and a SHA-256, so that damage is noticed before it is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

FORMAT = 1

_PLAIN = frozenset((str, int, float, bool, type(None)))


def seal(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Wrap ``content`` for a checkpoint.

    ``torch.load`` verifies no checksum, so a flipped bit in a checkpoint would load silently; the digest makes it an
    error.

    Args:
        kind: what the state is of, for example ``"teacher"``.
        content: dict/list/str/int/float/bool/None and tensors only, so that ``torch.load(weights_only=True)`` accepts
            it; scalars of numpy and other subclasses of these become what they are of. Numbers that are not finite
            have their place in tensors alone.

    Returns:
        ``{"kind", "format", "content", "sha256"}``.

    Example:
        >>> unseal("teacher", seal("teacher", {"draws": 3}))
        {'draws': 3}
    """
    plain = _plain(content)
    return {"kind": kind, "format": FORMAT, "content": plain, "sha256": _digest(kind, FORMAT, plain)}


def unseal(kind: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Check what :func:`seal` made and return its content.

    Raises:
        ValueError: if the state is of another kind, of a newer format, or damaged.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"this is not the state of a curricula {kind}: got {state!r}")
    missing = [key for key in ("kind", "format", "content", "sha256") if key not in state]
    if missing or state["kind"] != kind:
        found = f"no key {missing[0]!r}" if missing else f"the kind {state['kind']!r}"
        raise ValueError(f"this is not the state of a curricula {kind}: found {found}")
    if state["format"] != FORMAT:
        raise ValueError(
            f"the {kind} state has format {state['format']!r}, this version of curricula reads format {FORMAT}: "
            "install the version that wrote the checkpoint, or start the curriculum anew"
        )
    try:
        intact = state["sha256"] == _digest(kind, state["format"], state["content"])
    except (TypeError, ValueError, RuntimeError):  # damage can also make what json refuses, such as a NaN
        intact = False
    if not intact:
        raise ValueError(
            f"the {kind} state is damaged (its SHA-256 differs): use an older checkpoint, or start the curriculum anew"
        )
    return dict(state["content"])


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_plain(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return list(value) if _PLAIN.issuperset(map(type, value)) else [_plain(entry) for entry in value]
    if type(value) in _PLAIN:
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str):  # a member of an Enum, say, whose str() is another text
        return str.__str__(value)
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    return value


def _digest(kind: str, format_number: int, content: Mapping[str, Any]) -> str:
    # json writes floats with repr, which round-trips exactly; NaN has no place in a state, but for tensors.
    everything = [kind, format_number, content]
    text = json.dumps(everything, sort_keys=True, allow_nan=False, separators=(",", ":"), default=_of_tensor)
    return hashlib.sha256(text.encode()).hexdigest()


def _of_tensor(value: Any) -> dict[str, Any]:
    # By its bytes, of which no number is a special one; torch is not imported here, where bandits need none.
    if not hasattr(value, "untyped_storage"):
        raise TypeError(f"a state holds plain containers, numbers, text and tensors, got {type(value).__name__}")
    array = np.ascontiguousarray(value.detach().cpu().numpy())
    little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.sha256(little_endian.data).hexdigest() if array.size else ""
    return {"tensor": str(array.dtype), "shape": list(value.shape), "sha256": digest}
