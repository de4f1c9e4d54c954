"""Task names and numbers made fit to be shown."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Container, Sequence


def shortened(name: str, length: int) -> str:
    r"""Return a task name on one line: no control characters, not too long.

    Long names lose their middle: those of a family differ at the end.

    Args:
        name: any string.
        length: most characters, at least 1.

    Example:
        >>> shortened("two\nlines, and more than anybody would believe", 24)
        'two lines, an…ld believe'
    """
    visible = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in name)
    text = " ".join(visible.split()) or "(unnamed)"
    if len(text) <= length:
        return text
    end = (length - 1) * 9 // 20
    return text[: length - 1 - end].rstrip() + "…" + text[len(text) - end :].lstrip()


def distinct(names: Sequence[str], length: int) -> list[str]:
    """Return the names, shortened; those that look alike then are numbered.

    Args:
        names: any strings.
        length: most characters of each, before its number.

    Example:
        >>> distinct(["one", "two", "two "], 10)
        ['one', 'two #1', 'two #2']
    """
    short = [shortened(name, length) for name in names]
    counts, seen = Counter(short), Counter[str]()
    return [numbered(name, counts, seen) if counts[name] > 1 else name for name in short]


def numbered(name: str, taken: Container[str], seen: Counter[str], form: str = "%s #%d") -> str:
    """Return a name with the next number that makes it none of those that are taken, and count it.

    Example:
        >>> seen = Counter()
        >>> numbered("a", {"a #1"}, seen), numbered("a", {"a #1"}, seen)
        ('a #2', 'a #3')
    """
    while True:
        seen[name] += 1
        text = form % (name, seen[name])
        if text not in taken:
            return text


def unlike(name: str, others: Container[str]) -> str:
    """Return a name of our own for what stands beside tasks, longer by a sign where a task is called so.

    Example:
        >>> unlike("all others", ["a", "b"]), unlike("all others", ["a", "all others"])
        ('all others', 'all others…')
    """
    while name in others:
        name += "…"
    return name


def counted(count: int, what: str) -> str:
    """Return a number with what it counts.

    Example:
        >>> counted(1, "step"), counted(2000, "step")
        ('1 step', '2,000 steps')
    """
    return f"{count:,} {what}" + "s" * (count != 1)
