"""Programs that start processes of their own: run to their end, after which none of these is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARK = "CURRICULA_TEST_FAMILY"


def run_together(
    folder: Path, commands: Mapping[str, Iterable[object]], *, timeout: float, **environment: Mapping[str, str]
) -> dict[str, tuple[int, str]]:
    """Run several programs side by side, with this Python.

    Args:
        folder: for what they say.
        commands: name to arguments.
        timeout: seconds for all; beyond, the test fails with what they said.
        **environment: name to further variables of that program.

    Returns:
        Per program its exit code, and what it said.

    Raises:
        AssertionError: if the time was too short.
    """
    mark = uuid.uuid4().hex
    end = time.monotonic() + timeout
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, arguments in commands.items():
            variables = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", MARK: mark, **environment.get(name, {})}
            with (folder / f"{name}.txt").open("w") as output:  # a pipe would be held open by what is left
                running[name] = subprocess.Popen(
                    [sys.executable, *map(str, arguments)],
                    env={**os.environ, **variables},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        for process in running.values():
            process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise AssertionError(f"not over after {timeout} s:\n{_said(folder, running)}") from None
    finally:
        _kill(mark, running)
    return {name: (process.returncode, (folder / f"{name}.txt").read_text()) for name, process in running.items()}


def family(mark: str, running: Mapping[str, subprocess.Popen[bytes]]) -> list[int]:
    """Return the processes of the programs and of all that they have started, as far as the system tells (Linux).

    Some leave the session of the program, others write their name over the variables that they inherited; none both.
    """
    sessions = {str(process.pid) for process in running.values()}
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it is gone, or of another user
            *_, state = (path / "stat").read_text().rpartition(")")
            is_zombie, session = state.split()[0] == "Z", state.split()[3]
            if is_zombie:
                continue
            if session in sessions or f"{MARK}={mark}".encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
    return found


def _kill(mark: str, running: Mapping[str, subprocess.Popen[bytes]]) -> None:
    while found := family(mark, running):
        for number in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
    for process in running.values():
        process.kill()
        process.wait()


def _said(folder: Path, names: Iterable[str]) -> str:
    return "\n".join(f"--- {name}:\n{(folder / f'{name}.txt').read_text()[-3000:]}" for name in names)
