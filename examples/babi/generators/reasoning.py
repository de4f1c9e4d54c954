"""Types 15, 16 and 20: deduction, induction and motivations."""

from __future__ import annotations

from random import Random

from examples.babi.generators.scene import MOVES, TAKES
from examples.babi.samples import Sample

ANIMALS = {"cat": "cats", "mouse": "mice", "sheep": "sheep", "wolf": "wolves"}
OWNERS = ("Emily", "Gertrude", "Jessica", "Winona")
KINDS = ("frog", "lion", "rhino", "swan")
COLOURS = ("gray", "green", "white", "yellow")
NAMES = ("Bernhard", "Brian", "Greg", "Julius", "Lily")
AGENTS = ("Antoine", "Jason", "Sumit", "Yann")
MOTIVES = {
    "bored": ("garden", "football"),
    "hungry": ("kitchen", "apple"),
    "thirsty": ("kitchen", "milk"),
    "tired": ("bedroom", "pajamas"),
}


def basic_deduction(random: Random) -> Sample:
    """Type 15. "Wolves are afraid of mice. Gertrude is a wolf."; what Gertrude is afraid of."""
    animals = random.sample(sorted(ANIMALS), 4)
    fears = {animal: random.choice([other for other in animals if other != animal]) for animal in animals}
    facts = {animal: f"{ANIMALS[animal].capitalize()} are afraid of {ANIMALS[fears[animal]]}." for animal in animals}
    facts |= {owner: f"{owner} is a {animal}." for owner, animal in zip(OWNERS, animals, strict=True)}
    order = random.sample(list(facts), 8)
    asked = random.randrange(4)
    support = sorted((order.index(OWNERS[asked]), order.index(animals[asked])))
    question = f"What is {OWNERS[asked].lower()} afraid of?"
    return Sample(tuple(facts[key] for key in order), question, fears[animals[asked]], tuple(support))


def basic_induction(random: Random) -> Sample:
    """Type 16. "Lily is a swan. Lily is white. Greg is a swan."; what color Greg is."""
    asked = random.randrange(5)
    kinds = [random.choice(KINDS) for _ in NAMES]
    while kinds.count(kinds[asked]) < 2:
        kinds[asked] = random.choice(KINDS)
    colours = dict(zip(KINDS, random.sample(COLOURS, 4), strict=True))
    facts = [(person, f"{NAMES[person]} is a {kinds[person]}.") for person in range(5)]
    facts += [(person, f"{NAMES[person]} is {colours[kinds[person]]}.") for person in range(5) if person != asked]
    random.shuffle(facts)
    support = tuple(index for index, (person, _) in enumerate(facts) if kinds[person] == kinds[asked])
    story = tuple(sentence for _, sentence in facts)
    return Sample(story, f"What color is {NAMES[asked]}?", colours[kinds[asked]], support)


def agents_motivations(random: Random) -> Sample:
    """Type 20. Somebody is tired, goes to the bedroom, gets the pajamas; where they will go, or why they did that."""
    motives = dict(zip(AGENTS, random.sample(sorted(MOTIVES), 4), strict=True))
    story: list[str] = []
    stated: dict[str, int] = {}
    done = dict.fromkeys(AGENTS, 0)
    for _ in range(random.randint(1, 12)):
        agent = random.choice([agent for agent in AGENTS if done[agent] < 3])
        place, thing = MOTIVES[motives[agent]]
        done[agent] += 1
        if done[agent] == 1:
            stated[agent] = len(story)
            story.append(f"{agent} is {motives[agent]}.")
            question, answer = f"Where will {agent.lower()} go?", place
        elif done[agent] == 2:
            story.append(f"{agent} {random.choice(MOVES)} the {place}.")
            question, answer = f"Why did {agent.lower()} go to the {place}?", motives[agent]
        else:
            story.append(f"{agent} {random.choice(TAKES)} the {thing}{random.choice(('', ' there'))}.")
            question, answer = f"Why did {agent.lower()} get the {thing}?", motives[agent]
    return Sample(tuple(story), question, answer, (stated[agent],))
