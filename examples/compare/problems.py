"""The problems that can be compared on, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from examples import addition, babi, multilingual, ngram
from examples.compare.methods import named
from examples.compare.problem import GivesLosses, Problem, Scored
from examples.digits import label_noise, noise_domains
from examples.junk_arms import junk_arms
from examples.parity_staircase import ParityModel, staircase
from examples.parity_staircase.model import VariationalParityModel
from examples.parity_staircase.tasks import INPUTS, STEPS
from examples.repeat_copy import repeat_copy
from examples.repeat_copy.mixed import MixedRepeatCopyModel, collate
from examples.repeat_copy.model import VariationalRepeatCopyModel
from examples.workload import Workload


class Samples(IterableDataset[tuple[Tensor, ...]]):
    """The samples of a stream of batches, one by one.

    Args:
        batches: that can be iterated anew; every batch is a tuple of tensors of one length.
    """

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Iterate over the samples."""
        for batch in self.batches:
            yield from zip(*batch, strict=True)


def _of_workload(workload: Workload, **others: Any) -> Problem:
    """Return the problem of a workload whose goal is a loss of the target; ``others`` are its other attributes."""

    def tasks(seed: int) -> Mapping[str, Samples]:
        return {name: Samples(task) for name, task in workload.tasks(seed).items()}

    usual: dict[str, Any] = {"name": workload.name, "held_out": workload.held_out}
    return Problem(
        title=workload.title,
        text=workload.text,
        tasks=tasks,
        goal=workload.goal,
        of="target",
        higher_is_better=False,
        target=workload.target,
        budget=workload.budget,
        evaluate_every=workload.evaluate_every,
        grid=workload.grid,
        stops_at_goal=True,
        trainer_options=workload.trainer_options,
        **{**usual, **others},
    )


