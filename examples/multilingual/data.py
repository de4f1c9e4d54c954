"""Languages of unequal size, as windows of characters."""

from __future__ import annotations

import functools
import gzip
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

DATA = Path(__file__).with_name("text.tsv.gz")

WINDOW = 64
"""Characters that a sample predicts."""

LANGUAGES: dict[str, tuple[str, int | None]] = {
    "Russian": ("ru", None),
    "French": ("fr", None),
    "Polish": ("pl", None),
    "Spanish": ("es", 8_000),
    "Ukrainian": ("uk", 8_000),
    "Greek": ("el", 8_000),
    "Georgian": ("ka", 4_000),
    "Galician": ("gl", 4_000),
    "Slovak": ("sk", 4_000),
    "Hebrew": ("he", 4_000),
}
"""Name of the task to the code in the data, and the characters that training may see; ``None``: all, about 20,000.

Django has 10,000 to 21,000 characters of each, so the sizes are cut on purpose: three rich languages, three with two
fifths of that, four with a fifth. Of the cut ones, Spanish, Ukrainian, Galician and Slovak have kin among the richer,
while no other task has the script of Greek, Georgian or Hebrew. The held-out text is never cut.
"""


@functools.cache
def corpus() -> dict[str, dict[str, tuple[str, ...]]]:
    """Return per language code the texts under ``"train"`` and ``"held_out"``, whole, in the order of the file."""
    found: dict[str, dict[str, list[str]]] = {}
    with gzip.open(DATA, "rt", encoding="utf-8", newline="\n") as file:
        for line in file:
            code, part, text = line.rstrip("\n").split("\t")
            found.setdefault(code, {"train": [], "held_out": []})[part].append(text)
    return {code: {part: tuple(texts) for part, texts in parts.items()} for code, parts in found.items()}


@functools.cache
def alphabet() -> str:
    """Return all characters of the data in their order, the line feed that ends every text first."""
    texts = (text for parts in corpus().values() for part in parts.values() for text in part)
    return "\n" + "".join(sorted(set().union(*texts)))


@functools.cache
def _positions() -> dict[str, int]:
    return {sign: position for position, sign in enumerate(alphabet())}


def training_texts(name: str) -> tuple[str, ...]:
    """Return the texts that training may see, the same for every seed.

    They are taken evenly from the whole catalogue, until the size of ``LANGUAGES`` is reached.

    Args:
        name: of a task.
    """
    code, size = LANGUAGES[name]
    texts = corpus()[code]["train"]
    if size is None:
        return texts
    order = random.Random(code).sample(range(len(texts)), len(texts))
    lengths = torch.tensor([len(texts[index]) + 1 for index in order]).cumsum(0)
    return tuple(texts[index] for index in sorted(order[: int((lengths <= size).sum())]))


def encode(text: str) -> Tensor:
    """Return the positions of the characters in the alphabet, shape ``(characters,)``.

    Args:
        text: of characters that the data has.

    Raises:
        ValueError: if it has others.
    """
    positions = _positions()
    if unknown := sorted(set(text) - set(positions)):
        raise ValueError(f"the model has no characters {unknown}: it knows the {len(positions)} of {DATA.name}")
    return torch.tensor([positions[sign] for sign in text])


def decode(characters: Tensor) -> str:
    """Return the text of positions in the alphabet, shape ``(characters,)``."""
    return "".join(alphabet()[int(position)] for position in characters)


def windows(texts: Sequence[str], length: int = WINDOW) -> TensorDataset:
    """Join the texts, a line each, and cut them into samples; what is left at the end is dropped.

    Args:
        texts: in the order in which they are joined.
        length: characters that a sample predicts, at least 2.

    Returns:
        Pairs of inputs and targets, each of shape ``(length,)``; the targets are the inputs one character later. Every
        character but the first is a target once.

    Raises:
        ValueError: if the length is too small, or the texts do not fill one window.
    """
    if length < 2:
        raise ValueError(f"length={length}: a window predicts 2 characters or more")
    characters = encode("".join(f"{text}\n" for text in texts))
    count = (len(characters) - 1) // length
    if count == 0:
        raise ValueError(f"{len(characters)} characters do not fill a window of {length} + 1: give more text")
    inputs = characters[: count * length].view(count, length)
    targets = characters[1 : count * length + 1].view(count, length)
    return TensorDataset(inputs, targets)


def tasks(seed: int, *, length: int = WINDOW) -> dict[str, TensorDataset]:
    """Return a map-style dataset per language; its length is proportional to the size of the language.

    The texts of a language are the same for every seed; the seed decides the order in which they are joined, and so
    where the windows begin.

    Args:
        seed: of the order.
        length: characters that a sample predicts, at least 2.

    Raises:
        ValueError: if the seed is negative or no integer, or the length unfit.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed={seed!r}: give an integer of 0 or more")
    return {name: windows(_shuffled(training_texts(name), f"{seed} {name}"), length) for name in LANGUAGES}


def held_out(*, length: int = WINDOW) -> dict[str, tuple[Tensor, Tensor]]:
    """Return per language all windows of its held-out texts, about 2,000 to 5,000 characters.

    The data say which texts are held out: the translations of one message in five, the same in every language. No text
    in training, of whichever language, has the letters of one of them, as
    :func:`examples.multilingual.extract.extract` ensures. Nothing here depends on a seed of the training.

    Args:
        length: characters that a sample predicts, at least 2.
    """
    batches = {}
    for name, (code, _) in LANGUAGES.items():
        inputs, targets = windows(_shuffled(corpus()[code]["held_out"], "held out"), length).tensors
        batches[name] = (inputs, targets)
    return batches


def _shuffled(texts: Sequence[str], seed: str) -> list[str]:
    return random.Random(seed).sample(texts, len(texts))
