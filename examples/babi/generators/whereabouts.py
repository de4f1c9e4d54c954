"""Types 9 to 14: negation, indefinite knowledge, references to people, and times."""

from __future__ import annotations

from random import Random

from examples.babi.generators.scene import MOVES, PEOPLE, PLACES, upper
from examples.babi.samples import Sample

QUESTIONS = 5
VISITORS = ("Bill", "Fred", "Julie", "Mary")
TOWN = ("bedroom", "cinema", "kitchen", "office", "park", "school")
TIMES = ("yesterday", "this morning", "this afternoon", "this evening")
PRONOUNS = {"Daniel": "he", "John": "he", "Mary": "she", "Sandra": "she"}
THEN = ("after that", "afterwards", "following that", "then")


def simple_negation(random: Random) -> Sample:
    """Type 9. Moves, statements and negated statements; whether somebody is at a place.

    A question after a negated statement asks about the place that it excludes: every question has an answer.
    """
    story: list[str] = []
    place = {person: random.choice(PLACES) for person in PEOPLE}
    told: dict[str, tuple[str, bool, int]] = {}
    been: set[tuple[str, str]] = set()
    for index in range(2 * random.randint(1, QUESTIONS)):
        person = random.choice(PEOPLE)
        kind = random.randrange(4)
        if kind < 2:
            place[person] = random.choice([other for other in PLACES if other != place[person]])
            story.append(f"{person} {random.choice(MOVES)} the {place[person]}.")
        elif kind == 2:
            story.append(f"{person} is in the {place[person]}.")
        else:
            absent = random.choice([other for other in PLACES if other != place[person]])
            words = random.choice(("is not", "is no longer")) if (person, absent) in been else "is not"
            story.append(f"{person} {words} in the {absent}.")
            told[person] = (absent, False, index)
            continue
        told[person] = (place[person], True, index)
        been.add((person, place[person]))
    person = random.choice(sorted(told))
    asked, answer, index = told[person]
    if answer and random.random() < 0.5:
        asked, answer = random.choice([other for other in PLACES if other != asked]), False
    return Sample(tuple(story), f"Is {person} in the {asked}?", "yes" if answer else "no", (index,))


def indefinite_knowledge(random: Random) -> Sample:
    """Type 10. As type 9 with "either ... or ..." in place of negation: the answer can be maybe.

    The last statement about a person counts. Half of the questions ask about a place that it names.
    """
    story: list[str] = []
    told: dict[str, tuple[tuple[str, ...], int]] = {}
    for index in range(2 * random.randint(1, QUESTIONS)):
        person = random.choice(VISITORS)
        last = told[person][0] if person in told else ()
        first, second = random.sample([place for place in TOWN if place not in last], 2)
        kind = random.randrange(3)
        if kind == 0:
            story.append(f"{person} {random.choice(MOVES)} the {first}.")
        elif kind == 1:
            story.append(f"{person} is in the {first}.")
        else:
            story.append(f"{person} is either in the {first} or the {second}.")
        told[person] = ((first, second) if kind == 2 else (first,), index)
    person = random.choice(sorted(told))
    places, index = told[person]
    named = random.random() < 0.5
    asked = random.choice([place for place in TOWN if (place in places) == named])
    answer = "no" if not named else "yes" if len(places) == 1 else "maybe"
    return Sample(tuple(story), f"Is {person} in the {asked}?", answer, (index,))


def basic_coreference(random: Random) -> Sample:
    """Type 11. "Mary went to the office. Then she moved to the garden."; where the person is."""
    story: list[str] = []
    for _ in range(random.randint(1, QUESTIONS)):
        person = random.choice(PEOPLE)
        first, second = random.sample(PLACES, 2)
        story += [_goes(random, person, first), _goes(random, f"{random.choice(THEN)} {PRONOUNS[person]}", second)]
    return Sample(tuple(story), f"Where is {person}?", second, (len(story) - 2, len(story) - 1))


def conjunction(random: Random) -> Sample:
    """Type 12. "Mary and John went to the office."; where somebody of the last two pairs is."""
    story: list[str] = []
    told: dict[str, tuple[str, int]] = {}
    for index in range(2 * random.randint(1, QUESTIONS)):
        pair = random.sample(PEOPLE, 2)
        if index % 2 == 0:
            places = random.sample(PLACES, 2)
            asked: list[str] = []
        story.append(_goes(random, " and ".join(pair), places[index % 2]))
        told |= dict.fromkeys(pair, (places[index % 2], index))
        asked += pair
    person = random.choice(asked)
    place, index = told[person]
    return Sample(tuple(story), f"Where is {person}?", place, (index,))


def compound_coreference(random: Random) -> Sample:
    """Type 13. "Mary and John went to the office. Then they moved to the garden."; where one of the two is."""
    story: list[str] = []
    for _ in range(random.randint(1, QUESTIONS)):
        pair = random.sample(PEOPLE, 2)
        first, second = random.sample(PLACES, 2)
        story += [_goes(random, " and ".join(pair), first), _goes(random, f"{random.choice(THEN)} they", second)]
    return Sample(tuple(story), f"Where is {random.choice(pair)}?", second, (len(story) - 2, len(story) - 1))


def time_reasoning(random: Random) -> Sample:
    """Type 14. Moves with their times, told in any order; where somebody was before a place.

    Nobody is at one place twice, or at two places at one time. Stories have 4, 6, 8, 10 or 12 sentences.
    """
    # Somebody is named twice in the first four sentences, so that a question is possible.
    person = random.choice(VISITORS)
    steps = list(zip([person, person], random.sample(range(4), 2), random.sample(TOWN, 2), strict=True))
    length = 2 + 2 * random.randint(1, QUESTIONS)
    while len(steps) < length:
        step = (random.choice(VISITORS), random.randrange(4), random.choice(TOWN))
        if all(step[0] != other[0] or (step[1] != other[1] and step[2] != other[2]) for other in steps):
            steps.append(step)
    order = random.sample(range(4), 4) + list(range(4, length))
    steps = [steps[index] for index in order]
    story = []
    for visitor, time, place in steps:
        going = f"{visitor} {random.choice(MOVES)} the {place}"
        story.append(upper(random.choice((f"{going} {TIMES[time]}", f"{TIMES[time]} {going}"))) + ".")
    visits: dict[str, list[tuple[int, str, int]]] = {visitor: [] for visitor in VISITORS}
    for index, (visitor, time, place) in enumerate(steps):
        visits[visitor].append((time, place, index))
    asked = random.choice([visitor for visitor in VISITORS if len(visits[visitor]) > 1])
    ordered = sorted(visits[asked])
    later = random.randrange(1, len(ordered))
    question = f"Where was {asked} before the {ordered[later][1]}?"
    support = sorted((ordered[later - 1][2], ordered[later][2]))
    return Sample(tuple(story), question, ordered[later - 1][1], tuple(support))


def _goes(random: Random, who: str, place: str) -> str:
    return f"{upper(who)} {random.choice(MOVES)} the {place}."
