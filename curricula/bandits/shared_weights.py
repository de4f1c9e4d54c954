"""Normalised weights under Fixed Share, where a reward and a draw each cost a few steps down a tree."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from curricula.bandits.base import FloatArray

LEAST_SCALE = 1e-4
MOST_OFFSET = 2.0
"""Bounds of the scale, and of the sum of the offsets. Beyond them the weights are written out anew, so that none of
their digits is lost in a difference of large numbers."""

LEAST_SUM = 1e-3
LEAST_SHARE = 1e-5
MOST_STEP = 30.0
"""Bounds of the sum of the weights after a reward, of the rewarded one over the offset, and of the reward's step.
Beyond them every weight is written out, for the same reason, and lest the exponential overflow."""


def share(weights: FloatArray, alpha: float) -> FloatArray:
    r"""Normalise the weights and give a share of each to the others (Fixed Share).

    .. math::
        q_i \leftarrow (1-\alpha)\, q_i + \frac{\alpha}{N-1} \sum_{j \ne i} q_j
        \;=\; \Big(1 - \frac{\alpha N}{N-1}\Big) q_i + \frac{\alpha}{N-1}

    where :math:`q` are the normalised weights. The second form subtracts nothing that could cancel: both terms are
    non-negative.

    Args:
        weights: shape ``(N,)``, N >= 2, non-negative, *after* the reward was added, all arms from the same moment.
        alpha: share given away, in ``[0, (N - 1) / N]``.

    Returns:
        Shape ``(N,)``, sums to 1, every entry at least ``alpha / (N - 1)`` times the weight of the others.

    Source: Graves et al. 2017, section 2.2; Herbster and Warmuth 1998.
    """
    others = len(weights) - 1
    keep = max(0.0, 1.0 - alpha * (len(weights) / others))
    shared: FloatArray = weights * (keep / np.add.reduce(weights))
    shared += alpha / others
    return shared


class SharedWeights:
    r"""Weights :math:`w_i = A v_i + B` that sum to 1.

    Sharing is the same affine map for all arms,

    .. math:: w_i \leftarrow \Big(1 - \frac{\alpha N}{N-1}\Big) \frac{w_i}{\sum_j w_j} + \frac{\alpha}{N-1},

    so that it changes :math:`A` and :math:`B` alone, and a reward changes one :math:`v_i`. The :math:`v_i` are the
    leaves of a tree of sums, in which an arm is found by its place in the distribution function. All of it is exact up
    to rounding: the sums are added up anew from the leaves, never corrected by differences.

    Args:
        values: the :math:`v_i`, shape ``(N,)``.
        scale: :math:`A`, ``> 0``.
        offset: :math:`B`, ``>= 0``.

    Example:
        >>> weights = SharedWeights(np.array([0.25, 0.75]))
        >>> weights.reward(0, step=math.log(3.0), alpha=0.25)
        >>> weights.to_array().tolist()
        [0.5, 0.5]
        >>> weights.find(0.7)
        1
    """

    __slots__ = ("_leaves", "_nodes", "_written", "num_arms", "offset", "scale")

    def __init__(self, values: FloatArray, scale: float = 1.0, offset: float = 0.0) -> None:
        self._write(values.copy())
        self.scale = scale
        self.offset = offset

    def _write(self, values: FloatArray) -> None:
        self.scale, self.offset = 1.0, 0.0
        self.num_arms = len(values)
        self._leaves = 1 << (self.num_arms - 1).bit_length()
        self._written = values
        self._nodes: list[float] = []  # until a reward or a draw needs them

    def _grow(self) -> list[float]:
        level = np.zeros(self._leaves)
        level[: self.num_arms] = self._written
        levels = [level]
        while len(level) > 1:
            level = level[0::2] + level[1::2]
            levels.append(level)
        # Node 1 is the root, and the sum of its children, 2 and 3; the leaves come last.
        self._nodes = [0.0, *np.concatenate(levels[::-1]).tolist()]
        return self._nodes

    @property
    def values(self) -> list[float]:
        """The :math:`v_i`, a copy."""
        return self._nodes[self._leaves : self._leaves + self.num_arms] if self._nodes else self._written.tolist()

    def to_array(self) -> FloatArray:
        """Return all weights, shape ``(N,)``."""
        weights: FloatArray = (np.array(self.values) if self._nodes else self._written) * self.scale
        weights += self.offset
        return weights

    def __getitem__(self, arm: int) -> float:
        """Return the weight of one arm, the very number that :meth:`to_array` has for it."""
        value = self._nodes[self._leaves + arm] if self._nodes else float(self._written[arm])
        return value * self.scale + self.offset

    def reward(self, arm: int, step: float, alpha: float) -> None:
        """Move one log-weight, make the sum of the weights 1 again, and share: :meth:`reward_all` of one arm."""
        self.reward_all({arm: step}, alpha)

    def reward_all(self, steps: Mapping[int, float], alpha: float) -> None:
        """Move several log-weights, make the sum of the weights 1 again, and share once.

        Every node above a moved leaf is added up once: ``len(steps) * log2(N)`` of them at the most.

        Args:
            steps: of the log-weights, finite, by arm in ``[0, N)``; at least one, in the order of the arms.
            alpha: share given away, in ``[0, (N - 1) / N]``.
        """
        nodes = self._nodes or self._grow()
        num_arms, scale, offset = self.num_arms, self.scale, self.offset
        moved: dict[int, float] = {}
        total, in_bounds = 1.0, True
        for arm, step in steps.items():
            before = nodes[self._leaves + arm] * scale + offset
            after = before * math.exp(min(step, MOST_STEP))
            total = total - before + after
            in_bounds = in_bounds and step <= MOST_STEP and after >= LEAST_SHARE * offset
            moved[self._leaves + arm] = (after - offset) / scale
        if not in_bounds or total < LEAST_SUM:
            self._write_out(steps, alpha)
            return
        self._put(moved)
        given = alpha / (num_arms - 1)
        kept = max(0.0, 1.0 - given * num_arms) / (scale * nodes[1] + num_arms * offset)
        self.scale = scale * kept
        self.offset = offset * kept + given
        if self.scale < LEAST_SCALE or self.offset * num_arms > MOST_OFFSET:
            self._write(self.to_array())

    def _put(self, leaves: Mapping[int, float]) -> None:
        """Change leaves, and add up every node above them once, from the leaves to the root."""
        nodes = self._nodes
        for leaf, value in leaves.items():
            nodes[leaf] = value
        if len(leaves) == 1:  # most steps have one draw
            node = next(iter(leaves)) >> 1
            while node:
                nodes[node] = nodes[2 * node] + nodes[2 * node + 1]
                node >>= 1
            return
        level = {leaf >> 1 for leaf in leaves}
        while 0 not in level:
            for node in level:
                nodes[node] = nodes[2 * node] + nodes[2 * node + 1]
            level = {node >> 1 for node in level}

    def _write_out(self, steps: Mapping[int, float], alpha: float) -> None:
        weights = self.to_array()
        # Arms that do not move are at a step of 0. Where all move, the largest step may be far below it.
        most = max(steps.values()) if len(steps) == self.num_arms else max(0.0, *steps.values())
        own = {arm: float(weights[arm]) * math.exp(step - most) for arm, step in steps.items()}
        if most > 0.0:
            weights *= math.exp(-most)  # the others downwards: a common factor is free
        for arm, weight in own.items():
            weights[arm] = weight
        self._write(share(weights, alpha))

    def find(self, number: float, epsilon: float = 0.0) -> int:
        """Return the arm in whose stretch of the unit interval the number lies, in the policy mixed with the uniform.

        Args:
            number: in ``[0, 1]``.
            epsilon: share of the uniform policy, in ``[0, 1]``.
        """
        nodes, num_arms = self._nodes or self._grow(), self.num_arms
        scale = (1.0 - epsilon) * self.scale
        offset = (1.0 - epsilon) * self.offset + epsilon / num_arms
        node, first, half = 1, 0, self._leaves
        while half > 1:
            half >>= 1
            node *= 2
            middle = first + half
            if middle < num_arms:
                left = scale * nodes[node] + offset * half
                if number >= left:
                    number -= left
                    first = middle
                    node += 1
        return first
