"""Agreement of the ranks: a fingerprint of the curriculum that can be compared by one sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curricula.teacher import Teacher

CHECK_EVERY = 100
"""Steps between two checks."""

_BITS = 20
_PARTS = 2

NO_FINGERPRINT = [0.0] * (2 * _PARTS)
"""What is summed where no check is due."""


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
