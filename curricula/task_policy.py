"""The policy over tasks: what the bandit has learned, what the user wants of it, and which tasks are drawn at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from curricula.bandits.base import Bandit, FloatArray
from curricula.drawn_policy import DrawnPolicy
from curricula.draws import Draw, importance
from curricula.mixture import Mixture
from curricula.task_shares import check_known, shares_of_all


class TaskPolicy:
    """The side of a :class:`~curricula.Teacher` that says how likely every task is. The subclass makes the parts.

    Attributes:
        tasks: names of the tasks, in the order of the arms.
        bandit: chooses among them.
        mixture: the user's, if there is one.
        draws: number of draws made.
        draws_per_step: number of draws of a step.
        spent: what all steps so far have cost.
    """

    tasks: tuple[str, ...]
    bandit: Bandit
    mixture: Mixture | None
    draws: int
    draws_per_step: int
    spent: float
    _drawn: DrawnPolicy

    def probabilities(self) -> FloatArray:
        """Return a copy of the policy that is drawn from, shape ``(number of tasks,)``, with 0 for removed tasks."""
        if not self._drawn.stands_between:
            policy: FloatArray = self.bandit.probabilities().copy()
            return policy
        return self._drawn.of(self.bandit, self._step, self.spent)

    def prior(self) -> dict[str, float]:
        """Return the shares that the mixture has without the bandit, by task; uniform ones without a mixture."""
        return dict(zip(self.tasks, self._drawn.prior(self._step, self.spent).tolist(), strict=True))

    @property
    def _step(self) -> int:
        """Number of steps drawn so far."""
        return self.draws // self.draws_per_step

    def set_policy(self, shares: Mapping[str, float] | None) -> None:
        """Draw from these shares from now on, in the place of the bandit's policy and the mixture's prior.

        For those who compute the weights of the tasks themselves, from a callback of their own. The bandit learns on
        from the draws, without bias. Batches that worker processes were told to read come first. With several ranks,
        call it on all of them, at the same step and with the same shares.

        Args:
            shares: of every task by name, at least 0, sum to 1, between the mixture's floors and caps; ``None``: the
                bandit's policy again.

        Raises:
            TypeError: if a share is no number.
            ValueError: if a task is unknown, missing or not drawn now, a share is beyond its floor or cap, or they do
                not sum to 1. Then nothing has changed.

        Example:
            >>> from curricula import Teacher
            >>> teacher = Teacher(["easy", "hard"])
            >>> teacher.set_policy({"easy": 0.25, "hard": 0.75})
            >>> teacher.draw().probability in (0.25, 0.75)
            True
        """
        self._drawn.set(shares)

    def guard(self, names: Iterable[str]) -> None:
        """Give these tasks at least their prior share from now on, as far as floors and caps leave room; no others.

        Args:
            names: of tasks; none at all ends it.

        Raises:
            ValueError: if there is no such task.

        Example:
            >>> from curricula import Teacher
            >>> teacher = Teacher(["easy", "hard"])
            >>> teacher.guard(["hard"])
            >>> teacher.guarded
            ('hard',)
        """
        given = list(names)
        check_known("guard()", given, self.tasks)
        self._drawn.guarded = {self.tasks.index(name) for name in given}

    @property
    def guarded(self) -> tuple[str, ...]:
        """Names of the tasks that get at least their prior share, in the order of the arms."""
        return self._names_of(self._drawn.guarded)

    @property
    def used_up(self) -> tuple[str, ...]:
        """Names of the tasks that have used up their passes, in the order of the arms."""
        return self._names_of(self._drawn.used_up)

    @property
    def is_over(self) -> bool:
        """Whether there is no task left to draw: all have used up their passes, or were removed."""
        return self._drawn.is_over

    def weight_variance(self, prior: Mapping[str, float] | None = None, *, most: float | None = None) -> float:
        r"""Return the variance of the importance weights of the next draw, :meth:`Draw.weight`.

        .. math:: \sum_i x_i w_i^2 - \Big(\sum_i x_i w_i\Big)^2, \qquad w_i = \min(p_i / x_i, w_{max})

        Args:
            prior: shares of the tasks that the weights stand for; ``None``: those of :meth:`prior`.
            most: largest weight, ``> 0``; ``None``: no limit.

        Returns:
            At least 0, infinite where a task that is never drawn has a share in the prior. A gradient has about ``1 +
            variance`` times the noise that it would have with draws from the prior.
        """
        policy = self.probabilities()
        total = square = 0.0
        for name, share in (self.prior() if prior is None else shares_of_all("prior", prior, self.tasks)).items():
            drawn = float(policy[self.tasks.index(name)])
            if drawn > 0.0:
                weight = importance(share, drawn, most)
                total += drawn * weight
                square += drawn * weight * weight
            elif share > 0.0:
                return math.inf
        return max(0.0, square - total * total)

    def _names_of(self, arms: Iterable[int]) -> tuple[str, ...]:
        return tuple(self.tasks[arm] for arm in sorted(arms))

    @property
    def removed(self) -> tuple[str, ...]:
        """Names of the tasks that are not drawn now, in the order of the arms."""
        return self._names_of(self._drawn.removed)

    def is_removed(self, arm: int) -> bool:
        """Tell whether the task of this arm is not drawn now."""
        return arm in self._drawn.removed

    def remove_task(self, name: str) -> None:
        """Draw a task no more; the others share its probability in proportion to their own.

        Nothing is forgotten: the bandit keeps its weight, and open draws of the task may still be rewarded. A task that
        is to come later can be removed before the training starts, and restored when its time has come.

        Raises:
            ValueError: if there is no such task, it is the last that is left, or the caps of the others sum to less
                than 1.

        Example:
            >>> from curricula import Teacher
            >>> teacher = Teacher(["easy", "hard", "harder"])
            >>> teacher.remove_task("harder")
            >>> teacher.probabilities().tolist()
            [0.5, 0.5, 0.0]
            >>> teacher.restore_task("harder")
            >>> teacher.removed
            ()
        """
        self._drawn.remove(self._arm(name))

    def restore_task(self, name: str) -> None:
        """Draw a removed task again, with the weight that the bandit has for it.

        Raises:
            ValueError: if there is no such task.
        """
        self._drawn.removed.discard(self._arm(name))

    def _arm(self, name: str) -> int:
        if name not in self.tasks:
            raise ValueError(f"there is no task {name!r}: the tasks are {list(self.tasks)}")
        return self.tasks.index(name)

    def use_up(self, left: Mapping[int, int], count: int = 1) -> bool:
        """Note how many more draws the tasks may have, and tell whether a further step can be drawn.

        Args:
            left: how many more draws a task may have, by arm; others have no limit.
            count: number of draws of a step.
        """
        drawn = self._drawn
        able = [arm for arm in range(len(self.tasks)) if drawn.can_draw(arm)]
        if all(arm in left for arm in able) and sum(left[arm] for arm in able) < count:
            drawn.use_up(set(left))
        else:
            drawn.use_up({arm for arm, number in left.items() if number < 1})
        return not drawn.is_over

    def _policy_to_keep(self) -> FloatArray | None:
        if not self.bandit.needs_policy:
            return None
        policy = self.probabilities()
        if self._drawn.is_below_bandit:
            policy = np.maximum(policy, self.bandit.least_probability)
        policy[list(self._drawn.not_drawn)] = 1.0  # bonuses are divided by it, and a task not drawn has none to get
        return policy

    def _probability_to_learn_with(self, draw: Draw) -> float:
        """Return the probability of a draw, or what the bandit's rates were made for where it is below that."""
        if not self._drawn.is_below_bandit:
            return draw.probability
        return max(draw.probability, min(1.0, self.bandit.least_probability))
