"""Runs a function in several processes that know of one another, as torchrun would start them.

All processes are forked from one that has imported what is slow to import (:mod:`tests.forked`).
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.forked import call_forked

Stage = tuple[int, list[Any]]
"""Number of processes, and what the function is given after the folder."""


def on_ranks(function: Callable[..., Any], folder: Path, *stages: Stage, timeout: float = 240) -> list[list[Any]]:
    """Run a function of a module on all ranks, stage after stage.

    A process that raises ends with the exit code 1, and what it said is in ``output.txt``.

    Args:
        function: takes the folder and the arguments of the stage, and returns what JSON can hold.
        folder: to work in; must exist.
        *stages: one after the other, each in new processes.
        timeout: seconds for all of it; beyond, everything is killed and the test fails.

    Returns:
        Per stage and rank, what the function returned; ``{"exit": code}`` where the process ended otherwise.
    """
    spec = getattr(sys.modules[function.__module__], "__spec__", None)  # has the name of what is run as "__main__"
    module = function.__module__ if spec is None else spec.name
    output = call_forked(_fork_all, folder, module, function.__name__, stages, timeout=timeout)
    return [
        [_result(folder / f"{number}-{rank}.json", output) for rank in range(world_size)]
        for number, (world_size, _) in enumerate(stages)
    ]


def _result(path: Path, output: str) -> Any:
    assert path.exists(), output[-3000:]
    return json.loads(path.read_text())


def _fork_all(folder: Path, module: str, name: str, stages: Sequence[Stage]) -> None:
    function = getattr(importlib.import_module(module), name)
    for number, (world_size, arguments) in enumerate(stages):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        fork = multiprocessing.get_context("fork").Process
        processes = [
            fork(target=_run, args=(function, folder, number, rank, world_size, port, arguments))
            for rank in range(world_size)
        ]
        for process in processes:
            process.start()
        for rank, process in enumerate(processes):
            process.join()
            path = folder / f"{number}-{rank}.json"
            if not path.exists():
                path.write_text(json.dumps({"exit": process.exitcode}))


def _run(
    function: Callable[..., Any],
    folder: Path,
    number: int,
    rank: int,
    world_size: int,
    port: int,
    arguments: list[Any],
) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        GROUP_RANK="0",
        WORLD_SIZE=str(world_size),
        LOCAL_WORLD_SIZE=str(world_size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        TORCHELASTIC_RUN_ID="test",
    )
    result = function(folder, *arguments)
    (folder / f"{number}-{rank}.part").write_text(json.dumps(result))
    (folder / f"{number}-{rank}.part").replace(folder / f"{number}-{rank}.json")