class Parity(ParityModel, Scored):
    """The parity model, scored by its loss."""

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the cross-entropy of every sample in nats, shape ``(batch,)``."""
        inputs, labels = batch
        return nn.functional.binary_cross_entropy_with_logits(self.network(inputs).squeeze(1), labels, reduction="none")

    def score(self, batch: tuple[Tensor, Tensor]) -> float:
        """Return the mean cross-entropy in nats."""
        return float(self.losses(batch).mean())


class ParityPerSample(GivesLosses, Parity):
    """The same, which gives the loss of every sample."""


class VariationalParity(VariationalParityModel, Parity):
    """The same with Gaussian weights, scored by its loss."""


def parity(workload: Workload, batch_size: int = 64) -> Problem:
    """Return a workload of parities as a problem."""
    number, useful = len(workload.tasks(0)), list(workload.held_out())
    return _of_workload(
        workload,
        model=lambda lr: ParityPerSample(INPUTS + number, lr),
        unit="nats",
        batch_size=batch_size,
        learning_rates=(1e-3, 2e-3, 4e-3),
        tuning_steps=min(workload.budget, 8_000),
        task_goal=workload.goal,
        order=useful,
        useful=None if len(useful) == number else useful,
    )


class Copying(MixedRepeatCopyModel, Scored):
    """The model of repeat copy, scored by its loss."""


class CopyingPerSample(GivesLosses, Copying):
    """The same, which gives the loss of every sample."""


class VariationalCopying(VariationalRepeatCopyModel, Copying):  # type: ignore[misc]
    """The same with Gaussian weights, scored by its loss."""


def copying(size: int, hidden: int, batch_size: int = 16, bits: int = 4) -> Problem:
    """Return repeat copy as a problem; the arguments are those of the workload."""
    workload = repeat_copy(size=size, hidden=hidden, bits=bits, batch_size=batch_size)

    def held_out() -> Mapping[str, Any]:
        return {
            name: collate(list(zip(*batch, strict=True))[: 128 if size == _SMALL else 16])
            for name, batch in workload.held_out().items()
        }

    return _of_workload(
        workload,
        name="repeat_copy" if size == _SMALL else f"repeat_copy_{size}",
        held_out=held_out,
        model=lambda lr: CopyingPerSample(bits, hidden, lr),
        unit="nats per bit",
        batch_size=batch_size,
        learning_rates=(2.5e-3, 5e-3, 1e-2),
        tuning_steps=workload.budget // 2,
        collate=collate,
        cost=lambda batch: float(batch[0].shape[0] * batch[0].shape[1]),
        unit_of_cost="symbols, padding included",
    )


_SMALL = 5
"""Lengths and repeats of the small setting of repeat copy."""


def _of_package(package: Any, name: str, title: str, text: str, of: Any, evaluate_every: int, **others: Any) -> Problem:
    """Return the problem of a package that has all of it under the usual names."""
    return Problem(
        name=name,
        title=title,
        text=text,
        tasks=package.tasks,
        held_out=package.held_out,
        model=lambda lr: package.Model(lr=lr),
        of=of,
        unit=package.UNIT,
        higher_is_better=package.HIGHER_IS_BETTER,
        target=package.TARGET,
        evaluate_every=evaluate_every,
        batch_size=package.BATCH_SIZE,
        learning_rates=package.LEARNING_RATES,
        **{"goal": package.GOAL, "budget": package.BUDGET, **others},
    )


def _multilingual() -> Problem:
    text = "Ten languages of unequal size, from Django's translations; the mean over languages matters, and the worst."
    return _of_package(
        multilingual,
        "multilingual",
        "Multilingual characters",
        text,
        "mean",
        100,
        tuning_steps=750,
        seeds=6,
        one_size=False,
    )


def _noise_domains() -> Problem:
    text = "Three domains of digits beside five of pure noise: a curriculum has to find out which is which."
    useful = list(noise_domains.held_out())
    return _of_package(noise_domains, "digits_noise", "Digits beside noise", text, "mean", 50, useful=useful)


def _label_noise() -> Problem:
    text = "Domains of digits of which a part has wrong labels: little is to be won here by any mixture."
    useful = [name for name in label_noise.tasks(0) if name.endswith("clean")]
    return _of_package(
        label_noise, "digits_labels", "Digits with wrong labels", text, "mean", 50, useful=useful, one_size=False
    )


def _ngram() -> Problem:
    text = "Characters of Kneser-Ney sources of orders 0 to 10: the target is the highest (Graves et al. 2017)."
    options = {"gradient_clip_val": ngram.GRADIENT_CLIP}
    return _of_package(
        ngram, "ngram", "n-grams", text, "target", 100, trainer_options=options, tuning_steps=1_000, seeds=6
    )


def _addition() -> Problem:
    text = "Sums of numbers of one to four digits. Four digits alone are enough to learn them: no curriculum is needed."
    options = {"gradient_clip_val": addition.GRADIENT_CLIP}
    return _of_package(
        addition,
        "addition",
        "Decimal addition",
        text,
        "target",
        500,
        trainer_options=options,
        tuning_steps=5_000,
        seeds=6,
        task_goal=0.9,
        order=list(addition.held_out()),
    )


def _babi(steps: int = babi.BUDGET) -> Problem:
    text = "All twenty bAbI types in one model: how many are below 5 % error."
    short = steps == babi.BUDGET
    return _of_package(
        babi,
        "babi" if short else "babi_long",
        "bAbI" if short else f"bAbI, {steps:,} steps",
        text,
        "solved",
        250 if short else 1_000,
        budget=steps,
        goal=float(babi.SOLVED_GOAL),
        task_goal=babi.SOLVED_BELOW,
        tuning_steps=1_500,
        seeds=6,
        cost=lambda batch: float((batch["story"] != 0).sum() + (batch["question"] != 0).sum()),
        unit_of_cost="words",
    )


def _variational(problem: Problem, model: Callable[[float], Scored]) -> Problem:
    """Return the problem with a model whose weights are Gaussian."""
    name, title = f"{problem.name}_variational", f"{problem.title}, Gaussian weights"
    return replace(problem, name=name, title=title, model=model, variational=True)


def _in_halves(problem: Problem) -> Problem:
    """Return the problem with two micro-batches per step, for signals that compare them."""
    options = {**problem.trainer_options, "accumulate_grad_batches": 2}
    name, title = f"{problem.name}_halves", f"{problem.title}, in two micro-batches"
    return replace(problem, name=name, title=title, trainer_options=options)


def _staircase_of_8(batch_size: int = 64) -> Problem:
    return parity(staircase(duplicates=0, batch_size=batch_size), batch_size)


def _hard_junk(batch_size: int = 64) -> Problem:
    return parity(junk_arms(useful=8, noise=24, duplicates=0, batch_size=batch_size), batch_size)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "parity_staircase": lambda: parity(staircase()),
    "parity_staircase_8": _staircase_of_8,
    "junk_arms_4_10_6": lambda: parity(junk_arms()),
    "repeat_copy": lambda: copying(_SMALL, 64),
    "repeat_copy_8": lambda: copying(8, 128),
    "repeat_copy_13": lambda: copying(13, 512),
    "multilingual": _multilingual,
    "digits_noise": _noise_domains,
    "digits_labels": _label_noise,
    "babi": _babi,
    "babi_long": lambda: _babi(babi.LONG_BUDGET),
    "ngram": _ngram,
    "addition": _addition,
    "junk_arms_8_24_0": _hard_junk,
    "parity_staircase_8_variational": lambda: _variational(
        _staircase_of_8(), lambda lr: VariationalParity(INPUTS + STEPS, samples=64 * 8_000, lr=lr)
    ),
    "repeat_copy_variational": lambda: _variational(
        copying(_SMALL, 64), lambda lr: VariationalCopying(4, 64, samples=16 * 40 * 12_000, lr=lr)
    ),
    "parity_staircase_8_halves": lambda: _in_halves(_staircase_of_8(32)),
    "parity_staircase_halves": lambda: _in_halves(parity(staircase(batch_size=32), 32)),
    "repeat_copy_halves": lambda: _in_halves(copying(_SMALL, 64, 8)),
    "junk_arms_4_10_6_halves": lambda: _in_halves(parity(junk_arms(batch_size=32), 32)),
    "junk_arms_8_24_0_halves": lambda: _in_halves(_hard_junk(32)),
}


@cache
def problem_of(name: str) -> Problem:
    """Return the problem of this name.

    Raises:
        ValueError: if there is none, with the nearest name.
    """
    make: Callable[[], Problem] = named("problem", name, PROBLEMS)
    torch.set_num_threads(1)
    return make()
