"""Worker processes of DataLoaders: which of them an error tells of, and an end to them that waits for nobody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from multiprocessing.reduction import ForkingPickler
from pickle import UnpicklingError
from typing import Any

from torch._C import _remove_worker_pids

_PIDS = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)")
_LATE = "DataLoader timed out"


def is_late(error: BaseException) -> bool:
    """Tell whether a ``DataLoader`` waited in vain as long as its ``timeout``."""
    return str(error).startswith(_LATE)


def is_of_workers(error: BaseException, iterator: Any) -> bool:
    """Tell whether worker processes of this iterator hang or died, and not the data are wrong.

    What a dataset raises in a worker process begins with "Caught"; a connection that ends without that was to a worker.
    """
    workers = _workers(iterator)
    if not workers or names_others(error, iterator) or str(error).startswith("Caught "):
        return False
    if is_late(error) or pids_in(error) or isinstance(error, (EOFError, ConnectionError)):
        return True
    broken = isinstance(error, (OSError, UnpicklingError))  # half of what was sent, or nobody to ask for it
    return broken and not all(worker.is_alive() for worker in workers)


def names_others(error: BaseException, iterator: Any) -> bool:
    """Tell whether the error is of worker processes that are not this iterator's.

    Torch raises the death of a worker in the main process wherever that is, also while it reads from another loader.
    """
    pids = pids_in(error)
    return bool(pids) and pids.isdisjoint(worker.pid for worker in _workers(iterator))


def pids_in(error: BaseException) -> set[int]:
    """Return the numbers of the worker processes that, by the error, died.

    Example:
        >>> pids_in(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."))
        {7}
    """
    found = _PIDS.match(str(error))
    return set() if found is None else {int(pid) for pid in found[1].split(",")}


def unsendable(parts: Mapping[str, Any]) -> str | None:
    """Return the name of the first part that cannot be sent to a process that is started anew, with the reason.

    Example:
        >>> unsendable({"task 'a'": [1, 2], "task 'b'": open})
        >>> unsendable({"task 'a'": [1, 2], "collate_fn": lambda samples: samples})[:40]
        'collate_fn cannot be sent to a worker pr'
    """
    for name, part in parts.items():
        error = _refusal(part)
        if error is not None:
            return (
                f"{name} cannot be sent to a worker process ({type(error).__name__}: {error}): define its classes and "
                "functions at the top of a module, open files in the worker only, or, where the system has it, give "
                'multiprocessing_context="fork"'
            )
    return None


def _refusal(part: Any) -> Exception | None:
    try:
        ForkingPickler.dumps(part)
    except Exception as error:  # noqa: BLE001 - what users give can do anything here
        return error
    return None


def stop_workers(iterator: Any) -> None:
    """Kill the worker processes of an iterator over a ``DataLoader``; it cannot go on after that.

    Torch's own way waits five seconds for a worker that hangs, and for ever for a lock that a killed one has held.
    """
    workers = _workers(iterator)
    if not workers or iterator._shutdown:
        return
    _remove_worker_pids(id(iterator))  # first of all, else torch takes these deaths for errors
    iterator._worker_pids_set = False
    iterator._shutdown = True
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join(5.0)
    for queue in [*iterator._index_queues, iterator._worker_result_queue]:
        queue.cancel_join_thread()
        queue.close()


def _workers(iterator: Any) -> list[Any]:
    return list(getattr(iterator, "_workers", ()))
