"""How the solvers read a sentence: the first pattern that matches, and what its groups hold."""

from __future__ import annotations

import re


def read(sentence: str, patterns: dict[str, str]) -> tuple[str, list[str]]:
    """Return the name of the first pattern that matches the whole sentence in lower case, and its groups.

    Full stops and question marks are left out before.

    Raises:
        ValueError: no pattern matches.
    """
    text = sentence.lower().strip().rstrip(".?").strip()
    for name, pattern in patterns.items():
        if match := re.fullmatch(pattern, text):
            return name, [group or "" for group in match.groups()]
    raise ValueError(f"No rule reads {sentence!r}; known are: {', '.join(patterns)}.")
