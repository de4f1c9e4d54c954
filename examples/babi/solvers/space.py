"""Types 4, 17, 18 and 19: coordinates from relations, sizes, and a search for paths."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from examples.babi.solvers.reading import read

STEPS = {
    "north": (0, 1),
    "south": (0, -1),
    "east": (1, 0),
    "west": (-1, 0),
    "above": (0, 1),
    "below": (0, -1),
    "right": (1, 0),
    "left": (-1, 0),
}
LETTERS = {(0, 1): "n", (0, -1): "s", (1, 0): "e", (-1, 0): "w"}
WORD = r"(?:to the )?(north|south|east|west|above|below|left|right)"
RELATION = {"relation": rf"the ([\w ]+?) is {WORD} (?:of )?the ([\w ]+)"}
QUESTIONS = {
    "path": r"how do you go from the (\w+) to the (\w+)",
    "on a side": rf"what is {WORD} of the (\w+)",
    "side of": rf"what is the (\w+) {WORD} of",
    "whether": rf"is the ([\w ]+?) {WORD} (?:of )?the ([\w ]+)",
}
SIZES = {"bigger": r"the ([\w ]+) is bigger than the ([\w ]+)", "fits": r"the ([\w ]+) fits inside the ([\w ]+)"}
SIZE_QUESTIONS = {
    "bigger": r"is the ([\w ]+) bigger than the ([\w ]+)",
    "fits": r"does the ([\w ]+) fit in the ([\w ]+)",
}


def solve(story: Sequence[str], question: str) -> str:
    """Answer a question about directions, positions or a path."""
    links: dict[str, dict[str, tuple[int, int]]] = {}
    for sentence in story:
        one, word, two = read(sentence, RELATION)[1]
        x, y = STEPS[word]
        links.setdefault(two, {})[one] = (x, y)
        links.setdefault(one, {})[two] = (-x, -y)
    kind, words = read(question, QUESTIONS)
    if kind == "path":
        return ",".join(_path(links, *words))
    if kind == "on a side":
        return next(place for place, step in links[words[1]].items() if step == STEPS[words[0]])
    if kind == "side of":
        x, y = STEPS[words[1]]
        return next(place for place, step in links[words[0]].items() if step == (-x, -y))
    one, word, two = words
    path = _path(links, two, one)
    x, y = path.count("e") - path.count("w"), path.count("n") - path.count("s")
    return "yes" if x * STEPS[word][0] + y * STEPS[word][1] > 0 else "no"


def _path(links: dict[str, dict[str, tuple[int, int]]], start: str, end: str) -> list[str]:
    """Return the letters of the shortest path, by breadth-first search."""
    queue: deque[tuple[str, list[str]]] = deque([(start, [])])
    seen = {start}
    while queue:
        place, path = queue.popleft()
        if place == end:
            return path
        for neighbour, step in links[place].items():
            if neighbour not in seen:
                seen.add(neighbour)
                queue.append((neighbour, [*path, LETTERS[step]]))
    raise ValueError(f"The story does not connect {start!r} and {end!r}.")


def solve_sizes(story: Sequence[str], question: str) -> str:
    """Answer which of two things is larger, by following what is larger than what."""
    smaller: dict[str, set[str]] = {}
    for sentence in story:
        kind, (one, two) = read(sentence, SIZES)
        larger, lesser = (one, two) if kind == "bigger" else (two, one)
        smaller.setdefault(larger, set()).add(lesser)
    kind, (one, two) = read(question, SIZE_QUESTIONS)
    larger, lesser = (one, two) if kind == "bigger" else (two, one)
    if lesser in _below(smaller, larger):
        return "yes"
    if larger in _below(smaller, lesser):
        return "no"
    raise ValueError(f"The story does not tell which of {one!r} and {two!r} is larger.")


def _below(smaller: dict[str, set[str]], thing: str) -> set[str]:
    """Return everything that is smaller than ``thing``, directly or through others."""
    return {below for lesser in smaller.get(thing, ()) for below in {lesser, *_below(smaller, lesser)}}
