"""What starts processes in the tests of the examples leaves none, whatever happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.processes import run_together

PROGRAM = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
for options in ({"start_new_session": True}, {"env": {}}):
    print(subprocess.Popen(sleep, **options).pid, flush=True)
time.sleep(float(sys.argv[1]))
"""


def states(output):
    """Return the states of the processes whose numbers were said; those that are gone, or about to be, are ''."""
    found = []
    for number in map(int, output.split()):
        path = Path(f"/proc/{number}/stat")
        state = path.read_text().rpartition(")")[2].split()[0] if path.exists() else ""
        found.append("" if state in ("Z", "X") else state)
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")
def test_processes_that_a_program_leaves_are_killed(tmp_path):
    code, said = run_together(tmp_path, {"one": ["-c", PROGRAM, 0]}, timeout=60)["one"]
    assert code == 0
    assert states(said) == ["", ""]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")
def test_a_program_that_does_not_end_is_killed_with_its_own_and_told_with_what_it_said(tmp_path):
    with pytest.raises(AssertionError, match=r"(?s)not over after 3 s:.*--- one:\n\d+\n\d+"):
        run_together(tmp_path, {"one": ["-c", PROGRAM, 600]}, timeout=3)
    assert states((tmp_path / "one.txt").read_text()) == ["", ""]
