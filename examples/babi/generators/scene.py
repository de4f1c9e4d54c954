"""People who move between places and carry objects, told sentence by sentence."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

PEOPLE = ("Daniel", "John", "Mary", "Sandra")
GIVERS = ("Bill", "Fred", "Jeff", "Mary")
PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
OBJECTS = ("apple", "football", "milk")
MOVES = ("journeyed to", "moved to", "travelled to", "went back to", "went to")
TAKES = ("got", "grabbed", "picked up", "took")
DROPS = ("discarded", "dropped", "left", "put down")
GIVES = ("gave", "handed", "passed")


def upper(sentence: str) -> str:
    """Return the sentence with a capital first letter and the rest as it is."""
    return sentence[0].upper() + sentence[1:]


class Scene:
    """The state of the world and what has been told of it.

    Everybody and everything starts at a random place of which the reader is told nothing.

    Args:
        random: source of all choices.
        people: who acts.
        places: where they can be.

    Attributes:
        story: sentences so far.
        place: where each person really is.
        placed: index of the sentence that told where a person is; absent before the first.
        holder: who holds an object; absent where nobody does.
        handled: index of the last sentence about an object.
        known: place of an object that the story determines, with the indices that prove it; absent where it does not.
    """

    def __init__(self, random: Random, people: Sequence[str] = PEOPLE, places: Sequence[str] = PLACES) -> None:
        self.random = random
        self.people = people
        self.places = places
        self.story: list[str] = []
        self.place = {person: random.choice(places) for person in people}
        self.placed: dict[str, int] = {}
        self.holder: dict[str, str] = {}
        self.lies = {thing: random.choice(places) for thing in OBJECTS}
        self.handled: dict[str, int] = {}
        self.known: dict[str, tuple[str, tuple[int, ...]]] = {}

    def say(self, sentence: str) -> int:
        """Add a sentence, without its full stop, and return its index."""
        self.story.append(upper(sentence) + ".")
        return len(self.story) - 1

    def other_place(self, place: str) -> str:
        """Return a random place that is not ``place``."""
        return self.random.choice([other for other in self.places if other != place])

    def move(self) -> str:
        """Let a random person go to another place; return who went."""
        person = self.random.choice(self.people)
        self.place[person] = self.other_place(self.place[person])
        self.placed[person] = self.say(f"{person} {self.random.choice(MOVES)} the {self.place[person]}")
        for thing in [thing for thing, holder in self.holder.items() if holder == person]:
            self._locate(thing, person)
        return person

    def take(self) -> str | None:
        """Let somebody take an object that lies where they are; return who did, None where nobody can."""
        options = [
            (person, thing)
            for thing in OBJECTS
            if thing not in self.holder
            for person in self.people
            if self.place[person] == self.lies[thing]
        ]
        if not options:
            return None
        person, thing = self.random.choice(options)
        self.holder[thing] = person
        self._handle(person, TAKES, thing)
        return person

    def drop(self) -> str | None:
        """Let somebody drop an object; return who did, None where nobody holds one."""
        if not self.holder:
            return None
        thing = self.random.choice(list(self.holder))
        person = self.holder.pop(thing)
        self.lies[thing] = self.place[person]
        self._handle(person, DROPS, thing)
        return person

    def give(self) -> tuple[str, str, str] | None:
        """Let somebody hand an object to somebody at the same place; return giver, object, receiver, or None."""
        options = [
            (giver, thing, receiver)
            for thing, giver in self.holder.items()
            for receiver in self.people
            if receiver != giver and self.place[receiver] == self.place[giver]
        ]
        if not options:
            return None
        giver, thing, receiver = self.random.choice(options)
        self.handled[thing] = self.say(f"{giver} {self.random.choice(GIVES)} the {thing} to {receiver}")
        self.holder[thing] = receiver
        return giver, thing, receiver

    def _handle(self, person: str, verbs: Sequence[str], thing: str) -> None:
        there = self.random.choice(("", " there"))
        self.handled[thing] = self.say(f"{person} {self.random.choice(verbs)} the {thing}{there}")
        self._locate(thing, person)

    def _locate(self, thing: str, person: str) -> None:
        """Note where ``thing`` is, now that ``person`` has handled or moved it."""
        if person in self.placed:
            self.known[thing] = (self.place[person], (self.handled[thing], self.placed[person]))
        else:
            self.known.pop(thing, None)
