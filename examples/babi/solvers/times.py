"""Type 14: the moves of one person, put in the order of their times."""

from __future__ import annotations

from collections.abc import Sequence

from examples.babi.solvers.reading import read

TIME = r"(yesterday|this morning|this afternoon|this evening)"
GO = r"(\w+) (?:moved|went back|went|journeyed|travell?ed) to the (\w+)"
SENTENCES = {"time first": rf"{TIME} {GO}", "time last": rf"{GO} {TIME}"}
ORDER = ["yesterday", "this morning", "this afternoon", "this evening"]


def solve(story: Sequence[str], question: str) -> str:
    """Answer where somebody was before a place."""
    (person, place) = read(question, {"before": r"where was (\w+) before the (\w+)"})[1]
    visits: dict[int, str] = {}
    for sentence in story:
        kind, words = read(sentence, SENTENCES)
        time, who, where = words if kind == "time first" else (words[2], words[0], words[1])
        if who == person:
            visits[ORDER.index(time)] = where
    route = [visits[time] for time in sorted(visits)]
    return route[route.index(place) - 1]
