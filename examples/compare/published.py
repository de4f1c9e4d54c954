"""What is published: on every problem the baselines that everybody has, the default, and its replays."""

from __future__ import annotations

from examples.compare.methods import METHODS

_BASELINES = ("uniform, mixed", "uniform, one task a batch")
_OF_SIZES = ("proportional, mixed", "temperature 2, mixed", "UniMax, mixed")
_OF_A_TARGET = ("target only", "static: 50% target, mixed")
_CURRICULA = ("curriculum", "curriculum, SPG")
_REPLAYS = ("curriculum, replayed: its mixture, mixed", "curriculum, replayed: its draws, shuffled")
_USUAL = (*_BASELINES, *_CURRICULA, *_REPLAYS)
_FEWEST = (*_BASELINES, "curriculum", "curriculum, replayed: its mixture, mixed")
_STAIRCASE = (*_USUAL, *_OF_A_TARGET, "by hand: syllabus, mixed", "curriculum, PG")
_SIXTEEN = "curriculum, 16 draws a batch"
_DRAWS = (
    "uniform, 16 draws a batch",
    "curriculum, 4 draws a batch",
    _SIXTEEN,
    "curriculum, a draw per sample",
    "curriculum, PG, 16 draws a batch",
    "curriculum, SPG, 16 draws a batch",
)
_AMONG_JUNK = (*_STAIRCASE, "by hand: useful tasks alone, mixed")

# First-order gain is the default; policies that know the useless tasks are for the page about noise, several draws in a
# batch for that about mixing.
_OF_SEVERAL_DRAWS = tuple(name for name in METHODS if name.endswith(("draws a batch", "a draw per sample")))
_WITH_A_PRIOR = (
    "curriculum, prior of 80% on useful tasks",
    "by hand: 20% on useless tasks, one task a batch",
    "curriculum, prior of 5% on useful tasks",
    "by hand: 95% on useless tasks, one task a batch",
)
_OTHERS = ("curriculum, FPG", *_OF_SEVERAL_DRAWS, *_WITH_A_PRIOR)
_ALL = tuple(name for name in METHODS if name not in _OTHERS and "useless" not in name and "policy: " not in name)

STATIC = (
    "proportional, mixed",
    "temperature 2, mixed",
    "temperature 5, mixed",
    "UniMax, mixed",
    "static: 25% target, mixed",
    "static: 50% target, mixed",
    "static: 75% target, mixed",
    "target only",
    "by hand: useful tasks alone, mixed",
    "curriculum, replayed: its mixture, mixed",
    "curriculum, SPG, replayed: its mixture, mixed",
)
"""Mixtures that stay as they are, other than the uniform one: what they win over it is head room."""

PUBLISHED: dict[str, tuple[str, ...]] = {
    "digits_noise": (*_ALL, *(name for name in _DRAWS if name != "curriculum, a draw per sample")),
    "digits_labels": (*_ALL, _SIXTEEN),
    "parity_staircase_8": (
        *_STAIRCASE,
        "static: 25% target, mixed",
        "static: 75% target, mixed",
        "uniform, exact quotas",
        "curriculum, GPG",
        "curriculum, TPG",
        "curriculum, paper's constants",
        "curriculum, replayed: its mixture, one task a batch",
        *_DRAWS,
    ),
    "junk_arms_4_10_6": (
        *_AMONG_JUNK,
        "curriculum, TPG",
        "curriculum, replayed: its mixture, one task a batch",
        "curriculum, SPG, replayed: its mixture, mixed",
        "curriculum, SPG, replayed: its draws, shuffled",
        *_DRAWS,
    ),
    "repeat_copy": (*_USUAL, *_OF_A_TARGET, "curriculum, PG", "curriculum, paper's constants"),
    "parity_staircase": (*_FEWEST, "target only", "by hand: useful tasks alone, mixed", _SIXTEEN),
    "multilingual": (*_USUAL, *_OF_SIZES, "uniform, exact quotas", _SIXTEEN),
    "babi": (*_FEWEST, "curriculum, PG"),
    "ngram": (*_FEWEST, "target only", "curriculum, GL2G"),
    "addition": (*_FEWEST, "target only", "by hand: syllabus, mixed"),
}
"""The methods of each problem's table, in the order in which the problems are run.

The digits, of which a run takes seconds, have every method. Elsewhere the signals that are left out cost more than they
tell here: the page about signals compares them. Where a run takes a minute, there are the baselines, the default, its
replay, and what the paper asks about. Where all tasks are of one size, sampling in proportion to the sizes,
at a temperature or by UniMax is uniform sampling.
"""
