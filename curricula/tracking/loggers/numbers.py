"""Numbers fit for JSON: plain, short, and never NaN."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return nested data without arrays: numbers to four significant digits or whole, ``None`` where not finite.

    Arrays that Plotly has packed as base64 are unpacked, so that any version of plotly.js can read them.

    Args:
        value: dictionaries, sequences, arrays, numbers, text.

    Example:
        >>> plain({"x": np.array([1234567.8, 0.000123456]), "y": (float("nan"), 3, "text")})
        {'x': [1234568.0, 0.0001235], 'y': [None, 3, 'text']}
    """
    if isinstance(value, dict):
        return plain(_unpacked(value)) if "bdata" in value else {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return _short(float(value))
    return value.item() if isinstance(value, np.generic) else value


def _short(value: float) -> float | None:
    if not math.isfinite(value):
        return None
    return float(f"{value:.4g}") if abs(value) < 1000 else float(round(value))


def _unpacked(packed: dict[str, Any]) -> Any:
    array: Any = np.frombuffer(base64.b64decode(packed["bdata"]), dtype=np.dtype(packed["dtype"]))
    if "shape" in packed:
        array = array.reshape([int(size) for size in str(packed["shape"]).strip("()").split(",") if size.strip()])
    return array
