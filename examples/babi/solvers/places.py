"""Types 1 to 3 and 5 to 13: who is where, who carries what, where things have been."""

from __future__ import annotations

from collections.abc import Sequence

from examples.babi.solvers.reading import read

GO = r"(?:moved|went back|went|journeyed|travell?ed) to the (\w+)"
LEAD = r"(?:after that|afterwards|following that|then) "
SENTENCES = {
    "pronoun": rf"{LEAD}(?:he|she|they) {GO}",
    "pair": rf"(\w+) and (\w+) {GO}",
    "move": rf"(\w+) {GO}",
    "take": r"(\w+) (?:got|grabbed|took|picked up) the (\w+)(?: there)?",
    "give": r"(\w+) (?:gave|handed|passed) the (\w+) to (\w+)",
    "drop": r"(\w+) (?:dropped|discarded|left|put down) the (\w+)(?: there)?",
    "either": r"(\w+) is either in the (\w+) or the (\w+)",
    "absent": r"(\w+) is (?:not|no longer) in the (\w+)",
    "at": r"(\w+) is in the (\w+)",
}
QUESTIONS = {
    "before": r"where was the (\w+) before the (\w+)",
    "where thing": r"where is the (\w+)",
    "where": r"where is (\w+)",
    "whether": r"is (\w+) in the (\w+)",
    "count": r"how many objects is (\w+) carrying",
    "list": r"what is (\w+) carrying",
    "gave what": r"what did (\w+) give to (\w+)",
    "gave to": r"who did (\w+) give the (\w+) to",
    "who gave to": r"who gave the (\w+) to (\w+)",
    "who gave": r"who gave the (\w+)",
    "received": r"who received the (\w+)",
}


class Reader:
    """What is known after each sentence.

    Attributes:
        at: from a person to the places where they may be; a negation leaves none, and is noted in ``away``.
        away: from a person to the place where they are said not to be.
        owner: from an object to who carries it.
        trail: from an object to the places where it has been, without repeats in a row.
        gifts: giver, object, receiver, in order.
    """

    def __init__(self) -> None:
        self.at: dict[str, set[str]] = {}
        self.away: dict[str, str] = {}
        self.owner: dict[str, str] = {}
        self.trail: dict[str, list[str]] = {}
        self.gifts: list[tuple[str, str, str]] = []
        self.mentioned: list[str] = []

    def hear(self, sentence: str) -> None:
        """Take in one sentence."""
        kind, words = read(sentence, SENTENCES)
        if kind == "pronoun":
            self._arrive(self.mentioned, words[0])
        elif kind in ("pair", "move", "at"):
            self.mentioned = words[:-1]
            self._arrive(self.mentioned, words[-1])
        elif kind == "either":
            self.at[words[0]] = set(words[1:])
        elif kind == "absent":
            self.at.pop(words[0], None)
            self.away[words[0]] = words[1]
        elif kind == "give":
            self.gifts.append((words[0], words[1], words[2]))
            self.owner[words[1]] = words[2]
        elif kind == "take":
            self.owner[words[1]] = words[0]
            self._leave_trail(words[1], words[0])
        else:
            self._leave_trail(words[1], words[0])
            self.owner.pop(words[1], None)

    def _arrive(self, people: list[str], place: str) -> None:
        for person in people:
            self.at[person] = {place}
            for thing in [thing for thing, owner in self.owner.items() if owner == person]:
                self._leave_trail(thing, person)

    def _leave_trail(self, thing: str, person: str) -> None:
        places = self.at.get(person, set())
        trail = self.trail.setdefault(thing, [])
        if len(places) == 1 and trail[-1:] != [*places]:
            trail.extend(places)

    def carried(self, person: str) -> list[str]:
        """Return what ``person`` carries, in alphabetical order."""
        return sorted(thing for thing, owner in self.owner.items() if owner == person)

    def whether(self, person: str, place: str) -> str:
        """Answer whether ``person`` is at ``place``."""
        if person not in self.at:
            if self.away[person] != place:
                raise ValueError(f"The story does not tell whether {person} is in the {place}.")
            return "no"
        if place not in self.at[person]:
            return "no"
        return "yes" if len(self.at[person]) == 1 else "maybe"

    def gift(self, giver: str | None = None, thing: str | None = None, receiver: str | None = None) -> list[str]:
        """Return giver, object and receiver of the last gift that fits what is given, capitalised as in a text."""
        asked = (giver, thing, receiver)
        fitting = [gift for gift in self.gifts if all(a in (None, b) for a, b in zip(asked, gift, strict=True))]
        who, what, whom = fitting[-1]
        return [who.capitalize(), what, whom.capitalize()]


def solve(story: Sequence[str], question: str) -> str:
    """Answer a question about places and belongings."""
    reader = Reader()
    for sentence in story:
        reader.hear(sentence)
    kind, words = read(question, QUESTIONS)
    if kind == "where":
        (place,) = reader.at[words[0]]
        return place
    if kind == "where thing":
        return reader.trail[words[0]][-1]
    if kind == "before":
        trail = reader.trail[words[0]]
        last = max(index for index, place in enumerate(trail) if place == words[1])
        return trail[last - 1]
    if kind == "whether":
        return reader.whether(words[0], words[1])
    if kind == "count":
        return ("none", "one", "two", "three")[len(reader.carried(words[0]))]
    if kind == "list":
        return ",".join(reader.carried(words[0])) or "nothing"
    if kind == "gave what":
        return reader.gift(giver=words[0], receiver=words[1])[1]
    if kind == "gave to":
        return reader.gift(giver=words[0], thing=words[1])[2]
    if kind == "who gave to":
        return reader.gift(thing=words[0], receiver=words[1])[0]
    return reader.gift(thing=words[0])[0 if kind == "who gave" else 2]
