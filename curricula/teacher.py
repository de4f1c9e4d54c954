"""The Teacher: draws tasks, remembers the open draws, and carries each reward back to the draw that earned it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curricula.bandits.base import Bandit, FloatArray, invert
from curricula.bandits.exp3s import Exp3S
from curricula.checks import as_number
from curricula.randomness import CounterGenerator, Stream
from curricula.rewards import QuantileScaler, RewardScaler
from curricula.state import seal, unseal
from curricula.task_names import TaskChanges, carried_arms, check_names


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
    """Number of rewards the policy had learned from at the draw."""


class Teacher:
    """Chooses tasks by a bandit and teaches the bandit by scaled learning progress. Works in any loop.

    Draw ``n`` is a pure function of the seed, ``n`` and the policy, so all ranks, a resumed run and a run after a crash
    draw alike. Draws may be rewarded late, out of order, or never (:meth:`discard`).

    Args:
        tasks: unique names; arm ``k`` is the ``k``-th.
        bandit: default ``Exp3S()``; it is reset here.
        scaler: progress rate to reward; default ``QuantileScaler()``; it is reset here.
        seed: in ``[0, 2**64)``.
        horizon: expected number of rewards, for the bandit's rates; ``None`` when unknown.

    Raises:
        TypeError: if a name is not a string, or the bandit or scaler is not an instance of its base class.
        ValueError: if there are no tasks or two have one name.

    Source: Graves et al. 2017, Algorithm 1.

    Example:
        >>> teacher = Teacher(["easy", "hard"], seed=1, horizon=100)
        >>> draw = teacher.draw()
        >>> draw.probability
        0.5
        >>> teacher.reward(draw, progress=0.3)  # the scaler is still warming up
        0.0
    """

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        bandit: Bandit | None = None,
        scaler: RewardScaler | None = None,
        seed: int = 0,
        horizon: int | None = None,
    ) -> None:
        self.tasks = check_names(tasks)
        self.bandit: Bandit = check_instance("bandit", Exp3S() if bandit is None else bandit, Bandit)
        self.scaler: RewardScaler = check_instance(
            "scaler", QuantileScaler() if scaler is None else scaler, RewardScaler
        )
        self._numbers = CounterGenerator(seed, Stream.DRAWS)
        self.seed = int(seed)
        self.bandit.reset(len(self.tasks), horizon)
        self.scaler.reset(self.seed)
        self.draws = 0
        """Number of draws made."""
        self.updates = 0
        """Number of rewards learned from."""
        self.skipped = [0] * len(self.tasks)
        """Per task, rewards that were not learned from because the progress was not finite."""
        self._open: dict[int, Draw] = {}
        self._policies: dict[int, FloatArray] = {}
        self._removed: set[int] = set()

    def probabilities(self) -> FloatArray:
        """Return a copy of the policy, shape ``(number of tasks,)``, with 0 for removed tasks."""
        policy: FloatArray = self.bandit.probabilities().copy()
        if self._removed:
            policy[list(self._removed)] = 0.0
            if not policy.any():  # the bandit would draw removed tasks only
                policy[self._left()] = 1.0
            policy /= policy.sum()
        return policy

    @property
    def removed(self) -> tuple[str, ...]:
        """Names of the tasks that are not drawn now, in the order of the arms."""
        return tuple(self.tasks[arm] for arm in sorted(self._removed))

    def is_removed(self, arm: int) -> bool:
        """Tell whether the task of this arm is not drawn now."""
        return arm in self._removed

    def remove_task(self, name: str) -> None:
        """Draw a task no more; the others share its probability in proportion to their own.

        Nothing is forgotten: the bandit keeps its weight, and open draws of the task may still be rewarded. A task that
        is to come later can be removed before the training starts, and restored when its time has come.

        Raises:
            ValueError: if there is no such task, or it is the last that is left.

        Example:
            >>> teacher = Teacher(["easy", "hard", "harder"])
            >>> teacher.remove_task("harder")
            >>> teacher.probabilities().tolist()
            [0.5, 0.5, 0.0]
            >>> teacher.restore_task("harder")
            >>> teacher.removed
            ()
        """
        arm = self._arm(name)
        if self._left() == [arm]:
            raise ValueError(f"task {name!r} is the last one that is left: there would be nothing to draw")
        self._removed.add(arm)

    def restore_task(self, name: str) -> None:
        """Draw a removed task again, with the weight that the bandit has for it.

        Raises:
            ValueError: if there is no such task.
        """
        self._removed.discard(self._arm(name))

    def add_task(self, name: str) -> None:
        """Add a task as the last arm, while a model trains or before.

        It gets the mean of the weights that the bandit has for the others, which keep their ratios; rates that were not
        set by hand are those of the new number of tasks. Open draws stay as they are. With a
        :class:`~curricula.CurriculumLoader` call :meth:`CurriculumLoader.add_task`, which has the data as well.

        Raises:
            TypeError: if the name is no string.
            ValueError: if there is such a task already, or the bandit cannot change its arms.

        Example:
            >>> teacher = Teacher(["easy", "hard"])
            >>> teacher.add_task("harder")
            >>> teacher.probabilities().round(3).tolist()
            [0.333, 0.333, 0.333]
        """
        tasks = check_names([*self.tasks, name])
        self.bandit.rearrange([*range(len(self.tasks)), None])
        self.tasks = tasks
        self.skipped.append(0)
        self._policies = {key: np.append(policy, 1.0) for key, policy in self._policies.items()}

    def set_tasks(self, tasks: Sequence[str]) -> TaskChanges:
        """Go on with other tasks, matched by name, as where the data are loaded anew. On an error nothing has changed.

        Tasks that stay keep the ratios of their weights, and new ones get the mean of these; rates that were not set by
        hand are those of the new number of tasks. Open draws of tasks that are gone are forgotten.

        Returns:
            Which tasks were kept, are new, and are gone.

        Raises:
            TypeError: if a name is no string.
            ValueError: if there are no tasks, two have one name, all that are left were removed, or the bandit cannot
                change its arms.

        Example:
            >>> teacher = Teacher(["easy", "hard"])
            >>> teacher.set_tasks(["hard", "harder"]).gone
            ('easy',)
            >>> teacher.tasks
            ('hard', 'harder')
        """
        names = check_names(tasks)
        changes = TaskChanges.between(self.tasks, names)
        if names == self.tasks:
            return changes
        carried = carried_arms(self.tasks, names)
        removed = _removed_now(self._removed, carried, names)
        self.bandit.rearrange(carried)
        self._carry(carried, list(self._open.values()), list(self._policies.items()), self.skipped)
        self.tasks, self._removed = names, removed
        return changes

    def _carry(
        self,
        carried: Sequence[int | None],
        draws: Iterable[Draw],
        policies: Iterable[tuple[int, Any]],
        skipped: Sequence[int],
    ) -> None:
        """Take over what was open among other tasks, of which ``carried`` tells the arms."""
        now = {before: arm for arm, before in enumerate(carried) if before is not None}
        kept = [replace(draw, arm=now[draw.arm]) for draw in draws if draw.arm in now]
        self._open = {draw.id: draw for draw in kept}
        self._policies = {
            key: np.array([1.0 if arm is None else policy[arm] for arm in carried])
            for key, policy in policies
            if key in self._open
        }
        self.skipped = [0 if arm is None else skipped[arm] for arm in carried]

    def _arm(self, name: str) -> int:
        if name not in self.tasks:
            raise ValueError(f"there is no task {name!r}: the tasks are {list(self.tasks)}")
        return self.tasks.index(name)

    def _left(self) -> list[int]:
        return [arm for arm in range(len(self.tasks)) if arm not in self._removed]

    def draw(self) -> Draw:
        """Draw a task from the current policy and keep the draw open until it is rewarded or discarded."""
        numbers = self._numbers.at(self.draws)
        if self._removed:
            policy = self.probabilities()
            arm = invert(policy, numbers.random())
            probability = float(policy[arm])
        else:
            arm = self.bandit.draw(numbers)
            probability = self.bandit.probability(arm)
        draw = Draw(self.draws, arm, self.tasks[arm], probability, self.updates)
        self._open[draw.id] = draw
        if self.bandit.needs_policy:
            policy = self.probabilities()
            policy[list(self._removed)] = 1.0  # bonuses are divided by it, and a task not to be drawn has none to get
            self._policies[draw.id] = policy
        self.draws += 1
        return draw

    def reward(self, draw: Draw, progress: float, cost: float = 1.0) -> float | None:
        """Close a draw with the progress that it earned and teach the bandit.

        Args:
            draw: an open draw.
            progress: raw learning progress, in any unit; larger is better. A value that is not finite never reaches
                the bandit: it is counted in :attr:`skipped`.
            cost: what the step cost, ``> 0`` and finite, in any unit; the reward is of ``progress / cost``.

        Returns:
            The scaled reward in ``[-1, 1]``, or ``None`` if it was skipped.

        Raises:
            TypeError: if the draw is none, or the progress or the cost is no number.
            ValueError: if the draw is not open (unknown, rewarded already, or discarded) or the cost is out of range.
        """
        _check_draw(draw)
        if type(progress) is not float:
            progress = as_number("progress", progress, ": give float('nan') where it cannot be told")
        if type(cost) is not float:
            cost = as_number("the cost of a step", cost, f" for task {draw.task!r}")
        if not (cost > 0 and math.isfinite(cost)):
            raise ValueError(f"the cost of a step must be finite and > 0, got {cost} for task {draw.task!r}")
        policy = self._close(draw)
        rate = progress / cost
        if not math.isfinite(rate):
            self.skipped[draw.arm] += 1
            return None
        reward = self.scaler.scale(rate)
        self.bandit.update(draw.arm, reward, draw.probability, policy)
        self.updates += 1
        return reward

    def discard(self, draw: Draw) -> None:
        """Close a draw that will never be rewarded.

        Raises:
            TypeError: if the draw is none.
            ValueError: if the draw is not open.
        """
        _check_draw(draw)
        self._close(draw)

    def open_draws(self) -> list[Draw]:
        """Return the draws that are neither rewarded nor discarded, oldest first."""
        return list(self._open.values())

    def _close(self, draw: Draw) -> FloatArray | None:
        known = self._open.get(draw.id)
        if known is not draw and known != draw:  # equal after a resume, else the very object
            if draw.id in self._open or draw.id >= self.draws:
                reason = "it was never drawn here"
            else:
                reason = "it was rewarded or discarded already"
            raise ValueError(f"draw {draw.id} of task {draw.task!r} is not open: {reason}")
        del self._open[draw.id]
        return self._policies.pop(draw.id, None)

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides the next draws, as plain containers with a format number and a SHA-256."""
        return seal(
            "teacher",
            {
                "tasks": list(self.tasks),
                "seed": self.seed,
                "draws": self.draws,
                "updates": self.updates,
                "skipped": list(self.skipped),
                "removed": sorted(self._removed),
                "open": [draw_to_list(draw) for draw in self._open.values()],
                "policies": [[key, policy.tolist()] for key, policy in self._policies.items()],
                "bandit": self.bandit.state_dict(),
                "scaler": self.scaler.state_dict(),
            },
        )

    def load_state_dict(self, state: Mapping[str, Any], *, strict: bool = True) -> TaskChanges:
        """Continue exactly where :meth:`state_dict` was taken. On an error nothing has changed.

        Args:
            state: of a teacher with the same seed, bandit and scaler.
            strict: refuse a state of other tasks, or of the same in another order. If not, tasks are matched by name:
                those that stay keep the ratios of their weights, new ones get the mean of these, and of those that are
                gone the open draws are forgotten.

        Returns:
            Which tasks were kept, are new, and are gone.

        Raises:
            ValueError: if the state is damaged, of a newer format, of other tasks, another seed, bandit or scaler.
        """
        content = unseal("teacher", state)
        saved = tuple(content["tasks"])
        changes = TaskChanges.between(saved, self.tasks)
        if strict and saved != self.tasks:
            raise ValueError(changes.refusal("the checkpoint's curriculum"))
        if content["seed"] != self.seed:
            raise ValueError(
                f"the checkpoint's curriculum has seed {content['seed']}, this one has {self.seed}: "
                f"give seed={content['seed']}, or start the curriculum anew"
            )
        carried = carried_arms(saved, self.tasks)
        removed = _removed_now(content.get("removed", ()), carried, self.tasks, " in the checkpoint")  # older: none
        before = self.bandit.state_dict()
        if saved == self.tasks:
            self.bandit.load_state_dict(content["bandit"])
        else:
            self.bandit.load_state_dict(content["bandit"], carried)
        try:
            self.scaler.load_state_dict(content["scaler"])
        except Exception:
            self.bandit.load_state_dict(before)
            raise
        self.draws = content["draws"]
        self.updates = content["updates"]
        self._removed = removed
        draws = [draw_from_list(fields, saved) for fields in content["open"]]
        self._carry(carried, draws, content["policies"], content["skipped"])
        return changes


