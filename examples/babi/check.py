"""Are the generators right? Every question is answered a second time, by a solver that reads the text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

from examples.babi.generators import GENERATORS
from examples.babi.samples import Sample
from examples.babi.solvers import SOLVERS


@dataclass(frozen=True)
class Report:
    """What the samples of one type look like, and what the solver made of them.

    Attributes:
        wrong: samples that the solver answered otherwise, or could not read.
        sentences: mean length of a story.
        support: mean number of supporting facts.
        majority: the most frequent answer.
        majority_share: of all answers.
        answers: number of distinct answers.
    """

    wrong: tuple[Sample, ...]
    sentences: float
    support: float
    majority: str
    majority_share: float
    answers: int


def agrees(name: str, sample: Sample) -> bool:
    """Return whether the solver of a type finds the answer of a sample; one that it cannot read is a disagreement."""
    try:
        return SOLVERS[name](sample.story, sample.question) == sample.answer
    except (ValueError, LookupError, StopIteration):
        return False


def check(name: str, questions: int, seed: int = 0) -> Report:
    """Generate ``questions`` samples of a type and solve them.

    Raises:
        ValueError: there is no such type, or ``questions`` is below 1.
    """
    if name not in GENERATORS:
        raise ValueError(f"There is no type {name!r}; allowed are: {', '.join(GENERATORS)}.")
    if questions < 1:
        raise ValueError(f"questions is {questions}, at least 1 is needed.")
    random = Random(f"{name} {seed} check")
    samples = [GENERATORS[name](random) for _ in range(questions)]
    counts = Counter(sample.answer for sample in samples)
    ((majority, count),) = counts.most_common(1)
    return Report(
        wrong=tuple(sample for sample in samples if not agrees(name, sample)),
        sentences=sum(len(sample.story) for sample in samples) / questions,
        support=sum(len(sample.support) for sample in samples) / questions,
        majority=majority,
        majority_share=count / questions,
        answers=len(counts),
    )
