"""The file of a history: its content as JSON, whole or not there, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curricula.tracking.kept_rows import COLUMNS
from curricula.tracking.whole_files import written_whole


def write_content(content: Mapping[str, Any], path: Path) -> Path:
    """Write the content of a history, plain containers and tensors, and return the path.

    Args:
        content: numbers in it that are not finite become ``null``.
        path: missing folders are made.
    """
    written = {name: _finite(value.tolist()) if isinstance(value, Tensor) else value for name, value in content.items()}
    rows = written.pop("rows")
    written["columns"] = {name: [row[place] for row in rows] for place, name in enumerate(COLUMNS)}
    # Of the nearest number with seven digits, not of the 32-bit one.
    written["policies"] = [[round(value, 7) for value in policy] for policy in written["policies"]]
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(written, allow_nan=False, separators=(",", ":")), encoding="utf-8")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """Return what a file of a history holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no curriculum history: give a .json that was saved, or a .ckpt") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no curriculum history: it is not JSON ({error})") from None
    if not isinstance(content, dict) or "curriculum_history" not in content:
        raise ValueError(f"{path} is no curriculum history: write it with CurriculumHistory.save()")
    return content


def with_tensors(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return content with the tensors that it had before it was written; that of a checkpoint has them."""
    if "columns" not in content:
        return content
    numbers = ("first_losses", "last_losses", "costs", "samples", "sizes", "total_cost")
    columns = [_floats(content["columns"][name]) for name in COLUMNS if name in content["columns"]]
    rows = list(zip(*columns, strict=True))
    policies = np.array(content["policies"], dtype=np.float32)
    return {
        **content,
        **{name: _floats(content[name]) for name in numbers if name in content},
        "rows": torch.tensor(rows, dtype=torch.float64).reshape(-1, len(columns)),
        "policies": torch.from_numpy(policies.reshape(-1, len(content["tasks"]))),
    }


def _finite(values: Any) -> Any:
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return values if math.isfinite(values) else None


def _floats(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]
