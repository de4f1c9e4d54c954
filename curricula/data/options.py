"""Options of the loader, checked when it is made."""

from __future__ import annotations

from typing import Any, Protocol

# Functions are options of code, not of configuration files: jsonargparse gives a function by its import path, such as
# `os.system`, to a `Callable` and to a protocol whose only method is `__call__`. So each of these asks for a second
# method, one that everything has.


class Cost(Protocol):
    """From the batch of a step to its cost, a finite number ``> 0``."""

    def __call__(self, batch: Any, /) -> float: ...  # noqa: D102
    def __repr__(self) -> str: ...


class Collate(Protocol):
    """From a list of samples to a batch."""

    def __call__(self, samples: list[Any], /) -> Any: ...  # noqa: D102
    def __repr__(self) -> str: ...


class WorkerInit(Protocol):
    """Prepares a worker process, of which it is given the number."""

    def __call__(self, worker: int, /) -> object: ...  # noqa: D102
    def __repr__(self) -> str: ...


def check_whole(name: str, value: int | None, least: int) -> None:
    """Raise unless the value is an int of at least ``least``, or ``None`` where that is an option."""
    if value is None and name != "num_workers":
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def check_function(name: str, value: Any) -> None:
    """Raise unless the value is a function or ``None``."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function or None, got {value!r}")


def length_of(name: str, task: Any, what: str) -> int:
    """Return the length of a task, or raise ``ValueError`` that says what to give by hand."""
    try:
        return len(task)
    except TypeError as error:
        raise ValueError(f"task {name!r} has no length: give {what} by hand") from error
