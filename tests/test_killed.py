"""A process that is killed loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_kills_at_random_moments_lose_nothing(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.soak.kills", "--kills", "15", "--steps", "200", "--seed", "1"]
    command += ["--out", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = json.loads((tmp_path / "kills.json").read_text())["runs"]
    assert sum(run["kills"] for run in runs) == 15
    assert {(run["workers"], run["accumulation"]) for run in runs} == {(0, 1), (0, 3), (2, 1)}
    assert sum(run["unreadable"] for run in runs) == 0
    assert sum(run["different"] for run in runs) == 0