def draw_to_list(draw: Draw) -> list[Any]:
    """Return a draw as a plain list, for a checkpoint."""
    return [draw.id, draw.arm, draw.probability, draw.step]


def draw_from_list(fields: Sequence[Any], tasks: Sequence[str]) -> Draw:
    """Return the draw that :func:`draw_to_list` wrote."""
    number, arm, probability, step = fields
    return Draw(number, arm, tasks[arm], probability, step)


def _removed_now(
    removed: Iterable[int], carried: Sequence[int | None], names: Sequence[str], where: str = ""
) -> set[int]:
    """Return the arms of now that were removed before, or raise if no other is left."""
    before = set(removed)
    now = {arm for arm, old in enumerate(carried) if old in before}
    if len(now) == len(names):
        raise ValueError(f"all of the tasks {list(names)} were removed{where}: give one that was not")
    return now


def _check_draw(draw: Draw) -> None:
    if not isinstance(draw, Draw):
        raise TypeError(f"draw must be a Draw that draw() returned, got {draw!r}")


def check_instance(what: str, value: Any, base: type[Any]) -> Any:
    """Return ``value`` if it is an instance of ``base``, else raise; a class in its place is told apart."""
    if not isinstance(value, base):
        hint = f": write {value.__name__}()" if isinstance(value, type) and issubclass(value, base) else ""
        raise TypeError(f"{what} must be an instance of {base.__name__}, got {value!r}{hint}")
    return value
