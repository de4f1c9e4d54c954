"""Files: the histories that runs have saved, found and read."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from curricula.tracking.history import CurriculumHistory

CHECKPOINT = ".ckpt"

_DAMAGED = (KeyError, TypeError, AttributeError, IndexError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError)


def read_history(path: str | Path) -> CurriculumHistory:
    """Read the history of a run.

    Args:
        path: a file that :meth:`CurriculumHistory.save` wrote, or a checkpoint of Lightning (``.ckpt``), of which
            nothing but plain containers and tensors is loaded.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is neither, is damaged, or was written without a curriculum.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.suffix == CHECKPOINT:
        return _from_checkpoint(path)
    return CurriculumHistory.load(path)


def find_histories(path: str | Path) -> list[Path]:
    """Return the files that hold the histories of a path.

    Args:
        path: a file, which is returned as it is; or a folder: the saved histories in it (``*.json``), or else the
            newest checkpoint of each folder in it.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if a folder holds no history and no checkpoint.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"there is no file or folder {path}")
        return [path]
    saved = [file for file in sorted(path.glob("*.json")) if _is_history(file)]
    if saved:
        return saved
    newest: dict[Path, Path] = {}
    for file in sorted(path.rglob(f"*{CHECKPOINT}")):
        if file.is_file():
            other = newest.get(file.parent, file)
            newest[file.parent] = max(other, file, key=lambda found: found.stat().st_mtime_ns)
    if not newest:
        raise ValueError(
            f"{path} holds neither a saved history (*.json) nor a checkpoint (*{CHECKPOINT}): "
            "save one with callback.history.save(path)"
        )
    return list(newest.values())


def run_name(path: Path) -> str:
    """Return a name for the run of a file: its own, or for a checkpoint that of the run's folder.

    Example:
        >>> run_name(Path("runs/uniform.history.json")), run_name(Path("logs/version_3/checkpoints/last.ckpt"))
        ('uniform', 'version_3')
    """
    if path.suffix == CHECKPOINT and path.parent.name == "checkpoints" and path.parent.parent.name:
        return path.parent.parent.name
    return path.stem.removesuffix(".history")


def _is_history(path: Path) -> bool:
    # The header stands at the beginning of the file.
    with path.open("rb") as file:
        return b'"curriculum_history"' in file.read(200)


def _from_checkpoint(path: Path) -> CurriculumHistory:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} cannot be loaded: it is damaged, or holds objects besides plain containers and tensors, which are "
            f"not loaded because they could run code ({str(error).splitlines()[0]}); "
            "save the history alone with callback.history.save(path)"
        ) from error
    except Exception as error:
        text = (str(error).splitlines() or ["the file ends too early"])[0]
        raise ValueError(f"{path} cannot be loaded as a checkpoint: {text}") from error
    callbacks = content.get("callbacks") if isinstance(content, Mapping) else None
    states = callbacks.values() if isinstance(callbacks, Mapping) else ()
    found: list[Any] = [state["history"] for state in states if isinstance(state, Mapping) and "history" in state]
    found = [state for state in found if isinstance(state, Mapping) and {"curriculum_history", "kind"} & set(state)]
    if not found:
        raise ValueError(f"{path} has no curriculum: it was written without a CurriculumCallback")
    try:
        return CurriculumHistory.from_state_dict(found[0])
    except _DAMAGED as error:
        raise ValueError(_told(error, path)) from error


def _told(error: Exception, path: Path) -> str:
    if isinstance(error, ValueError):
        return str(error) if str(path) in str(error) else f"{path}: {error}"
    return f"{path}: the history is damaged ({type(error).__name__}: {error})"
