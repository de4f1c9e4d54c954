"""The package knows torch, and nothing of trainers."""

from __future__ import annotations

from pathlib import Path

import curricula.signals.per_sample as package


def test_it_imports_nothing_but_itself_torch_and_the_standard_library():
    allowed = {"__future__", "abc", "collections", "contextlib", "curricula", "dataclasses", "functools", "math"}
    allowed |= {"torch", "typing", "weakref"}
    for path in Path(package.__file__).parent.rglob("*.py"):
        for line in path.read_text().splitlines():
            words = line.split()
            if line.startswith(("import ", "from ")):
                assert words[1].split(".")[0] in allowed, f"{path.name}: {line}"
                assert not words[1].startswith("curricula") or words[1].startswith("curricula.signals.per_sample")
