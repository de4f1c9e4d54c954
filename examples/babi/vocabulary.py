"""Words and answers as indices, stories as tensors of one shape for all types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from examples.babi.samples import Sample

SENTENCES = 32
"""Rows of a story: no generator tells a longer one."""

WORDS = 12
"""Columns of a sentence or a question: the longest that the generators make has 11 words."""


@lru_cache(maxsize=1 << 16)
def tokens(sentence: str) -> tuple[str, ...]:
    """Return the words in lower case, without digits and punctuation."""
    return tuple(re.findall(r"[^\W\d_]+", sentence.lower()))


@dataclass(frozen=True)
class Vocabulary:
    """Words and answers in a fixed order.

    Attributes:
        words: index ``i`` stands for ``words[i - 1]``; 0 is the padding.
        answers: index ``i`` stands for ``answers[i]``.
    """

    words: tuple[str, ...]
    answers: tuple[str, ...]
    _rows: dict[tuple[str, int], tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def word_index(self) -> dict[str, int]:
        """Return the index of every word."""
        return {word: index for index, word in enumerate(self.words, 1)}

    @cached_property
    def answer_index(self) -> dict[str, int]:
        """Return the index of every answer."""
        return {answer: index for index, answer in enumerate(self.answers)}

    def extended(self, samples: Iterable[Sample]) -> Vocabulary:
        """Return a vocabulary with what is new in ``samples`` at its end; indices so far stay as they are.

        A model for it is ``Model(vocabulary=...)``.
        """
        samples = list(samples)
        words = {word for sample in samples for text in (*sample.story, sample.question) for word in tokens(text)}
        answers = {sample.answer for sample in samples}
        return Vocabulary(
            (*self.words, *sorted(words - set(self.words))), (*self.answers, *sorted(answers - set(self.answers)))
        )

    def row(self, sentence: str, words: int = WORDS) -> tuple[int, ...]:
        """Return the indices of one sentence, followed by padding.

        Raises:
            ValueError: a word is not in the vocabulary, or the sentence has no words or more than ``words``.
        """
        found = self._rows.get((sentence, words))
        if found is None:
            parts = tokens(sentence)
            if not parts:
                raise ValueError(f"{sentence!r} has no words; it would be taken for padding.")
            if unknown := [part for part in parts if part not in self.word_index]:
                raise ValueError(
                    f"{sentence!r} has words outside the vocabulary: {', '.join(unknown)}. "
                    "Add them with vocabulary.extended(samples), and make the model with that vocabulary."
                )
            if len(parts) > words:
                raise ValueError(f"{sentence!r} has {len(parts)} words, at most {words} fit; give a larger words=.")
            found = (*(self.word_index[part] for part in parts), *(0,) * (words - len(parts)))
            if len(self._rows) < 1 << 16:
                self._rows[sentence, words] = found
        return found


_WORDS = """
a above afraid after afternoon afterwards and antoine apple are back bathroom bedroom before below bernhard
bigger bill blue bored box brian carrying cat cats chest chocolate chocolates cinema color container daniel did
discarded do does down dropped east either emily evening fit fits following football fred frog from garden gave
gertrude get give go got grabbed gray green greg hallway handed he how hungry in inside is jason jeff jessica
john journeyed julie julius kitchen left lily lion longer many mary mice milk morning mouse moved no north not
objects of office or pajamas park passed picked pink put received rectangle red rhino right sandra school she
sheep south sphere square suitcase sumit swan than that the then there they thirsty this tired to took travelled
triangle up was went west what where white who why will winona wolf wolves yann yellow yesterday you
"""

_ANSWERS = """
Bill Fred Jeff Mary apple apple,football apple,football,milk apple,milk bathroom bedroom bored cat cinema e,e
e,n e,s football football,milk garden gray green hallway hungry kitchen maybe milk mouse n,e n,n n,w no none
nothing office one park s,e s,s s,w school sheep thirsty three tired two w,n w,s w,w white wolf yellow yes
"""

VOCABULARY = Vocabulary(tuple(_WORDS.split()), tuple(_ANSWERS.split()))
"""All words and answers of the twenty generators."""


def vectorise(
    sample: Sample,
    vocabulary: Vocabulary = VOCABULARY,
    *,
    sentences: int = SENTENCES,
    words: int = WORDS,
    keep_recent: bool = False,
) -> dict[str, Tensor]:
    """Return a sample as tensors of indices, of one shape for all types.

    Args:
        sample: from a generator or a file.
        vocabulary: has all its words and its answer.
        sentences: rows of the story.
        words: columns of each sentence.
        keep_recent: of a longer story, keep the last ``sentences`` sentences. Stories of the original type 3 have up
            to 228, and what is cut can be needed for the answer: longer stories are refused without this option.

    Returns:
        ``story`` of shape ``(sentences, words)``, with the last sentence in the last row and padding above;
        ``question`` of shape ``(words,)``; ``answer``, a scalar.

    Raises:
        ValueError: something is not in the vocabulary or does not fit.
    """
    if sentences < 1 or words < 1:
        raise ValueError(f"sentences is {sentences} and words is {words}; both must be at least 1.")
    if sample.answer not in vocabulary.answer_index:
        raise ValueError(
            f"The answer {sample.answer!r} is not in the vocabulary. "
            "Add it with vocabulary.extended(samples), and make the model with that vocabulary."
        )
    if len(sample.story) > sentences and not keep_recent:
        raise ValueError(
            f"A story has {len(sample.story)} sentences, at most {sentences} fit. "
            "Give a larger sentences= here and to the model, or keep_recent=True to keep the last ones."
        )
    story = np.zeros((sentences, words), dtype=np.int64)
    recent: Sequence[str] = sample.story[-sentences:]
    if recent:
        story[-len(recent) :] = [vocabulary.row(sentence, words) for sentence in recent]
    return {
        "story": torch.from_numpy(story),
        "question": torch.tensor(vocabulary.row(sample.question, words)),
        "answer": torch.tensor(vocabulary.answer_index[sample.answer]),
    }
