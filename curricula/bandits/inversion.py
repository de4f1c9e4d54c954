"""From numbers in the unit interval to arms: the inverse of a policy's distribution function."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]


def invert(policy: FloatArray, number: float) -> int:
    """Return the arm in whose stretch of the unit interval the number lies.

    Args:
        policy: shape ``(num_arms,)``, sums to 1.
        number: in ``[0, 1)``.
    """
    return invert_sums(np.add.accumulate(policy), policy, number)


def invert_sums(sums: FloatArray, policy: FloatArray, number: float) -> int:
    """Return what :func:`invert` does, in ``log2(num_arms)`` steps, where the policy was added up already.

    Args:
        sums: ``np.add.accumulate(policy)``, shape ``(num_arms,)``.
        policy: shape ``(num_arms,)``, sums to 1.
        number: in ``[0, 1)``.
    """
    arm = int(sums.searchsorted(number, "right"))
    if arm >= len(policy):  # the sum was rounded to below 1
        arm = int(np.flatnonzero(policy)[-1])
    return arm


def invert_all(policy: FloatArray, numbers: FloatArray) -> list[int]:
    """Return :func:`invert` of every number."""
    return invert_all_sums(np.add.accumulate(policy), policy, numbers)


def invert_all_sums(sums: FloatArray, policy: FloatArray, numbers: FloatArray) -> list[int]:
    """Return :func:`invert_sums` of every number."""
    arms: list[int] = sums.searchsorted(numbers, "right").tolist()
    if max(arms) < len(policy):
        return arms
    last = int(np.flatnonzero(policy)[-1])
    return [min(arm, last) for arm in arms]
