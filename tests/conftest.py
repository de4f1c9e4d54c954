"""What every test needs: one thread, no network, no leftovers in the working folder."""

from __future__ import annotations

import os

import pytest
import torch

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """Run in a folder of its own, with one thread: tiny models only wait for a second one."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
