"""One question with its story, and the original text format of the bAbI files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """A story, a question about it, and the answer.

    Attributes:
        story: sentences, in the order in which they are read.
        question: one sentence.
        answer: one token; a list or a path is joined by commas, as in the original files (``apple,milk``, ``s,w``).
        support: indices into ``story`` of the sentences that prove the answer, ascending, from 0.
    """

    story: tuple[str, ...]
    question: str
    answer: str
    support: tuple[int, ...]

    def text(self) -> str:
        """Return story and question as one string, the identity of the sample when data are split."""
        return "\n".join((*self.story, self.question))


def load(path: str | Path) -> list[Sample]:
    """Read a file in the original format: one sample per question.

    A line that is numbered 1 starts a story. A line with tabs is a question, its answer and the numbers of its
    supporting lines. The story of a question is every sentence above it in its story, without earlier questions.

    Args:
        path: a text file, such as ``qa1_single-supporting-fact_train.txt``.

    Raises:
        ValueError: a line does not follow the format; the message names the line and says what is expected.
    """
    samples: list[Sample] = []
    sentences: dict[int, str] = {}
    previous = 0
    for position, line in enumerate(Path(path).read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {position}"
        number, text = _numbered(line, where)
        if number == 1:
            sentences = {}
        elif number != previous + 1:
            raise ValueError(f"{where}: the number is {number}, expected {previous + 1}, or 1 for a new story.")
        previous = number
        if "\t" in text:
            samples.append(_question(text, sentences, where))
        else:
            sentences[number] = text.strip()
    if not samples:
        raise ValueError(f"{path} holds no question. A question is 'number question<tab>answer<tab>supporting lines'.")
    return samples


def write(samples: Iterable[Sample], path: str | Path) -> None:
    """Write samples in the original format, each as a story of its own with one question at its end.

    ``load`` returns the same samples.

    Raises:
        ValueError: a text is empty, starts or ends with a space, or holds a tab or the end of a line, or a supporting
            fact is not in the story; nothing is written.
    """
    lines: list[str] = []
    for sample in samples:
        _check_writable(sample)
        lines += [f"{number} {sentence}" for number, sentence in enumerate(sample.story, 1)]
        support = " ".join(str(index + 1) for index in sample.support)
        lines.append(f"{len(sample.story) + 1} {sample.question}\t{sample.answer}\t{support}")
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _check_writable(sample: Sample) -> None:
    for text in (*sample.story, sample.question, sample.answer):
        if not text or text != text.strip() or any(sign in text for sign in "\t\n\r"):
            raise ValueError(
                f"{text!r} cannot be written: a text needs a letter, no space at its ends, and no tab or end of a line."
            )
    if sorted({*sample.support}) != [*sample.support] or not {*sample.support} <= {*range(len(sample.story))}:
        raise ValueError(
            f"The supporting facts are {sample.support}; allowed are indices below {len(sample.story)}, ascending."
        )


def _numbered(line: str, where: str) -> tuple[int, str]:
    number, _, text = line.strip(" ").partition(" ")
    if not (number.isascii() and number.isdecimal()) or not text.strip():
        raise ValueError(f"{where}: {line!r} does not start with a number and a text, such as '1 Mary moved ...'.")
    return int(number), text


def _question(text: str, sentences: dict[int, str], where: str) -> Sample:
    fields = text.split("\t")
    if len(fields) != 3 or not fields[0].strip() or not fields[1].strip():
        raise ValueError(f"{where}: a question is 'question<tab>answer<tab>supporting lines', got {text!r}.")
    indices = {number: index for index, number in enumerate(sentences)}
    try:
        support = sorted({indices[int(number)] for number in fields[2].split()})
    except (KeyError, ValueError):
        raise ValueError(
            f"{where}: the supporting lines are {fields[2]!r}; allowed are the numbers of sentences above the "
            f"question: {', '.join(map(str, indices)) or 'there are none'}."
        ) from None
    return Sample(tuple(sentences.values()), fields[0].strip(), fields[1].strip(), tuple(support))
