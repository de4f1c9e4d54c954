"""Types 15, 16 and 20: kinds of animals, their fears and colours, and why people act."""

from __future__ import annotations

from collections.abc import Sequence

from examples.babi.solvers.reading import read

SENTENCES = {
    "fear": r"(\w+) are afraid of (\w+)",
    "kind": r"(\w+) is an? (\w+)",
    "state": r"(\w+) is (\w+)",
    "go": r"(\w+) (?:moved|went back|went|journeyed|travell?ed) to the (\w+)",
    "take": r"(\w+) (?:got|grabbed|took|picked up) the (\w+)(?: there)?",
}
QUESTIONS = {
    "fear": r"what is (\w+) afraid of",
    "color": r"what color is (\w+)",
    "why": r"why did (\w+) (?:go to|get) the \w+",
    "goal": r"where will (\w+) go",
}
SINGULAR = {"wolves": "wolf", "mice": "mouse", "cats": "cat", "sheep": "sheep"}
GOALS = {"hungry": "kitchen", "thirsty": "kitchen", "tired": "bedroom", "bored": "garden"}


def solve(story: Sequence[str], question: str) -> str:
    """Answer what somebody is afraid of, their colour, their goal or their motive."""
    facts: dict[str, dict[str, str]] = {kind: {} for kind in SENTENCES}
    for sentence in story:
        kind, (subject, value) = read(sentence, SENTENCES)
        facts[kind][subject] = value
    asked, (person,) = read(question, QUESTIONS)
    if asked == "fear":
        fears = {SINGULAR[animals]: SINGULAR[feared] for animals, feared in facts["fear"].items()}
        return fears[facts["kind"][person]]
    if asked == "color":
        alike = [other for other, kind in facts["kind"].items() if kind == facts["kind"][person]]
        (colour,) = {facts["state"][other] for other in alike if other in facts["state"]}
        return colour
    state = facts["state"][person]
    return state if asked == "why" else GOALS[state]
