"""Task names made fit to be shown."""

from __future__ import annotations

import unicodedata


def shortened(name: str, length: int) -> str:
    r"""Return a task name on one line: no control characters, not too long.

    Args:
        name: any string.
        length: most characters, at least 1.

    Example:
        >>> shortened("two\nlines, and more than anybody would believe", 24)
        'two lines, and more tha…'
    """
    visible = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in name)
    text = " ".join(visible.split()) or "(unnamed)"
    return text if len(text) <= length else text[: length - 1] + "…"
