"""What every bandit is: probabilities over arms, a draw from them, an update with a reward."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from curricula.bandits.inversion import FloatArray, invert, invert_all
from curricula.bandits.pulls import Pull, merged
from curricula.checks import as_int

__all__ = ["Bandit", "FloatArray", "check_range"]


class Bandit(ABC):
    """A policy over arms ``0 .. num_arms - 1`` that learns from rewards in ``[-1, 1]``.

    A bandit is made with its options, then :meth:`reset` once with the number of arms. Subclasses implement
    :meth:`_start`, :meth:`probabilities`, :meth:`_learn`, :meth:`_state` and :meth:`_load_state`; where tasks come and
    go, :meth:`_rearrange`; and :meth:`_learn_all` where something happens once per step, however many draws it has.

    Example:
        >>> import numpy as np
        >>> from curricula.bandits import Exp3S
        >>> bandit = Exp3S()
        >>> bandit.reset(num_arms=3, horizon=1000)
        >>> arm = bandit.draw(np.random.default_rng(0))
        >>> bandit.update(arm, reward=0.5, probability=float(bandit.probabilities()[arm]))
    """

    needs_policy: bool = False
    """Whether :meth:`update` must be given the probabilities of *all* arms at the draw."""

    num_arms: int = 0
    """Number of arms; 0 before :meth:`reset`."""

    horizon: int | None = None
    """Expected number of updates, where known: of steps, however many draws each has."""

    draws_per_step: int = 1
    """Number of draws that :meth:`update_all` is given per step, for the rates. Set it before :meth:`reset`, which
    keeps it; :class:`~curricula.Teacher` does."""

    @property
    def least_probability(self) -> float:
        """Smallest probability of a draw that the bandit's rates are made for, in ``[0, 1]``; 0: there is none.

        Where a mixture draws a task less often than that, its rewards count as if it had been drawn with this
        probability: they are too small then, but a single one cannot turn the policy over.
        """
        return 0.0

    def __init_subclass__(cls, **options: Any) -> None:
        """Let a class that says what becomes of one reward or draw, and no more, handle several by that."""
        super().__init_subclass__(**options)
        if "_learn" in vars(cls) and "_learn_all" not in vars(cls):
            cls._learn_all = Bandit._learn_all  # type: ignore[method-assign]
        if "draw" in vars(cls) and "draw_all" not in vars(cls):
            cls.draw_all = _draw_each  # type: ignore[method-assign]

    def reset(self, num_arms: int, horizon: int | None = None) -> None:
        """Forget everything and start with ``num_arms`` arms.

        Args:
            num_arms: at least 1.
            horizon: expected number of updates (steps), at least 1; ``None`` when unknown.

        Raises:
            TypeError: if an argument is not an int.
            ValueError: if an argument, or an option of the bandit for this many arms, is out of range.
        """
        num_arms = as_int("num_arms", num_arms)
        horizon = None if horizon is None else as_int("horizon", horizon)
        if num_arms < 1:
            raise ValueError(f"a bandit needs at least one arm, got num_arms={num_arms}")
        if horizon is not None and horizon < 1:
            raise ValueError(f"horizon must be at least 1 update or None, got {horizon}")
        self.num_arms = num_arms
        self.horizon = horizon
        self._start()

    @abstractmethod
    def probabilities(self) -> FloatArray:
        """Return the policy, shape ``(num_arms,)``, sums to 1. Read it, do not write to it."""

    def probability(self, arm: int) -> float:
        """Return the probability of one arm, the very number that :meth:`probabilities` has for it."""
        return float(self.probabilities()[arm])

    def probabilities_among(self, arms: Sequence[int]) -> FloatArray:
        """Return the policy where only some arms can be drawn, as where tasks were removed.

        By default those arms share what the others have, in proportion to their own probability, and evenly where
        they have none. A policy that would choose one of the others has to choose anew: say so here.

        Args:
            arms: that can be drawn, at least one, in increasing order.

        Returns:
            Shape ``(num_arms,)``, sums to 1, 0 for the other arms; the caller may write to it.
        """
        policy = np.zeros(self.num_arms)
        policy[arms] = self.probabilities()[arms]
        if not policy.any():
            policy[arms] = 1.0
        policy /= policy.sum()
        return policy

    def draw(self, rng: np.random.Generator) -> int:
        """Draw an arm from :meth:`probabilities` by inverting the distribution function with one uniform number."""
        if not self.num_arms:
            raise RuntimeError(f"call {type(self).__name__}.reset(num_arms) before draw()")
        return invert(self.probabilities(), rng.random())

    def draw_all(self, rng: np.random.Generator, count: int) -> list[int]:
        """Draw the arms of one step: those of ``count`` calls of :meth:`draw`, found together where that is cheaper.

        Args:
            rng: gives one uniform number per draw.
            count: at least 1.
        """
        if not self.num_arms:
            raise RuntimeError(f"call {type(self).__name__}.reset(num_arms) before draw_all()")
        return invert_all(self.probabilities(), rng.random(count))

    def drawn(self, arms: Sequence[int]) -> list[float]:
        """Take note of the arms of one step, before they are trained on, and return the probability of each.

        :meth:`draw` and :meth:`draw_all` change nothing; a policy that depends on what was drawn changes here. The arms
        may have been drawn from another policy, as where tasks were removed: then the probabilities are not used.

        Args:
            arms: of the step's draws, in their order.
        """
        return list(map(self.probability, arms))

    def update(self, arm: int, reward: float, probability: float, policy: FloatArray | None = None) -> None:
        """Learn that ``arm``, drawn with ``probability``, earned ``reward``.

        Args:
            arm: in ``[0, num_arms)``.
            reward: in ``[-1, 1]``.
            probability: of the arm *at the draw*, in ``(0, 1]``. Rewards may arrive late and out of order: with the
                probability of the draw the estimate stays unbiased, with today's it does not.
            policy: shape ``(num_arms,)``, the whole policy at the draw; required when :attr:`needs_policy`.

        Raises:
            RuntimeError: before :meth:`reset`.
            ValueError: if an argument is out of range or not finite.
        """
        if not self.num_arms:
            raise RuntimeError(f"call {type(self).__name__}.reset(num_arms) before update()")
        self._learn(*self._checked(arm, reward, probability, policy))

    def update_all(
        self,
        pulls: Iterable[Pull | tuple[int, float, float] | tuple[int, float, float, FloatArray | None]],
        draws: int | None = None,
    ) -> None:
        r"""Learn what the draws of one step earned: once, by their mean, in whatever order they are given.

        .. math:: \tilde r_i = \frac{1}{B} \sum_{b=1}^{B} \frac{r_b\,\mathbb{1}[a_b = i]}{\pi_b(i)}

        is what :math:`i` would have earned, without bias, whatever the other draws of the step were. The policy moves
        as far as by one draw, with less variance: a sum in place of the mean would move it B times as far. It is one
        update for :attr:`horizon`, and what a bandit does per update (sharing, smaller steps) it does once.

        Args:
            pulls: arm, reward and probability at the draw, as in :meth:`update`, and the policy at the draw where
                :attr:`needs_policy`. None at all changes nothing.
            draws: B, the number of the step's draws, where some of them earned no reward that is known; at least
                ``len(pulls)``, which is the default. A draw without a reward then counts as one of 0: if the mean were
                over the others alone, a task without rewards would make those of all other tasks larger.

        Raises:
            RuntimeError: before :meth:`reset`.
            TypeError: if ``draws`` is no int.
            ValueError: if an argument is out of range or not finite. Then nothing has changed.

        Example:
            >>> from curricula.bandits import Exp3
            >>> bandit = Exp3(eta=0.1, epsilon=0.0)
            >>> bandit.reset(num_arms=2)
            >>> bandit.update_all([(0, 1.0, 0.5), (1, -1.0, 0.5), (0, 1.0, 0.5), (1, -1.0, 0.5)])
            >>> weights = bandit.log_weights()
            >>> round(float(weights[0] - weights[1]), 12)  # as by 0.1 * (1 + 1) / 0.5 / 2
            0.2
        """
        if not self.num_arms:
            raise RuntimeError(f"call {type(self).__name__}.reset(num_arms) before update_all()")
        checked = [Pull(*self._checked(*pull)) for pull in pulls]
        number = len(checked) if draws is None else _check_draws(draws, len(checked))
        if number == 1 and checked:
            self._learn(*checked[0])
        elif checked:
            self._learn_all(checked, number)

    def _checked(
        self, arm: int, reward: float, probability: float, policy: FloatArray | None = None
    ) -> tuple[int, float, float, FloatArray | None]:
        if not 0 <= arm < self.num_arms:
            raise ValueError(f"arm must be in [0, {self.num_arms}), got {arm}")
        if not -1.0 <= reward <= 1.0:  # false for NaN as well
            raise ValueError(f"reward must be in [-1, 1], got {reward}: scale it first (see QuantileScaler)")
        if not 0.0 < probability <= 1.0 + 1e-12:
            raise ValueError(f"probability of the draw must be in (0, 1], got {probability}")
        if self.needs_policy:
            if policy is None or np.shape(policy) != (self.num_arms,):
                raise ValueError(
                    f"{type(self).__name__} needs the policy at the draw, shape ({self.num_arms},), "
                    f"got {None if policy is None else np.shape(policy)}"
                )
            policy = np.asarray(policy, dtype=np.float64)
            if not ((policy >= 0.0) & (policy <= 1.0 + 1e-12)).all():  # false for NaN as well
                raise ValueError(f"the policy at the draw must be of probabilities in [0, 1], got {policy.tolist()}")
        return arm, float(reward), float(probability), policy

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides the next probabilities, as plain containers."""
        return {
            "bandit": type(self).__name__,
            "num_arms": self.num_arms,
            "horizon": self.horizon,
            **self._state(),
        }

    def load_state_dict(self, state: dict[str, Any], arms: Sequence[int | None] | None = None) -> None:
        """Continue exactly where :meth:`state_dict` was taken. On an error nothing has changed.

        Args:
            state: of a bandit of this class.
            arms: where the arms have changed since: as in :meth:`rearrange`.

        Raises:
            ValueError: if the state is of another bandit.
        """
        if state.get("bandit") != type(self).__name__:
            raise ValueError(
                f"the state is of the bandit {state.get('bandit')!r}, this one is {type(self).__name__!r}: "
                f"make the same bandit, or start the curriculum anew"
            )
        before = dict(vars(self))
        try:
            self.reset(state["num_arms"], state["horizon"])
            self._load_state(state)
            if arms is not None:
                self.rearrange(arms)
        except Exception:
            vars(self).update(before)
            raise

    def rearrange(self, arms: Sequence[int | None]) -> None:
        """Change the arms, and keep what was learned of those that stay. On an error nothing has changed.

        The weights of the arms that stay keep their ratios; a new arm gets the mean of them. Rates that were not set
        by hand are those of the new number of arms.

        Args:
            arms: for every arm from now on, which one it was, in ``[0, num_arms)`` and none of them twice; ``None`` for
                a new one.

        Raises:
            RuntimeError: before :meth:`reset`.
            ValueError: if there is no such arm, one is given twice, or the bandit cannot change its arms.

        Example:
            >>> from curricula.bandits import FixedPolicy
            >>> bandit = FixedPolicy([3.0, 1.0])
            >>> bandit.reset(num_arms=2)
            >>> bandit.rearrange([1, 0, None])
            >>> bandit.probabilities().round(3).tolist()
            [0.167, 0.5, 0.333]
        """
        if not self.num_arms:
            raise RuntimeError(f"call {type(self).__name__}.reset(num_arms) before rearrange()")
        kept = [arm for arm in arms if arm is not None]
        if not arms or len(set(kept)) < len(kept) or not all(0 <= arm < self.num_arms for arm in kept):
            raise ValueError(
                f"arms must name each of {self.num_arms} arms at most once, and None for a new one, got {list(arms)}"
            )
        before = dict(vars(self))
        try:
            self._rearrange(list(arms))
        except Exception:
            vars(self).update(before)
            raise

    def describe(self) -> str:
        """Return one line with the constants in force, for logs."""
        return f"{type(self).__name__}(num_arms={self.num_arms})"

    @abstractmethod
    def _start(self) -> None:
        """Set the initial state for ``num_arms`` and ``horizon``."""

    @abstractmethod
    def _learn(self, arm: int, reward: float, probability: float, policy: FloatArray | None) -> None:
        """Apply one checked reward.

        Unless there is a :meth:`_learn_all`, it is also called for each arm of a step with several draws, with their
        mean reward and a probability that may then be above 1: see :func:`~curricula.bandits.pulls.merged`.
        """

    def _learn_all(self, pulls: list[Pull], draws: int) -> None:
        """Apply the checked rewards of one step with several draws.

        By default every arm of the step learns once, from its mean reward. Where something happens once per update,
        such as sharing or a count, say here that it does.

        Args:
            pulls: at least one, in any order, which must not matter.
            draws: number of the step's draws, at least 2 and at least ``len(pulls)``.
        """
        for pull in merged(pulls, draws):
            self._learn(*pull)

    def _rearrange(self, arms: list[int | None]) -> None:
        """Change the arms, and ``num_arms``. Replace arrays, do not write to them."""
        raise ValueError(
            f"{type(self).__name__} cannot change its arms: implement {type(self).__name__}._rearrange(arms), or give "
            "the same tasks in the same order"
        )

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """Return the learned state."""

    @abstractmethod
    def _load_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`_state` returned."""


def _draw_each(self: Bandit, rng: np.random.Generator, count: int) -> list[int]:
    return [self.draw(rng) for _ in range(count)]


def _check_draws(draws: int, pulls: int) -> int:
    number = as_int("draws", draws)
    if number < pulls:
        raise ValueError(f"a step of {number} draws cannot have {pulls} rewards: give the number of all of its draws")
    return number


def check_range(name: str, value: float, low: float, high: float, *, open_low: bool = False) -> float:
    """Return ``value`` as a float if it is finite and in the range, else raise ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {value!r} ({type(value).__name__})")
    inside = low < value <= high if open_low else low <= value <= high
    if not (inside and math.isfinite(value)):
        close = ")" if math.isinf(high) else "]"
        raise ValueError(f"{name} must be in {'(' if open_low else '['}{low:g}, {high:g}{close}, got {value}")
    return float(value)
