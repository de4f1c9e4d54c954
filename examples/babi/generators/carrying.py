"""Types 1, 2, 3, 5, 6, 7 and 8: who is where, and who carries what."""

from __future__ import annotations

from random import Random

from examples.babi.generators.scene import GIVERS, OBJECTS, PLACES, Scene
from examples.babi.samples import Sample

LONGEST = 32
"""Sentences in the longest story. A story that would be longer is drawn anew, which happens to 6, 33 and 2 % of those
of types 2, 3 and 5, and to few of types 7 and 8."""

QUESTIONS = 5
"""Questions in a story of the original files. A sample asks one of them: the story ends there."""

NUMBERS = ("none", "one", "two", "three")


def single_supporting_fact(random: Random) -> Sample:
    """Type 1. Two moves before each question; where somebody is."""
    scene, person = _wander(random)
    return Sample(tuple(scene.story), f"Where is {person}?", scene.place[person], (scene.placed[person],))


def yes_no_questions(random: Random) -> Sample:
    """Type 6. As type 1; whether somebody is at a place, half of the time yes."""
    scene, person = _wander(random)
    yes = random.random() < 0.5
    place = scene.place[person] if yes else scene.other_place(scene.place[person])
    question = f"Is {person} in the {place}?"
    return Sample(tuple(scene.story), question, "yes" if yes else "no", (scene.placed[person],))


def two_supporting_facts(random: Random) -> Sample:
    """Type 2. Where an object is: who handled it last, and where that person is or was then."""
    while True:
        scene, questions, since = Scene(random), random.randint(1, QUESTIONS), 0
        while len(scene.story) < LONGEST:
            _act(scene)
            since += 1
            if since < 3 or not scene.known or random.random() < 0.5:
                continue
            questions, since = questions - 1, 0
            if not questions:
                thing = random.choice(sorted(scene.known))
                place, support = scene.known[thing]
                return Sample(tuple(scene.story), f"Where is the {thing}?", place, tuple(sorted(support)))


def three_supporting_facts(random: Random) -> Sample:
    """Type 3. Where an object was before it came to the place where it was last."""
    while True:
        scene, questions, since = Scene(random), random.randint(1, QUESTIONS), 0
        history: dict[str, list[tuple[str, tuple[int, ...]]]] = {thing: [] for thing in OBJECTS}
        while len(scene.story) < LONGEST:
            _act(scene)
            since += 1
            for thing, (place, support) in scene.known.items():
                if not history[thing] or history[thing][-1][0] != place:
                    history[thing].append((place, support))
            if since < 3 or random.random() < 0.5:
                continue
            # Two places of one holder rest on three sentences; a change of the holder between them would need four.
            options = [(thing, told[-2], told[-1]) for thing, told in history.items() if len(told) > 1]
            options = [option for option in options if len({*option[1][1], *option[2][1]}) == 3]
            if not options:
                continue
            questions, since = questions - 1, 0
            if not questions:
                thing, (before, first), (after, second) = random.choice(options)
                question = f"Where was the {thing} before the {after}?"
                return Sample(tuple(scene.story), question, before, tuple(sorted({*first, *second})))


def three_arg_relations(random: Random) -> Sample:
    """Type 5. Who gave what to whom, asked about the last time that something was given."""
    while True:
        scene, questions, since, last = Scene(random, GIVERS), random.randint(1, QUESTIONS), 0, None
        while len(scene.story) < LONGEST:
            kind, before = random.randrange(3), len(scene.story)
            if kind == 0:
                scene.move()
            elif kind == 1:
                scene.take()
            elif given := scene.give():
                last = (*given, before)
            since += len(scene.story) - before
            if since < 3 or last is None or random.random() < 0.5:
                continue
            questions, since = questions - 1, 0
            if not questions:
                giver, thing, receiver, index = last
                question, answer = random.choice(
                    [
                        (f"What did {giver} give to {receiver}?", thing),
                        (f"Who did {giver} give the {thing} to?", receiver),
                        (f"Who gave the {thing} to {receiver}?", giver),
                        (f"Who gave the {thing}?", giver),
                        (f"Who received the {thing}?", receiver),
                    ]
                )
                return Sample(tuple(scene.story), question, answer, (index,))


def counting(random: Random) -> Sample:
    """Type 7. How many objects somebody carries."""
    scene, person, support = _trade(random)
    count = sum(holder == person for holder in scene.holder.values())
    return Sample(tuple(scene.story), f"How many objects is {person} carrying?", NUMBERS[count], support)


def lists_sets(random: Random) -> Sample:
    """Type 8. Which objects somebody carries, in alphabetical order."""
    scene, person, support = _trade(random)
    things = sorted(thing for thing, holder in scene.holder.items() if holder == person)
    return Sample(tuple(scene.story), f"What is {person} carrying?", ",".join(things) or "nothing", support)


def _wander(random: Random) -> tuple[Scene, str]:
    scene = Scene(random)
    for _ in range(2 * random.randint(1, QUESTIONS)):
        scene.move()
    return scene, random.choice(sorted(scene.placed))


def _act(scene: Scene) -> None:
    """Let somebody move, with probability 0.6, or take or drop something, where that is possible."""
    chance = scene.random.random()
    if chance < 0.6 or (scene.take() if chance < 0.8 else scene.drop()) is None:
        scene.move()


def _trade(random: Random) -> tuple[Scene, str, tuple[int, ...]]:
    """Moves, taking, dropping and giving; then somebody who has handled an object, and the sentences that tell of it.

    The first question comes when somebody has handled an object, the others follow after two sentences each. All
    objects start at one place, and the number that is asked for is drawn from those that occur: otherwise hardly
    anybody asked would carry two objects.
    """
    while True:
        scene, later = Scene(random), 2 * random.randrange(QUESTIONS)
        scene.lies = dict.fromkeys(OBJECTS, random.choice(PLACES))
        told: dict[str, list[int]] = {}
        while len(scene.story) < LONGEST:
            chance, index = random.random(), len(scene.story)
            if chance < 0.5 and (person := scene.take() if chance < 0.4 else scene.drop()):
                told.setdefault(person, []).append(index)
            elif 0.5 <= chance < 0.65 and (given := scene.give()):
                for person in (given[0], given[2]):
                    told.setdefault(person, []).append(index)
            else:
                scene.move()
            if not told or index == 0:
                continue
            if later == 0:
                held = {person: list(scene.holder.values()).count(person) for person in sorted(told)}
                count = random.choice(sorted(set(held.values())))
                person = random.choice([person for person in held if held[person] == count])
                return scene, person, tuple(told[person])
            later -= 1
