"""Data that cannot be read: what was tried in its place, and an error that says where it happened."""

from __future__ import annotations

import logging
import pickle
import traceback
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from torch.utils.data import get_worker_info

from curricula.data.workers import is_late

_log = logging.getLogger(__name__)

OnError: TypeAlias = Literal["raise", "retry", "drop"]
"""What to do about a task that raises: see :class:`~curricula.CurriculumLoader`."""

RETRIES = 10
"""How many other samples, or further batches, are tried in the place of one that cannot be read."""


LATE = "it hangs, or needs longer; give a larger timeout, or num_workers=0 to see where it stays, or leave the task out"
"""What to do about a task that does not answer."""

LOST = (
    "one that is killed is most often out of memory (make batch_size, num_workers or prefetch_factor smaller, or the "
    "samples); with num_workers=0 the task is read in the training's own process, where an error shows"
)
"""What to do about a worker process that died."""


class NoBatchError(ValueError):
    """A task gave ``None`` in the place of a batch.

    Args:
        what: "gave None instead of a batch", say.
        advice: what to do about it.
    """

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what, advice)
        self.what = what
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.what}: {self.advice}"


def no_batch(what: str, retries: int) -> NoBatchError:
    """Return the error of a task that gave ``None``, with what to do about it."""
    if retries:
        return NoBatchError(what, f"and so it did {retries} times more, with other data of the task")
    return NoBatchError(
        what,
        'on_error="retry" takes other data of the task in the place of a batch of which nothing is left; a task that '
        "has nothing to give now is taken out with teacher.remove_task",
    )


class TaskError(RuntimeError):
    """A task's data could not be read; the message names the task, and ``__cause__`` is what the task raised.

    Attributes:
        task: its name; ``None`` where it may be any of several.
    """

    task: str | None = None


@dataclass
class Failure:
    """What a task raised, in a form that a worker process can send."""

    where: str
    error: Exception
    trace: str = ""
    final: bool = False
    """The worker process that reads the task hangs or died, so that no other data of it can be had either."""

    def raised(self, name: str) -> TaskError:
        """Return the error to raise for the task of this name; its ``__cause__`` is the original."""
        if isinstance(self.error, NoBatchError):
            return self._caused(name, f"{self.error.what} {self.where}: {self.error.advice}")
        if not self.final:
            text = f"raised {type(self.error).__name__} {self.where}: {_told(self.error)}"
        elif is_late(self.error):
            text = f"gave no batch in time {self.where} ({described(self.error)}): {LATE}"
        else:
            text = f"lost a worker process {self.where} ({described(self.error)}): {LOST}"
        return self._caused(name, text)

    def _caused(self, name: str, text: str) -> TaskError:
        error = TaskError(f"task {name!r} {text}")
        error.task = name
        if self.trace:
            self.error.__cause__ = _InWorker(f"\n{self.trace}")
        error.__cause__ = self.error
        return error


class _InWorker(Exception):  # noqa: N818 - shows the traceback of another process, as in concurrent.futures
    """The traceback in the worker process."""


def described(error: BaseException) -> str:
    """Return the kind and the text of an error on one line.

    Example:
        >>> described(EOFError()), described(KeyError("row"))
        ('EOFError', "KeyError: 'row'")
    """
    text = " ".join(_told(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _told(error: BaseException) -> str:
    # Torch puts the traceback of its worker process into the text; its last line says what it was.
    text = str(error)
    if not text.startswith("Caught "):
        return text
    return text.strip().splitlines()[-1].removeprefix(f"{type(error).__name__}: ")


def failure(error: Exception, where: str) -> Failure:
    """Return the failure of an error that is being handled.

    Queues between processes lose what they cannot pickle without a word, and the reader waits for ever: such an error
    is sent as a ``RuntimeError`` with its text.
    """
    if get_worker_info() is None:
        return Failure(where, error)
    trace = traceback.format_exc()
    try:
        copy = pickle.loads(pickle.dumps(error))
        faithful = type(copy) is type(error) and str(copy) == str(error)
    except Exception:  # noqa: BLE001 - a class of the user's can do anything here
        faithful = False
    return Failure(where, error if faithful else RuntimeError(f"{type(error).__name__}: {error}"), trace)


def warn_retried(name: str, error: Exception) -> None:
    """Say that other data of a task were taken."""
    text = error.what if isinstance(error, NoBatchError) else f"raised {type(error).__name__}: {_told(error)}"
    _log.warning(
        "task %r %s; other data of the task are taken in its place, and this is said once per task", name, text
    )


def check_on_error(value: OnError) -> OnError:
    """Return the value, or raise ``ValueError`` if it is none of the three."""
    if value not in get_args(OnError):
        raise ValueError(f'on_error must be "raise", "retry" or "drop", got {value!r}')
    return value
