"""Calls a function in a process of its own, forked from one that has imported what is slow to import.

That one is started when it is needed first, and ends with the tests.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TextIO

SLOW = ("torch.distributed", "pytorch_lightning", "lightning.pytorch", "curricula.callback", "curricula.data.loader")


def call_forked(
    function: Callable[..., Any],
    folder: Path,
    *arguments: Any,
    timeout: float = 240,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Call ``function(folder, *arguments)`` in a new process, with the folder as its working folder.

    Args:
        function: of the top of a module.
        folder: must exist; what the process says is in its ``output.txt``.
        *arguments: what JSON can hold.
        timeout: seconds; beyond, the process is killed with all that it has started, and the test fails.
        environment: further variables.

    Returns:
        What the process said.

    Raises:
        AssertionError: if it ends with an error, or not in time.
    """
    spec = getattr(sys.modules[function.__module__], "__spec__", None)  # has the name of what is run as "__main__"
    request = {
        "function": [function.__module__ if spec is None else spec.name, function.__name__],
        "arguments": arguments,
        "folder": str(folder),
        "environment": {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        "timeout": timeout,
    }
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    code = json.loads(server.stdout.readline())
    said = (folder / "output.txt").read_text(errors="replace")
    assert code is not None, f"not over after {timeout} s: {said[-3000:]}"
    assert code == 0, said[-3000:]
    return said


@cache
def _server() -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-m", "tests.forked"], env=environment, text=True, **pipes)


def _serve(requests: TextIO, answers: TextIO) -> None:
    for line in requests:
        request = json.loads(line)
        process = os.fork()
        if process == 0:
            _run(request)
        code = _wait(process, request["timeout"])
        answers.write(json.dumps(code) + "\n")
        answers.flush()


def _wait(process: int, timeout: float) -> int | None:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(process, 9)
    os.waitpid(process, 0)
    return None


def _run(request: dict[str, Any]) -> None:
    code = 1
    try:
        os.setsid()
        output = os.open(Path(request["folder"]) / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        tempfile.tempdir = None
        module, name = request["function"]
        getattr(importlib.import_module(module), name)(Path(request["folder"]), *request["arguments"])
        code = 0
    except BaseException:  # noqa: BLE001 - this process ends here, whatever it is
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for module in SLOW:
        importlib.import_module(module)
    importlib.import_module("torch").set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _serve(sys.stdin, answers)
