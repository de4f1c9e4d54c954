"""Agreement of the ranks: what each of them measured, brought together by one collective per step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from curricula.teacher import Teacher

CHECK_EVERY = 100
"""Steps between two checks that the curriculum is the same on all ranks."""

_BITS = 20
_PARTS = 2
_NO_FINGERPRINT = [0.0] * (2 * _PARTS)
_UNKNOWN = 2.0**-20
"""Marks progress that is not known yet; sums over up to 8,192 ranks are exact."""


class Outcome(NamedTuple):
    """What a draw came to, on one rank or on all together."""

    progress: float | None
    """Raw learning progress, NaN if it could not be told, ``None`` if it is not known yet."""
    cost: float
    """What its progress is divided by."""
    loss: float
    """Of the rank's own samples at the old parameters, NaN if unknown."""
    stepped: bool
    """Whether the optimiser made the step."""
    spent: float = math.nan
    """What it has cost, in the unit of the account; NaN if unknown."""
    samples: float = math.nan
    """Number of its samples, NaN if unknown."""


class Ranks:
    """The processes that train together, and what they measured.

    Every step takes one collective per rank, of 40 bytes and 40 for each draw, whatever happened on any of them: a rank
    that left it out would leave the others waiting. Every :data:`CHECK_EVERY` steps it also compares the states of the
    curriculum.

    Args:
        number: of processes; with one, nothing is sent.
        device: of the process group's backend.
        separate: every rank has draws of its own, and all outcomes are returned; else they are averaged into one.
        copies: number of ranks that train on the same samples, as under tensor parallelism.
    """

    def __init__(self, number: int, device: torch.device, *, separate: bool = False, copies: int = 1) -> None:
        self.number = number
        self._copies = copies
        self._device = device
        self._separate = separate

    def agree(self, own: list[Outcome], teacher: Teacher, step: int) -> list[Outcome]:
        """Return the outcomes of the shared draws, or of all ranks' draws in the ranks' order; alike on all ranks.

        Averaged progress that is not finite on one rank is NaN for all, else it is the mean over the ranks that know
        it, ``None`` if none does. The loss of an averaged outcome is the rank's own; cost and samples are those of all
        ranks.

        Args:
            own: what this rank measured, for each draw; as many on every rank.
            teacher: whose state is compared.
            step: number of the step, the same on all ranks.

        Raises:
            RuntimeError: on every rank, if the curriculum is not the same on all.
        """
        if self.number == 1:
            return own
        mark = fingerprint(teacher) if step % CHECK_EVERY == 0 else _NO_FINGERPRINT
        return self._gather(own, mark, teacher) if self._separate else self._average(own, mark, teacher)

    def _average(self, own: list[Outcome], mark: list[float], teacher: Teacher) -> list[Outcome]:
        encoded = [_encoded(outcome.progress) for outcome in own]
        columns = [*zip(*encoded, strict=True), *_account(own)]
        sent = [*chain(*columns), float(own[0].stepped), *mark]
        sums = torch.tensor(sent, dtype=torch.float64, device=self._device)
        torch.distributed.all_reduce(sums)
        totals, counts, costs, spent, samples, (stepped, *marks) = _parts(sums.tolist(), len(own), 5)
        check_agreement(marks, self.number, teacher.updates)
        return [
            Outcome(
                _decoded(totals[place], counts[place], self.number),
                costs[place] / self.number,
                outcome.loss,
                stepped == self.number,
                spent[place] / self._copies,
                samples[place] / self._copies,
            )
            for place, outcome in enumerate(own)
        ]

    def _gather(self, own: list[Outcome], mark: list[float], teacher: Teacher) -> list[Outcome]:
        columns = [
            [_told_apart(outcome.progress) for outcome in own],
            [outcome.loss for outcome in own],
            *_account(own),
        ]
        sent = torch.tensor([*chain(*columns), float(own[0].stepped), *mark], dtype=torch.float64, device=self._device)
        received = torch.empty(self.number * len(sent), dtype=torch.float64, device=self._device)
        torch.distributed.all_gather_into_tensor(received, sent)
        outcomes, marks = [], [0.0] * len(mark)
        for row in received.reshape(self.number, len(sent)).tolist():
            progress, losses, costs, spent, samples, (stepped, *marked) = _parts(row, len(own), 5)
            marks = [total + part for total, part in zip(marks, marked, strict=True)]
            outcomes += [
                Outcome(None if value == math.inf else value, cost, loss, stepped == 1.0, *account)
                for value, loss, cost, *account in zip(progress, losses, costs, spent, samples, strict=True)
            ]
        check_agreement(marks, self.number, teacher.updates)
        return outcomes


