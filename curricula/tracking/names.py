"""Task names and numbers made fit to be shown."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence


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
    for place, name in enumerate(short):
        if counts[name] > 1:
            seen[name] += 1
            short[place] = f"{name} #{seen[name]}"
    return short


def counted(count: int, what: str) -> str:
    """Return a number with what it counts.

    Example:
        >>> counted(1, "step"), counted(2000, "step")
        ('1 step', '2,000 steps')
    """
    return f"{count:,} {what}" + "s" * (count != 1)
