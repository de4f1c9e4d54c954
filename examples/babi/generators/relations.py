"""Types 4, 17, 18 and 19: directions, positions, sizes and paths."""

from __future__ import annotations

from itertools import combinations
from random import Random

from examples.babi.generators.scene import PLACES
from examples.babi.samples import Sample

COMPASS = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}
SIDES = {"above": (0, 1), "below": (0, -1), "to the right of": (1, 0), "to the left of": (-1, 0)}
OPPOSITE = {
    "north": "south",
    "south": "north",
    "east": "west",
    "west": "east",
    "above": "below",
    "below": "above",
    "to the left of": "to the right of",
    "to the right of": "to the left of",
}
COLOURS = ("blue", "pink", "red", "yellow")
SHAPES = ("rectangle", "sphere", "square", "triangle")
CONTAINERS = ("box", "chest", "container", "suitcase")


def two_arg_relations(random: Random) -> Sample:
    """Type 4. Three places in a row; which is next to which, on which side."""
    first, middle, last = random.sample(PLACES, 3)
    direction = random.choice(sorted(COMPASS))
    facts = [_related(random, first, direction, middle, "of the"), _related(random, middle, direction, last, "of the")]
    asked = random.randrange(2)
    left, right = ((first, middle), (middle, last))[asked]
    question, answer = random.choice(
        [
            (f"What is {direction} of the {right}?", left),
            (f"What is the {left} {direction} of?", right),
            (f"What is {OPPOSITE[direction]} of the {left}?", right),
            (f"What is the {right} {OPPOSITE[direction]} of?", left),
        ]
    )
    swap = random.randrange(2)
    return Sample(tuple(facts[::-1] if swap else facts), question, answer, (asked ^ swap,))


def positional_reasoning(random: Random) -> Sample:
    """Type 17. Three shapes on a grid, each next to the one before; whether one is on a side of another."""
    while True:
        shapes = random.sample([*(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES), *SHAPES], 3)
        kinds = [shape.split()[-1] for shape in shapes]
        # A shape without a colour must be the only one of its kind: "the square" would mean two things otherwise.
        if all(kinds.count(kind) == 1 for kind, shape in zip(kinds, shapes, strict=True) if kind == shape):
            break
    cells, story = [(0, 0)], []
    while len(cells) < 3:
        side = random.choice(sorted(SIDES))
        cell = _step(cells[-1], SIDES[side])
        if cell not in cells:
            story.append(_related(random, shapes[len(cells)], side, shapes[len(cells) - 1], "the"))
            cells.append(cell)
    one, two = random.sample(range(3), 2)
    offset = (cells[one][0] - cells[two][0], cells[one][1] - cells[two][1])
    true = [side for side, step in SIDES.items() if offset[0] * step[0] + offset[1] * step[1] > 0]
    yes = random.random() < 0.5
    side = random.choice(true)
    question = f"Is the {shapes[one]} {side if yes else OPPOSITE[side]} the {shapes[two]}?"
    return Sample(tuple(story), question, "yes" if yes else "no", (0, 1))


def size_reasoning(random: Random) -> Sample:
    """Type 18. Which of two things is larger, from two statements out of at most nine."""
    things = [*random.sample(CONTAINERS, 4), "box of chocolates", "chocolate"]  # the largest first
    chain = sorted(random.sample(range(6), 3))
    told = [(chain[0], chain[1]), (chain[1], chain[2])]
    rest = [pair for pair in combinations(range(6), 2) if pair not in told]
    random.shuffle(rest)
    length = 2 + random.randint(2, 7)
    for pair in rest:
        if len(told) < length and _two_steps([*told, pair]):
            told.append(pair)
    random.shuffle(told)
    larger, middle, smaller = random.choice(_two_steps(told))
    story = [
        random.choice(
            (f"The {things[a]} is bigger than the {things[b]}.", f"The {things[b]} fits inside the {things[a]}.")
        )
        for a, b in told
    ]
    one, two = things[larger], things[smaller]
    question, answer = random.choice(
        [
            (f"Is the {one} bigger than the {two}?", "yes"),
            (f"Is the {two} bigger than the {one}?", "no"),
            (f"Does the {two} fit in the {one}?", "yes"),
            (f"Does the {one} fit in the {two}?", "no"),
        ]
    )
    support = sorted((told.index((larger, middle)), told.index((middle, smaller))))
    return Sample(tuple(story), question, answer, tuple(support))


def path_finding(random: Random) -> Sample:
    """Type 19. Six places on a grid, five statements; the two steps from one place to another, as ``s,w``."""
    places = random.sample(PLACES, 6)
    cells = [(0, 0)]
    facts: list[str] = []
    path: list[str] = []
    while len(cells) < 6:
        on_path = len(cells) < 3
        origin = len(cells) - 1 if on_path else random.randrange(len(cells))
        direction = random.choice(sorted(COMPASS))
        cell = _step(cells[origin], COMPASS[direction])
        # One neighbour only: the map stays a tree, and the path the only one.
        if cell in cells or sum(_step(cell, step) in cells for step in COMPASS.values()) > 1:
            continue
        facts.append(_related(random, places[len(cells)], direction, places[origin], "of the"))
        cells.append(cell)
        if on_path:
            path.append(direction[0])
    order = random.sample(range(5), 5)
    question = f"How do you go from the {places[0]} to the {places[2]}?"
    support = tuple(sorted((order.index(0), order.index(1))))
    return Sample(tuple(facts[index] for index in order), question, ",".join(path), support)


def _related(random: Random, one: str, relation: str, two: str, link: str) -> str:
    if random.random() < 0.5:
        one, relation, two = two, OPPOSITE[relation], one
    return f"The {one} is {relation} {link} {two}."


def _step(cell: tuple[int, int], step: tuple[int, int]) -> tuple[int, int]:
    return cell[0] + step[0], cell[1] + step[1]


def _two_steps(told: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return larger, middle and smaller of all pairs that follow from two statements and were not told themselves."""
    found: dict[tuple[int, int], tuple[int, int, int]] = {}
    for a, b in told:
        for c, d in told:
            if b == c and (a, d) not in told:
                found.setdefault((a, d), (a, b, d))
    return list(found.values())
