"""Files that appear whole or not at all, whatever happens to the process or the disk while they are written."""

from __future__ import annotations

import glob
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_SUFFIX = ".part"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary file beside ``path`` to write, and put it in its place when that is done without an error.

    Beside it, since a file replaces another at one stroke only within a file system; and its bytes are on the disk
    before it does. What killed processes have left of the same file is cleared away first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_SUFFIX)
    temporary = Path(name)
    try:
        with _in_use(descriptor):
            yield temporary
            temporary.chmod(0o644)
            _put_on_disk(temporary, os.O_RDWR)
            temporary.replace(path)
        with suppress(OSError):  # not everywhere can a folder be opened
            _put_on_disk(path.parent, os.O_RDONLY)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _put_on_disk(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if sys.platform == "win32":  # where an open file can be neither replaced nor locked like this

    @contextmanager
    def _in_use(descriptor: int) -> Iterator[None]:
        os.close(descriptor)
        yield

    def _clear(path: Path) -> None:
        """Leave all as it is."""

else:

    @contextmanager
    def _in_use(descriptor: int) -> Iterator[None]:
        try:
            with suppress(OSError):  # a file system without locks: nothing is ever cleared there
                _lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _clear(path: Path) -> None:
        for left in path.parent.glob(f".{glob.escape(path.name)}.????????{_SUFFIX}"):
            with suppress(OSError):  # it is gone already, or a process that lives is writing it
                descriptor = os.open(left, os.O_RDONLY)
                try:
                    _lock(descriptor)
                    left.unlink()
                finally:
                    os.close(descriptor)

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # given back by the system when a process is killed
