"""Draws: one choice of a task each, and those that are still to be rewarded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from curricula.bandits.base import FloatArray
from curricula.checks import as_number


@dataclass(frozen=True, slots=True)
class Draw:
    """One choice of a task, with what is needed to reward it at any later time."""

    id: int
    """Number of the draw, from 0."""
    arm: int
    """Index of the task."""
    task: str
    """Name of the task."""
    probability: float
    """Probability of the arm at the draw, in ``(0, 1]``."""
    step: int
    """Number of steps the policy had learned from at the draw."""

    def weight(self, prior: float | Mapping[str, float], *, most: float | None = None) -> float:
        r"""Return the importance weight :math:`p / x` that makes a draw stand for one from another mixture.

        Losses times their weights have the expectation that they would have with draws from the prior, whatever the
        curriculum draws: the objective stays the prior's. It is not applied unless you do.

        Args:
            prior: the task's share in the mixture that the draw is to stand for, in ``[0, 1]``, or the shares of the
                tasks by name.
            most: largest weight, ``> 0``; ``None``: no limit. A limit makes the variance smaller and the expectation
                somewhat wrong.

        Raises:
            ValueError: if the share or the limit is out of range, or the task has no share.

        Source: importance sampling; truncated by Ionides 2008, "Truncated importance sampling".

        Example:
            >>> draw = Draw(id=0, arm=1, task="hard", probability=0.8, step=0)
            >>> draw.weight({"easy": 0.6, "hard": 0.4})
            0.5
        """
        if isinstance(prior, Mapping):
            if self.task not in prior:
                raise ValueError(f"prior has no share for task {self.task!r}: give one for every task")
            prior = prior[self.task]
        share = as_number("prior", prior)
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"the prior share of task {self.task!r} must be in [0, 1], got {share:g}")
        return importance(share, self.probability, most)


def importance(share: float, probability: float, most: float | None) -> float:
    """Return the share over the probability, at most ``most``.

    Raises:
        ValueError: if ``most`` is not above 0.
    """
    if most is not None and not most > 0.0:
        raise ValueError(f"the largest weight must be > 0, got {most}")
    weight = share / probability
    return weight if most is None else min(weight, most)


def make_draws(
    first: int, arms: Sequence[int], probabilities: Sequence[float], tasks: Sequence[str], step: int
) -> tuple[Draw, ...]:
    """Return the draws of one step.

    Args:
        first: number of the first of them.
        arms: of the draws.
        probabilities: of the arms, one per draw.
        tasks: names of all arms.
        step: number of steps the policy had learned from.
    """
    made = []
    for number, (arm, probability) in enumerate(zip(arms, probabilities, strict=True), first):
        draw = _new(Draw)  # as `Draw(...)`, in half the time: a frozen class looks its slots up to set them
        _set_id(draw, number)
        _set_arm(draw, arm)
        _set_task(draw, tasks[arm])
        _set_probability(draw, probability)
        _set_step(draw, step)
        made.append(draw)
    return tuple(made)


_new = object.__new__
_set_id, _set_arm, _set_task, _set_probability, _set_step = (vars(Draw)[field.name].__set__ for field in fields(Draw))


def draw_to_list(draw: Draw) -> list[Any]:
    """Return a draw as a plain list, for a checkpoint."""
    return [draw.id, draw.arm, draw.probability, draw.step]


def draw_from_list(fields: Sequence[Any], tasks: Sequence[str]) -> Draw:
    """Return the draw that :func:`draw_to_list` wrote."""
    number, arm, probability, step = fields
    return Draw(number, arm, tasks[arm], probability, step)


def check_draw(draw: Draw) -> None:
    """Raise ``TypeError`` unless it is a draw."""
    if not isinstance(draw, Draw):
        raise TypeError(f"draw must be a Draw that draw() returned, got {draw!r}")


class OpenDraws:
    """The draws that are neither rewarded nor discarded, oldest first, with the policies that bandits may need."""

    def __init__(self) -> None:
        self._draws: dict[int, Draw] = {}
        self._policies: dict[int, FloatArray] = {}

    def to_list(self) -> list[Draw]:
        """Return the draws, oldest first."""
        return list(self._draws.values())

    def add(self, draw: Draw, policy: FloatArray | None) -> None:
        """Open a draw, and keep its policy if it is given."""
        self._draws[draw.id] = draw
        if policy is not None:
            self._policies[draw.id] = policy

    def check(self, draw: Draw, made: int) -> None:
        """Raise unless a draw is open.

        Args:
            draw: any draw.
            made: number of draws that were made so far.

        Raises:
            ValueError: why it is not open.
        """
        known = self._draws.get(draw.id)
        if known is not draw and known != draw:  # equal after a resume, else the very object
            if draw.id in self._draws or draw.id >= made:
                reason = "it was never drawn here"
            else:
                reason = "it was rewarded or discarded already"
            raise ValueError(f"draw {draw.id} of task {draw.task!r} is not open: {reason}")

    def close(self, draw: Draw) -> FloatArray | None:
        """Forget a draw that is open, and return the policy that was kept of it."""
        del self._draws[draw.id]
        return self._policies.pop(draw.id, None)

    def rearranged(self, carried: Sequence[int | None]) -> OpenDraws:
        """Return the draws of the arms that stay, and what a policy says of them; it is 1 for new arms.

        Args:
            carried: for every arm from now on, which one it was; ``None`` for a new one.
        """
        now = {before: arm for arm, before in enumerate(carried) if before is not None}
        other = OpenDraws()
        kept = [replace(draw, arm=now[draw.arm]) for draw in self._draws.values() if draw.arm in now]
        other._draws = {draw.id: draw for draw in kept}
        other._policies = {
            number: np.array([1.0 if arm is None else policy[arm] for arm in carried])
            for number, policy in self._policies.items()
            if number in other._draws
        }
        return other

    def state(self) -> dict[str, Any]:
        """Return the draws and policies as plain containers."""
        return {
            "open": [draw_to_list(draw) for draw in self._draws.values()],
            "policies": [[number, policy.tolist()] for number, policy in self._policies.items()],
        }

    @classmethod
    def from_state(cls, open_draws: Iterable[Any], policies: Iterable[Any], tasks: Sequence[str]) -> OpenDraws:
        """Return what :meth:`state` wrote.

        Args:
            open_draws: the draws.
            policies: number of the draw and policy.
            tasks: names of the arms at that time.
        """
        made = cls()
        draws = [draw_from_list(fields, tasks) for fields in open_draws]
        made._draws = {draw.id: draw for draw in draws}
        made._policies = {number: np.array(policy, dtype=np.float64) for number, policy in policies}
        return made
