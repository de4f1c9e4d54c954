"""What every test needs: one thread, no network, no leftovers in the working folder."""

from __future__ import annotations

import os

import pytest
import torch
from torch.utils.data import _utils
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")

# Torch looks every five seconds whether a worker process has died, and waits as long for one that does not end.
_utils.MP_STATUS_CHECK_INTERVAL = 0.2
_MultiProcessingDataLoaderIter._try_get_data.__defaults__ = (0.2,)


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """Run in a folder of its own, with one thread: tiny models only wait for a second one."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)


@pytest.fixture
def any_seed(request):
    """The seed of a test that rests on random numbers: 0 here, and many others in ``tests.soak.repeats``."""
    return getattr(request, "param", 0)
