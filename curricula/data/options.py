"""Options of the loader, checked when it is made."""

from __future__ import annotations

import logging
import math
from typing import Any, Literal, Protocol, TypeAlias, get_args

from curricula.bandits.base import check_range
from curricula.checks import check_flags

_log = logging.getLogger(__name__)

Redraw: TypeAlias = Literal["step", "batch"]
"""What has draws of its own: see :class:`~curricula.CurriculumLoader`."""

# Functions are options of code, not of configuration files: jsonargparse gives a function by its import path, such as
# `os.system`, to a `Callable` and to a protocol whose only method is `__call__`. So each of these asks for a second
# method, one that everything has.


class Cost(Protocol):
    """From the batch of a step to its cost, a finite number ``> 0``, or with several draws one per sample."""

    def __call__(self, batch: Any, /) -> Any: ...  # noqa: D102
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


def check_batches(batch_size: int | None, draws_per_batch: int, redraw: Redraw, quotas: bool) -> None:
    """Raise unless a batch can have so many draws."""
    check_whole("batch_size", batch_size, 1)
    if draws_per_batch is None:
        raise TypeError("draws_per_batch must be an int, got None")
    check_whole("draws_per_batch", draws_per_batch, 1)
    if batch_size is not None and batch_size % draws_per_batch:
        fitting = [number for number in range(1, batch_size + 1) if batch_size % number == 0]
        raise ValueError(
            f"draws_per_batch must divide batch_size={batch_size}, so that every draw has equally many samples, got "
            f"{draws_per_batch}: give one of {fitting}"
        )
    if redraw not in get_args(Redraw):
        raise ValueError(f'redraw must be "step" or "batch", got {redraw!r}')
    check_flags(quotas=quotas)


def check_options(options: dict[str, Any], steps_per_epoch: int | None, collate_fn: Any, **flags: bool) -> None:
    """Raise if an option of the loader or of its workers, ``options``, is none, and make a float of ``timeout``."""
    check_whole("steps_per_epoch", steps_per_epoch, 1)
    check_whole("num_workers", options["num_workers"], 0)
    check_whole("prefetch_factor", options["prefetch_factor"], 1)
    check_function("collate_fn", collate_fn)
    check_function("worker_init_fn", options["worker_init_fn"])
    check_flags(**flags, pin_memory=options["pin_memory"], persistent_workers=options["persistent_workers"])
    options["timeout"] = check_range("timeout", options["timeout"], 0.0, math.inf)
    if options["timeout"] and not options["num_workers"]:
        _log.warning(
            "timeout=%g has no effect with num_workers=0: what hangs in the training's own process hangs for ever",
            options["timeout"],
        )
