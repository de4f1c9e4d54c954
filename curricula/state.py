"""Sealed state: plain containers with a format number and a SHA-256, so that damage is noticed before it is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

FORMAT = 1


def seal(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Wrap ``content`` for a checkpoint.

    ``torch.load`` verifies no checksum, so a flipped bit in a checkpoint would load silently; the digest makes it an
    error.

    Args:
        kind: what the state is of, for example ``"teacher"``.
        content: dict/list/str/int/float/bool/None only, so that ``torch.load(weights_only=True)`` accepts it.

    Returns:
        ``{"kind", "format", "content", "sha256"}``.

    Example:
        >>> unseal("teacher", seal("teacher", {"draws": 3}))
        {'draws': 3}
    """
    return {"kind": kind, "format": FORMAT, "content": dict(content), "sha256": _digest(kind, FORMAT, content)}


def unseal(kind: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Check what :func:`seal` made and return its content.

    Raises:
        ValueError: if the state is of another kind, of a newer format, or damaged.
    """
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
    except (TypeError, ValueError):  # damage can also make what json refuses, such as a NaN
        intact = False
    if not intact:
        raise ValueError(
            f"the {kind} state is damaged (its SHA-256 differs): use an older checkpoint, or start the curriculum anew"
        )
    return dict(state["content"])


def _digest(kind: str, format_number: int, content: Mapping[str, Any]) -> str:
    # json writes floats with repr, which round-trips exactly; NaN has no place in a state.
    text = json.dumps([kind, format_number, content], sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
