"""The repetition with other seeds counts what fails, and gives every run a seed of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = """
import pytest


@pytest.fixture
def any_seed(request):
    return getattr(request, "param", 0)


class TestOfAClass:
    @pytest.fixture(autouse=True, params=["a", "b"])
    def _case(self, request, any_seed):
        self.case, self.seed = request.param, any_seed

    def test_flaky(self):
        assert self.case == "a" or self.seed < 3


@pytest.mark.parametrize("part", [1, 2])
def test_steady(part, any_seed):
    assert any_seed in range(1, 5)


def test_left_out():
    raise AssertionError("it takes no seed")
"""


def test_failures_are_counted_by_test(tmp_path):
    (tmp_path / "test_some.py").write_text(FILE)
    command = [
        sys.executable,
        "-m",
        "tests.soak.repeats",
        "--repeats",
        "4",
        "--out",
        tmp_path,
        tmp_path / "test_some.py",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1, done.stdout + done.stderr
    result = json.loads((tmp_path / "repeats.json").read_text())
    assert (result["tests"], result["repeats"], result["runs"], result["failures"]) == (2, 4, 16, 2)
    counts = {name.split("::", 1)[1]: tuple(row.values()) for name, row in result["by_test"].items()}
    assert counts == {"TestOfAClass::test_flaky": (8, 2), "test_steady": (8, 0)}
    assert [("b" in name, "seed=3" in name or "seed=4" in name) for name in result["failed"]] == [(True, True)] * 2
