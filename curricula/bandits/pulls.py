"""Pulls: draws of arms with what they earned, and the several pulls of one step brought together by arm."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Pull(NamedTuple):
    """One draw of an arm and the reward that it earned."""

    arm: int
    """In ``[0, num_arms)``."""
    reward: float
    """In ``[-1, 1]``."""
    probability: float
    """Of the arm at this draw, in ``(0, 1]``."""
    policy: npt.NDArray[np.float64] | None = None
    """The whole policy at the draw, shape ``(num_arms,)``, for bandits that need it."""


def merged(pulls: Iterable[Pull], draws: int) -> list[Pull]:
    r"""Return one pull for every arm of a step, which stands for all pulls of that arm.

    .. math::
        p_i = \Big(\frac{1}{B} \sum_{b:\, a_b = i} \frac{1}{\pi_b(i)}\Big)^{-1}, \qquad
        r_i = \frac{\sum_{b:\, a_b = i} r_b / \pi_b(i)}{\sum_{b:\, a_b = i} 1 / \pi_b(i)}

    so that :math:`r_i / p_i` is the mean over the step's :math:`B` draws of the importance-weighted rewards, and
    :math:`r_i` is a mean of rewards. Where all draws are from one policy, :math:`p_i = B \pi(i) / n_i` for an arm with
    :math:`n_i` pulls. It is above 1 where the arm was pulled less often than expected.

    Args:
        pulls: of one step, checked.
        draws: B, the number of the step's draws, at least as many as there are pulls.

    Returns:
        One pull per arm. Their order depends neither on that of ``pulls`` nor on the numbers of the arms, unless two
        arms have the same reward and the same probability.

    Example:
        >>> [(pull.arm, pull.reward, pull.probability) for pull in merged([Pull(0, 1, 0.5), Pull(0, 0.5, 0.5)], 4)]
        [(0, 0.75, 1.0)]
    """
    of_arm: dict[int, list[Pull]] = {}
    for pull in pulls:
        of_arm.setdefault(int(pull.arm), []).append(pull)
    together = [_one(arm, own, draws) for arm, own in of_arm.items()]
    return sorted(together, key=lambda pull: (pull.reward, pull.probability, pull.arm))


def _one(arm: int, pulls: list[Pull], draws: int) -> Pull:
    least = min(pull.probability for pull in pulls)
    # In units of the largest: the inverse of the smallest floats is infinite. Exact sums do not depend on the order.
    inverse = [least / pull.probability for pull in pulls]
    total = math.fsum(inverse)
    mean = math.fsum(part * pull.reward for part, pull in zip(inverse, pulls, strict=True)) / total
    policies = [pull.policy for pull in pulls if pull.policy is not None]
    return Pull(arm, max(-1.0, min(1.0, mean)), draws * (least / total), _policy(policies, draws) if policies else None)


def _policy(policies: list[npt.NDArray[np.float64]], draws: int) -> npt.NDArray[np.float64]:
    ordered = np.sort(np.stack(policies), axis=0)  # so that the order of the pulls does not matter
    least = ordered[0]
    inverse = np.divide(least, ordered, out=np.ones_like(ordered), where=ordered > 0.0)
    policy: npt.NDArray[np.float64] = draws * (least / inverse.sum(axis=0))
    return policy
