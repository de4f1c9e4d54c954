"""Names of tasks: checked, and compared with those of a checkpoint."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class TaskChanges(NamedTuple):
    """How the tasks differ from those of a checkpoint, each in its own order."""

    kept: tuple[str, ...]
    """Tasks that are in both."""
    new: tuple[str, ...]
    """Tasks that the checkpoint has not."""
    gone: tuple[str, ...]
    """Tasks that only the checkpoint has."""

    @classmethod
    def between(cls, saved: Sequence[str], own: Sequence[str]) -> TaskChanges:
        """Compare the tasks of a checkpoint with those of now.

        Example:
            >>> TaskChanges.between(["a", "b"], ["b", "c"])
            TaskChanges(kept=('b',), new=('c',), gone=('a',))
        """
        before, now = set(saved), set(own)
        return cls(
            kept=tuple(name for name in own if name in before),
            new=tuple(name for name in own if name not in before),
            gone=tuple(name for name in saved if name not in now),
        )

    def refusal(self, whose: str) -> str:
        """Return why what has other tasks is refused, and how to go on."""
        if self.new or self.gone:
            difference = f"missing now: {listed(self.gone)}; new: {listed(self.new)}"
        else:
            difference = "the same names in another order"
        return (
            f"{whose} has other tasks ({difference}): give the same tasks in the same order, match "
            "them by name with CurriculumCallback(strict=False), or start the curriculum anew"
        )


def listed(names: Sequence[str], most: int = 10) -> str:
    """Return names for a message, of many the first ones.

    Example:
        >>> listed(["a", "b"]), listed([]), listed("abcdefgh", 2)
        ("['a', 'b']", 'none', "['a', 'b'] and 6 more")
    """
    if not names:
        return "none"
    further = len(names) - most
    return f"{list(names[:most])}" + (f" and {further} more" if further > 0 else "")


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was most likely meant, if any is like it."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the one that was most likely meant, if any is like it.

    Example:
        >>> nearest("hrad", ["easy", "hard"]), nearest("web", ["easy", "hard"])
        (" (did you mean 'hard'?)", '')
    """
    found = closest(name, known)
    return "" if found is None else f" (did you mean {found!r}?)"


def printable(text: str) -> str:
    r"""Return text in which all that a terminal would obey instead of show is written as its escape.

    Example:
        >>> print(printable("red \x1b[31m\nand back"))
        red \x1b[31m\nand back
    """
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


def carried_arms(saved: Sequence[str], own: Sequence[str]) -> list[int | None]:
    """Return, for every task of now, its arm in the checkpoint; ``None`` for a new one.

    Example:
        >>> carried_arms(["a", "b"], ["b", "c"])
        [1, None]
    """
    before = {name: arm for arm, name in enumerate(saved)}
    return [before.get(name) for name in own]


def check_names(tasks: Iterable[str]) -> tuple[str, ...]:
    """Return the task names as a tuple, or raise if they are not unique, non-empty strings."""
    if isinstance(tasks, str):
        raise TypeError(f"tasks must be a sequence of names, got the single string {tasks!r}")
    if not isinstance(tasks, Iterable):
        raise TypeError(f"tasks must be a sequence of names, got {tasks!r}")
    if isinstance(tasks, (set, frozenset)):
        raise TypeError("tasks must be a sequence of names, got a set, whose order differs between processes")
    names = tuple(tasks)
    if not names:
        raise ValueError("a curriculum needs at least one task, got none")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"task names must be strings, got {name!r} ({type(name).__name__}): use str({name!r})")
        if not name:
            raise ValueError("a task name must not be empty")
    if len(set(names)) < len(names):
        twice = next(name for position, name in enumerate(names) if name in names[:position])
        raise ValueError(f"task names must be unique, {twice!r} is given twice")
    return names
