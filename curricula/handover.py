"""What a training in processes of its own leaves behind, for the process that started them."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytorch_lightning as pl
import torch

from curricula.tracking.whole_files import written_whole


class Handover:
    """Carries the state of a curriculum from a spawned or forked training back to where the callback was made.

    Strategies such as ``ddp_spawn`` and ``ddp_notebook`` train copies of the callback and bring back the weights of the
    module, but nothing of a callback. So rank zero writes the state to a temporary folder whose name both sides know;
    it is read once and removed.
    """

    def __init__(self) -> None:
        self._home = os.getpid()
        self._folder = Path(tempfile.gettempdir()) / f"curricula-{uuid4().hex}"
        weakref.finalize(self, _remove, self._folder, self._home)

    @property
    def _path(self) -> Path:
        return self._folder / "curriculum.pt"

    def send(self, trainer: pl.Trainer, state: Callable[[], dict[str, Any]]) -> None:
        """Leave the state of a training that is over, if it ran in a process that the trainer started."""
        kinds = {base.__name__ for base in type(trainer.strategy.launcher).__mro__}
        if os.getpid() != self._home and trainer.is_global_zero and "_MultiProcessingLauncher" in kinds:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with written_whole(self._path) as temporary:
                torch.save(state(), temporary)

    def receive(self) -> dict[str, Any] | None:
        """Return the state that was left, once; ``None`` where there is none."""
        if os.getpid() != self._home or not self._path.exists():
            return None
        state: dict[str, Any] = torch.load(self._path, weights_only=True)
        _remove(self._folder, self._home)
        return state


def _remove(folder: Path, home: int) -> None:
    if os.getpid() == home:  # a forked process has a copy of this as well
        shutil.rmtree(folder, ignore_errors=True)
