"""The same run in another process, where strings have other hashes. Started by the contracts; not for import."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

from curricula.testing.contract import does_not_apply


def pickled(value: Any) -> bytes:
    """Return the pickle of an object; leave the test out where its class cannot be found by name."""
    kind = type(value)
    found: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    if found is not kind:
        does_not_apply(f"{kind.__qualname__} is made within a function, and no other process could find it")
    try:
        return pickle.dumps(value)
    except Exception as error:
        raise AssertionError(
            f"{kind.__name__} cannot be pickled ({error}), as strategies that start processes do: keep functions and "
            "open files out of it, or set picklable = False"
        ) from error


def elsewhere(function: Callable[..., Any], value: Any, *arguments: Any) -> Any:
    """Return ``function(value, *arguments)`` as another process with another ``PYTHONHASHSEED`` computes it.

    Args:
        function: of a module that can be imported.
        value: goes there as a pickle; its class may be of a test file.
        arguments: anything that can be pickled.

    Returns:
        The result, as it comes through JSON.
    """
    content, kind = pickled(value), type(value)
    home = (kind.__module__, inspect.getsourcefile(kind))
    message = pickle.dumps((home, content, pickle.dumps((function, arguments))))
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") == "0" else "0",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    command = [sys.executable, "-c", "from curricula.testing.elsewhere import main; main()"]
    done = subprocess.run(command, input=message, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, f"the other process failed:\n{done.stderr.decode(errors='replace')[-2000:]}"
    return json.loads(done.stdout.decode().splitlines()[-1])


def main() -> None:
    """Compute what was asked for on standard input, and print it."""
    (name, file), value, task = pickle.load(sys.stdin.buffer)
    try:
        import_module(name)
    except ImportError:  # a test file, say, of no package
        spec = spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    function, arguments = pickle.loads(task)
    sys.stdout.write("\n" + json.dumps(function(pickle.loads(value), *arguments)) + "\n")
