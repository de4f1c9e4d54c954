"""A process that is killed loses nothing."""

from __future__ import annotations

import json

from tests.forked import call_forked
from tests.soak.kills import kill_and_compare


def test_kills_at_random_moments_lose_nothing(tmp_path):
    call_forked(kill_and_compare, tmp_path, 15, 200, 1, timeout=300)
    runs = json.loads((tmp_path / "kills.json").read_text())["runs"]
    assert sum(run["kills"] for run in runs) == 15
    assert {(run["workers"], run["accumulation"]) for run in runs} == {(0, 1), (0, 3), (2, 1)}
    assert sum(run["unreadable"] for run in runs) == 0
    assert sum(run["different"] for run in runs) == 0
