"""What stands between the bandit's policy and the one that tasks are drawn from."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from curricula.bandits.base import Bandit, FloatArray
from curricula.mixture import Mixture, check_bounds
from curricula.schedule import Schedule
from curricula.shares import bounded, tilted
from curricula.task_shares import shares_of_all

_log = logging.getLogger(__name__)


class DrawnPolicy:
    """From the bandit's policy to the policy that tasks are drawn from.

    A function of the bandit's policy, of how far the training is, and of what the user has said: the mixture, tasks
    that were removed, have used up their passes or are guarded, and a policy that was set in the place of the bandit's.

    Args:
        names: of the tasks, in the order of the arms.
        mixture: the user's, if there is one.
        sizes: of the tasks, if the mixture's prior needs them.

    Raises:
        ValueError: if the mixture does not fit the tasks.

    Attributes:
        removed: arms that are not drawn now.
        used_up: arms that have used up their passes.
        guarded: arms that get at least their prior share.
    """

    def __init__(
        self, names: Sequence[str], mixture: Mixture | None = None, sizes: Sequence[float] | None = None
    ) -> None:
        self.mixture = mixture
        self.removed: set[int] = set()
        self.used_up: set[int] = set()
        self.guarded: set[int] = set()
        self._set: FloatArray | None = None
        if mixture is not None:
            mixture.check_names(names)
        self._name(names, None if mixture is None else mixture.prior_of(names, sizes))
        if mixture is not None:
            self._check()

    def _name(self, names: Sequence[str], prior: FloatArray | None) -> None:
        """Take over the tasks, and their prior where it is constant."""
        self._names, mixture = tuple(names), self.mixture
        self._prior = prior if mixture is not None else np.full(len(names), 1.0 / len(names))
        self._possible = {arm for arm, name in enumerate(names) if mixture is None or not mixture.leaves_out(name)}
        self._floors = np.zeros(len(names)) if mixture is None else mixture.floors(names)
        self._caps = np.ones(len(names)) if mixture is None else mixture.caps(names)
        self._bounds = bool(self._floors.any() or (self._caps < 1.0).any())
        self._tilts = mixture is not None and (
            mixture.prior != "uniform" or mixture.strength < 1.0 or mixture.warmup > 0 or prior is None
        )

    def _check(self) -> None:
        check_bounds(self._floors, self._caps, self._names, np.ones(len(self._names), dtype=bool))
        mixture = self.mixture
        if mixture is None or isinstance(mixture.prior, str):
            return  # a prior that was not given share by share is moved between the bounds
        points = mixture.prior.points if isinstance(mixture.prior, Schedule) else [(0, mixture.prior)]
        for position, shares in points:
            for name, floor, cap in zip(self._names, self._floors, self._caps, strict=True):
                share = shares[name]
                if not floor - 1e-9 <= share <= cap + 1e-9:
                    when = f" from {position:g} on" if isinstance(mixture.prior, Schedule) else ""
                    raise ValueError(
                        f"the prior share of task {name!r} is {share:g}{when}, which is not between its floor "
                        f"{floor:g} and its cap {cap:g}: move one of them"
                    )

    @property
    def stands_between(self) -> bool:
        """Whether it makes a difference at all; if not, the bandit is drawn from directly."""
        return bool(
            self._tilts or self._bounds or self.removed or self.used_up or self.guarded or self._set is not None
        )

    @property
    def is_below_bandit(self) -> bool:
        """Whether a task may be drawn less often than the bandit's exploration would have it."""
        return self._tilts or self._bounds or bool(self.guarded) or self._set is not None

    @property
    def not_drawn(self) -> set[int]:
        """Arms that are not drawn now, for whatever reason but the policy."""
        return self.removed | self.used_up

    def prior(self, step: int, spent: float) -> FloatArray:
        """Return the shares that a mixture without a bandit would have, shape ``(N,)``, with 0 for tasks not drawn.

        Args:
            step: number of steps drawn so far.
            spent: cost of the training so far.
        """
        shares = self._prior
        if shares is None:
            schedule: Any = self.mixture and self.mixture.prior
            shares = schedule.shares(spent if schedule.unit == "cost" else float(step), self._names)
        return _among(shares, self._left()) if self.not_drawn and not self.is_over else shares

    def of(self, bandit: Bandit, step: int, spent: float = 0.0, without: Iterable[int] = ()) -> FloatArray:
        """Return the policy that tasks are drawn from, shape ``(N,)``, sums to 1; 0 where no task is left to draw.

        It is a new array.

        Args:
            bandit: of the same arms.
            step: number of steps drawn so far.
            spent: cost of the training so far.
            without: further arms that are not to be drawn, as where the draws of a step use up a task's passes.
        """
        gone = self.not_drawn.union(without)
        mixture = self.mixture
        prior = self.prior(step, spent) if self._tilts and self._set is None else None
        if prior is not None:
            gone |= self._left_out(prior, gone)
        left = [arm for arm in range(len(self._names)) if arm not in gone] if gone else None
        if left == []:
            return np.zeros(len(self._names))
        if self._set is not None:
            policy = _among(self._set, left, self.prior(step, spent))
        else:
            policy = bandit.probabilities().copy() if left is None else bandit.probabilities_among(left)
            if mixture is not None and prior is not None:
                policy = tilted(_among(prior, left), policy, 0.0 if step < mixture.warmup else mixture.strength)
        if self._bounds or self.guarded:
            floors, caps = self._bounds_now(step, spent, gone)
            policy = bounded(policy, floors, caps, self.prior(step, spent))
            policy = policy / policy.sum()
        return policy

    def _left_out(self, prior: FloatArray, gone: set[int]) -> set[int]:
        """Return the arms that the prior leaves out now; at all times, where it has no other task that is left."""
        now = set(np.flatnonzero(prior <= 0.0).tolist())
        return now if len(now | gone) < len(self._names) else set(range(len(self._names))) - self._possible

    def _left(self) -> list[int]:
        return sorted(self._possible - self.not_drawn)

    def can_draw(self, arm: int) -> bool:
        """Tell whether a task may have draws, now or later, but for its passes."""
        return arm in self._possible and arm not in self.removed

    @property
    def is_over(self) -> bool:
        """Whether no task is left to draw."""
        return not self._left()

    def _bounds_now(self, step: int, spent: float, gone: set[int]) -> tuple[FloatArray, FloatArray]:
        """Return floors and caps of the tasks that are left, which can all be kept."""
        floors, caps = self._floors.copy(), self._caps.copy()
        floors[[*gone]], caps[[*gone]] = 0.0, 0.0
        total = float(caps.sum())
        if total < 1.0:  # tasks have used up their passes: the others share alike what was theirs
            caps /= total
        if self.guarded:
            prior = self.prior(step, spent)
            wanted = np.zeros_like(floors)
            arms = [arm for arm in self.guarded if arm not in gone]
            wanted[arms] = np.maximum(np.minimum(prior[arms], caps[arms]) - floors[arms], 0.0)
            room, more = 1.0 - float(floors.sum()), float(wanted.sum())
            floors += wanted if more <= room else wanted * (max(0.0, room) / more)
        return floors, caps

    # ---------------------------------------------------------------- what the user says on the way

    def remove(self, arm: int) -> None:
        """Draw a task no more.

        Raises:
            ValueError: if it is the last that is left, or the caps of the others do not sum to 1.
        """
        if self._left() == [arm]:
            raise ValueError(f"task {self._names[arm]!r} is the last one that is left: there would be nothing to draw")
        left = np.ones(len(self._names), dtype=bool)
        left[[*self.not_drawn, arm]] = False
        if not self.used_up:
            check_bounds(self._floors, self._caps, self._names, left)
        self.removed.add(arm)

    def use_up(self, arms: set[int]) -> None:
        """Note which tasks have used up their passes."""
        new = arms - self.used_up
        self.used_up = arms
        left = float(self._caps[self._left()].sum())
        if new and 0.0 < left < 1.0:
            _log.warning(
                "the caps of the tasks that have not used up their passes sum to %.3g: their caps are raised in "
                "proportion until they sum to 1",
                left,
            )

    def set(self, shares: Mapping[str, float] | None) -> None:
        """Draw from these shares in the place of the bandit's policy; ``None``: from the bandit's again.

        Raises:
            TypeError: if a share is no number.
            ValueError: if a task is unknown, missing, removed, or beyond its floor or cap, or the shares do not sum
                to 1.
        """
        if shares is None:
            self._set = None
            return
        if not isinstance(shares, Mapping):
            raise TypeError(f"the policy must be the share of every task by name, or None, got {shares!r}")
        checked = shares_of_all("the policy", shares, self._names)
        policy = np.array([checked[name] for name in self._names])
        for arm, (name, share) in enumerate(zip(self._names, policy, strict=True)):
            if share > 0.0 and arm in self.not_drawn:
                why = "was removed" if arm in self.removed else "has used up its passes"
                raise ValueError(f"task {name!r} {why}, and the policy gives it {share:g}: give it 0")
            if arm not in self.not_drawn and not self._floors[arm] - 1e-9 <= share <= self._caps[arm] + 1e-9:
                raise ValueError(
                    f"the policy gives task {name!r} {share:g}, which is not between its floor {self._floors[arm]:g} "
                    f"and its cap {self._caps[arm]:g}"
                )
        self._set = policy

    # ---------------------------------------------------------------- other tasks, and the state

    def rearrange(self, names: Sequence[str], carried: Sequence[int | None]) -> None:
        """Go on with other tasks: those that stay keep the ratios of their shares, new ones get the mean of these.

        Args:
            names: of the tasks from now on.
            carried: for each of them, which arm it was; ``None`` for a new one.

        Raises:
            ValueError: if all that are left were removed, or the limits do not fit. Then nothing has changed.
        """
        before = dict(vars(self))
        now = {old: arm for arm, old in enumerate(carried) if old is not None}
        try:
            if self.mixture is not None and self._prior is None:
                self.mixture.check_names(names)  # a schedule has the shares of its own tasks alone
            self._name(names, None if self._prior is None else _carried(self._prior, carried))
            self.removed = {now[arm] for arm in self.removed if arm in now}
            self.used_up = {now[arm] for arm in self.used_up if arm in now}
            self.guarded = {now[arm] for arm in self.guarded if arm in now}
            self._set = None if self._set is None else _carried(self._set, carried, new=0.0)
            if len(self.removed) == len(names):
                raise ValueError(f"all of the tasks {list(names)} were removed: give one that was not")
            check_bounds(self._floors, self._caps, self._names, ~np.isin(np.arange(len(names)), list(self.removed)))
        except Exception:
            vars(self).update(before)
            raise

    def state(self) -> dict[str, Any]:
        """Return what was said on the way, as plain containers; nothing that is as at the start but the removed."""
        state: dict[str, Any] = {"removed": sorted(self.removed)}
        if self.used_up:
            state["used_up"] = sorted(self.used_up)
        if self.guarded:
            state["guarded"] = sorted(self.guarded)
        if self._set is not None:
            state["set_policy"] = self._set.tolist()
        if self.mixture is not None:
            state["mixture"] = self.mixture.described()
            state["prior"] = None if self._prior is None else self._prior.tolist()
        return state

    def loaded(self, content: Mapping[str, Any], carried: Sequence[int | None]) -> DrawnPolicy:
        """Return the policy of a state, with the mixture of now.

        Args:
            content: has what :meth:`state` returned.
            carried: for every task of now, which arm it was then.

        Raises:
            ValueError: if all that are left were removed.
        """
        other = DrawnPolicy.__new__(DrawnPolicy)
        vars(other).update(vars(self))
        for name in ("removed", "used_up", "guarded"):
            before = set(content.get(name, ()))
            setattr(other, name, {arm for arm, old in enumerate(carried) if old in before})
        if len(other.removed) == len(self._names):
            raise ValueError(
                f"all of the tasks {list(self._names)} were removed in the checkpoint: give one that was not"
            )
        policy = content.get("set_policy")
        other._set = None if policy is None else _carried(np.array(policy, dtype=np.float64), carried, new=0.0)
        now, then = other.mixture and other.mixture.described(), content.get("mixture")
        if now == then and content.get("prior") is not None:
            other._prior = _carried(np.array(content["prior"], dtype=np.float64), carried)
        elif now != then:
            _log.warning(
                "the checkpoint's curriculum had another mixture (%s), this one has %s: it goes on with that",
                then,
                now,
            )
        return other


def _among(shares: FloatArray, left: Sequence[int] | None, otherwise: FloatArray | None = None) -> FloatArray:
    """Return the shares over the arms that are left, as a new array; where they have none, others, or equal ones."""
    among: FloatArray = shares.copy()
    if left is None:
        return among
    among = np.zeros(len(shares))
    among[left] = shares[left]
    if not among.any() and otherwise is not None:
        among[left] = otherwise[left]
    if not among.any():
        among[left] = 1.0
    among /= among.sum()
    return among


def _carried(shares: FloatArray, carried: Sequence[int | None], new: float | None = None) -> FloatArray:
    """Return the shares of other tasks; new ones get the mean of those that stay, or what is given."""
    kept = [float(shares[arm]) for arm in carried if arm is not None]
    mean = (sum(kept) / len(kept) if kept else 1.0) if new is None else new
    moved: FloatArray = np.array([mean if arm is None else float(shares[arm]) for arm in carried])
    if not moved.any():
        moved[:] = 1.0
    if None in carried or len(kept) < len(shares):  # else they sum to 1 as they are
        moved /= moved.sum()
    return moved