def _account(own: list[Outcome]) -> list[list[float]]:
    """Return what progress is divided by, what was spent and the samples, each for all outcomes."""
    return [[each.cost for each in own], [each.spent for each in own], [each.samples for each in own]]


def _parts(numbers: list[float], size: int, count: int) -> list[list[float]]:
    """Return so many parts of a size, and the rest."""
    return [*(numbers[size * part : size * (part + 1)] for part in range(count)), numbers[size * count :]]


def _told_apart(progress: float | None) -> float:
    """Return progress as one number: NaN where it is not finite, infinite where it is not known yet."""
    if progress is None:
        return math.inf
    return progress if math.isfinite(progress) else math.nan


def _encoded(progress: float | None) -> tuple[float, float]:
    """Return two numbers that :func:`_decoded` understands, added up over ranks."""
    if progress is None:
        return 0.0, _UNKNOWN
    return (progress, 1.0) if math.isfinite(progress) else (0.0, 0.0)


def _decoded(total: float, count: float, ranks: int) -> float | None:
    """Return the mean progress of those of so many ranks that know it.

    Example:
        >>> both = [a + b for a, b in zip(_encoded(1.0), _encoded(3.0))]
        >>> _decoded(*both, 2)
        2.0
        >>> _decoded(*[a + b for a, b in zip(_encoded(1.0), _encoded(None))], 2)
        1.0
    """
    finite, unknown = int(count), round(count % 1 / _UNKNOWN)
    if finite + unknown < ranks:
        return math.nan
    return total / finite if finite else None


def fingerprint(teacher: Teacher) -> list[float]:
    """Return numbers of a teacher that differ if anything in its state does.

    They are 40 bits of the state's SHA-256 in two parts of 20, each with its square: sums over up to 8,192 ranks are
    then whole numbers that a float64 holds exactly.
    """
    digest = int(teacher.state_dict()["sha256"], 16)
    parts = [float((digest >> (_BITS * part)) % (1 << _BITS)) for part in range(_PARTS)]
    return [number for part in parts for number in (part, part * part)]


def check_agreement(sums: Sequence[float], ranks: int, updates: int) -> None:
    """Raise, on every rank, if the ranks' fingerprints are not all the same.

    Numbers are all the same if the number of them times the sum of their squares is the square of their sum
    (Cauchy and Schwarz).

    Args:
        sums: of the fingerprints of all ranks.
        ranks: number of ranks.
        updates: of the teacher, for the message.

    Raises:
        RuntimeError: what may have happened, and how to go on.

    Example:
        >>> check_agreement([6.0, 18.0], ranks=2, updates=1)  # 3 and 3; 2 and 4 would be [6.0, 20.0]
    """
    for total, squares in zip(sums[::2], sums[1::2], strict=True):
        if ranks * int(squares) != int(total) ** 2:
            raise RuntimeError(
                f"after {updates} updates the curriculum is not the same on all {ranks} ranks: the seeds differ, one "
                "rank alone taught the teacher or removed or added a task, or the bandit draws random numbers of its "
                "own. Do on every rank what you do on one, and go on from the checkpoint before"
            )
