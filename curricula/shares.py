"""Shares of the draws: tilting a prior by a policy, and keeping shares between floors and caps. Pure functions."""

from __future__ import annotations

import numpy as np

from curricula.bandits.inversion import FloatArray


def tilted(prior: FloatArray, policy: FloatArray, strength: float) -> FloatArray:
    r"""Return the prior, moved by a policy.

    .. math:: q_i = (1 - s)\, p_i + s\, \frac{p_i \pi_i}{\sum_j p_j \pi_j}

    The policy is taken as what it says beyond the uniform one: where it is uniform, :math:`q` is the prior. So what a
    bandit explores is the prior too, and a task of which the prior is 0 stays at 0.

    Args:
        prior: :math:`p`, shape ``(N,)``, sums to 1.
        policy: :math:`\pi`, shape ``(N,)``, sums to 1.
        strength: :math:`s`, in ``[0, 1]``: 0 is the prior itself.

    Returns:
        Shape ``(N,)``, sums to 1. The prior, where the policy has its whole weight on tasks whose prior is 0.

    Example:
        >>> tilted(np.array([0.8, 0.2]), np.array([0.2, 0.8]), 1.0).tolist()
        [0.5, 0.5]
    """
    if strength == 0.0:
        return prior
    product = prior * policy
    total = float(np.add.reduce(product))
    if not total > 0.0:
        return prior
    product *= strength / total
    if strength < 1.0:
        product += (1.0 - strength) * prior
    return product


def bounded(shares: FloatArray, floors: FloatArray, caps: FloatArray, rest: FloatArray | None = None) -> FloatArray:
    r"""Return the shares between the bounds that are nearest to some shares in relative entropy.

    .. math:: x_i = \min(\max(\lambda q_i, f_i), c_i), \qquad \sum_i x_i = 1

    Tasks between their bounds keep their ratios: one factor :math:`\lambda` does for all.

    Args:
        shares: :math:`q`, shape ``(N,)``, at least 0, sums to 1.
        floors: :math:`f`, shape ``(N,)``, at least 0, sums to at most 1.
        caps: :math:`c`, shape ``(N,)``, at least the floors, sums to at least 1.
        rest: shape ``(N,)``: what the caps of all tasks with a share leave over goes to the others in these ratios;
            equally where they are 0 as well, and by default.

    Returns:
        Shape ``(N,)``, sums to 1 up to rounding.

    Example:
        >>> bounded(np.array([0.7, 0.2, 0.1]), np.zeros(3), np.full(3, 0.4)).round(6).tolist()
        [0.4, 0.4, 0.2]
    """
    if not ((shares < floors) | (shares > caps)).any():
        return shares
    some = shares > 0.0
    if float(np.where(some, caps, floors).sum()) >= 1.0 - 1e-12:
        return _between(shares, floors, caps, 1.0)
    # All tasks that have a share are at their caps, and the others get what is left.
    full = np.where(some, caps, 0.0)
    left = 1.0 - float(full.sum())
    others = np.where(some, 0.0, 0.0 if rest is None else rest)
    if float(np.where(others > 0.0, caps, np.where(some, 0.0, floors)).sum()) < left - 1e-12:
        others = np.where(some, 0.0, 1.0)
    return full + _between(others, np.where(some, 0.0, floors), np.where(some, 0.0, caps), left)


def _between(shares: FloatArray, floors: FloatArray, caps: FloatArray, total: float) -> FloatArray:
    some = shares > 0.0
    ratios = np.concatenate([floors[some] / shares[some], caps[some] / shares[some]])
    points = np.unique(ratios[np.isfinite(ratios)])
    low, high = -1, len(points) - 1  # the sum is below the total at `low`, and not below it at `high`
    while high - low > 1:
        middle = (low + high) // 2
        if float(_at(points[middle], shares, floors, caps).sum()) < total:
            low = middle
        else:
            high = middle
    # Between two neighbouring points the same tasks are at a bound, and the factor is found by division.
    factor = (points[low] + points[high]) / 2 if low >= 0 else points[high] / 2
    free = some & (factor * shares > floors) & (factor * shares < caps)
    if free.any():
        bound = np.where(free, 0.0, _at(factor, shares, floors, caps))
        factor = (total - float(bound.sum())) / float(shares[free].sum())
        return np.where(free, factor * shares, bound)
    return _at(points[high], shares, floors, caps)


def _at(factor: float, shares: FloatArray, floors: FloatArray, caps: FloatArray) -> FloatArray:
    kept: FloatArray = np.minimum(np.maximum(factor * shares, floors), caps)
    return kept
