"""Agreement of the ranks: what each of them measured, brought together by one collective per step."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """What a step came to, on one rank or on all together."""

    progress: float | None
    """Raw learning progress, NaN if it could not be told, ``None`` if it is not known yet."""
    cost: float
    """What the step cost."""
    loss: float
    """Of the rank's own batch at the old parameters, NaN if unknown."""
    stepped: bool
    """Whether the optimiser made the step."""


class Ranks:
    """The processes that train together, and what they measured.

    Every step takes one collective of 64 bytes per rank, whatever happened on any of them: a rank that left it out
    would leave the others waiting. Every :data:`CHECK_EVERY` steps it also compares the states of the curriculum.

    Args:
        number: of processes; with one, nothing is sent.
        device: of the process group's backend.
        separate: every rank has a draw of its own, and all outcomes are returned; else they are averaged into one.
    """

    def __init__(self, number: int, device: torch.device, *, separate: bool = False) -> None:
        self.number = number
        self._device = device
        self._separate = separate

    def agree(self, own: Outcome, teacher: Teacher, step: int) -> list[Outcome]:
        """Return the outcome of the shared draw, or of all ranks' draws in their order; the same list on all ranks.

        Averaged progress that is not finite on one rank is NaN for all, else what one rank does not know yet is
        ``None`` for all. The loss of an averaged outcome is the rank's own.

        Args:
            own: what this rank measured.
            teacher: whose state is compared.
            step: number of the step, the same on all ranks.

        Raises:
            RuntimeError: on every rank, if the curriculum is not the same on all.
        """
        if self.number == 1:
            return [own]
        mark = fingerprint(teacher) if step % CHECK_EVERY == 0 else _NO_FINGERPRINT
        return self._gather(own, mark, teacher) if self._separate else self._average(own, mark, teacher)

    def _average(self, own: Outcome, mark: list[float], teacher: Teacher) -> list[Outcome]:
        sent = [*_encoded(own.progress), own.cost, float(own.stepped), *mark]
        sums = torch.tensor(sent, dtype=torch.float64, device=self._device)
        torch.distributed.all_reduce(sums)
        total, count, cost, stepped, *marks = sums.tolist()
        check_agreement(marks, self.number, teacher.updates)
        progress = _decoded(total, count, self.number)
        return [Outcome(progress, cost / self.number, own.loss, stepped == self.number)]

    def _gather(self, own: Outcome, mark: list[float], teacher: Teacher) -> list[Outcome]:
        total, count = _encoded(own.progress)
        row = [total if count == 1.0 else math.nan, own.cost, own.loss, float(own.stepped), *mark]
        row[3] += count if count == _UNKNOWN else 0.0
        sent = torch.tensor(row, dtype=torch.float64, device=self._device)
        received = torch.empty(self.number * len(sent), dtype=torch.float64, device=self._device)
        torch.distributed.all_gather_into_tensor(received, sent)
        rows = received.reshape(self.number, len(sent)).tolist()
        check_agreement(
            [sum(row[place] for row in rows) for place in range(4, len(sent))], self.number, teacher.updates
        )
        return [
            Outcome(None if stepped % 1 else progress, cost, loss, stepped >= 1)
            for progress, cost, loss, stepped, *_ in rows
        ]


def _encoded(progress: float | None) -> tuple[float, float]:
    """Return two numbers that :func:`_decoded` understands, added up over ranks."""
    if progress is None:
        return 0.0, _UNKNOWN
    return (progress, 1.0) if math.isfinite(progress) else (0.0, 0.0)


def _decoded(total: float, count: float, ranks: int) -> float | None:
    """Return the mean progress of so many ranks.

    Example:
        >>> both = [a + b for a, b in zip(_encoded(1.0), _encoded(3.0))]
        >>> _decoded(*both, 2)
        2.0
        >>> _decoded(*[a + b for a, b in zip(_encoded(1.0), _encoded(None))], 2) is None
        True
    """
    finite, unknown = int(count), round(count % 1 / _UNKNOWN)
    if finite + unknown < ranks:
        return math.nan
    return None if unknown else total / finite


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
