"""The Teacher: draws tasks, remembers the open draws, and carries each reward back to the draw that earned it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from curricula.bandits.base import Bandit, FloatArray
from curricula.bandits.exp3s import Exp3S
from curricula.bandits.inversion import invert, invert_all
from curricula.bandits.pulls import Pull
from curricula.checks import as_number, check_count
from curricula.drawn_policy import DrawnPolicy
from curricula.draws import Draw, OpenDraws, check_draw, draw_from_list, draw_to_list, make_draws
from curricula.mixture import Mixture
from curricula.randomness import CounterGenerator, Stream
from curricula.rewards import QuantileScaler, RewardScaler
from curricula.state import seal, unseal
from curricula.task_names import TaskChanges, carried_arms, check_names
from curricula.task_policy import TaskPolicy

__all__ = ["Draw", "Teacher", "check_instance", "draw_from_list", "draw_to_list"]


class Teacher(TaskPolicy):
    """Chooses tasks by a bandit and teaches the bandit by scaled learning progress. Works in any loop.

    The draws of a step are a pure function of the seed, the number of the first of them and the policy, so all ranks, a
    resumed run and a run after a crash draw alike. Draws may be rewarded late, out of order, or never
    (:meth:`discard`). A step may have several draws: :meth:`draw_all` makes them from one policy, and
    :meth:`reward_all` teaches the bandit once by all of them.

    Args:
        tasks: unique names; arm ``k`` is the ``k``-th.
        bandit: default ``Exp3S()``; it is reset here.
        scaler: progress rate to reward; default ``QuantileScaler()``; it is reset here.
        seed: in ``[0, 2**64)``.
        horizon: expected number of steps, for the bandit's rates; ``None`` when unknown.
        draws_per_step: number of draws of a step, for the bandit's rates and for what the mixture counts in steps.
        mixture: a prior, floors, caps and what else is to stand between the bandit and the draws.
        sizes: number of samples of every task, for the prior ``"size"``.

    Raises:
        TypeError: if a name is not a string, or an object is not an instance of its class.
        ValueError: if there are no tasks, two have one name, a number is out of range, or the mixture does not fit the
            tasks.

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
        draws_per_step: int = 1,
        mixture: Mixture | None = None,
        sizes: Sequence[float] | None = None,
    ) -> None:
        self.tasks = check_names(tasks)
        self.bandit: Bandit = check_instance("bandit", Exp3S() if bandit is None else bandit, Bandit)
        self.scaler: RewardScaler = check_instance(
            "scaler", QuantileScaler() if scaler is None else scaler, RewardScaler
        )
        self._numbers = CounterGenerator(seed, Stream.DRAWS)
        self.seed = int(seed)
        self.draws_per_step = check_count("draws_per_step", draws_per_step)
        """Number of draws of a step."""
        self.mixture = None if mixture is None else check_instance("mixture", mixture, Mixture)
        """The user's mixture, if there is one."""
        self._drawn = DrawnPolicy(self.tasks, self.mixture, sizes)
        self.bandit.draws_per_step = self.draws_per_step
        self.bandit.reset(len(self.tasks), horizon)
        self.scaler.reset(self.seed)
        self.draws = 0
        """Number of draws made."""
        self.updates = 0
        """Number of steps learned from."""
        self.skipped = [0] * len(self.tasks)
        """Per task, rewards that were not learned from because the progress was not finite."""
        self.spent = 0.0
        """What all steps so far have cost."""
        self._open = OpenDraws()

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
        self._go_on_with(check_names([*self.tasks, name]))

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
        self._go_on_with(names)
        return changes

    def _go_on_with(self, names: tuple[str, ...]) -> None:
        carried = carried_arms(self.tasks, names)
        before = dict(vars(self._drawn))
        self._drawn.rearrange(names, carried)
        try:
            self.bandit.rearrange(carried)
        except Exception:
            vars(self._drawn).update(before)
            raise
        self._open = self._open.rearranged(carried)
        self.skipped = [0 if arm is None else self.skipped[arm] for arm in carried]
        self.tasks = names

    def draw(self, left: Mapping[int, int] | None = None) -> Draw:
        """Draw a task from the current policy and keep the draw open until it is rewarded or discarded.

        Args:
            left: as in :meth:`draw_all`.
        """
        if left is not None:
            self._check_left(left, 1)
        kept = self._policy_to_keep()
        numbers = self._numbers.at(self.draws)
        if self._drawn.stands_between:
            policy = self.probabilities()
            arm = invert(policy, numbers.random())
            probability = float(policy[arm])
            self.bandit.drawn([arm])
        else:
            arm = self.bandit.draw(numbers)
            [probability] = self.bandit.drawn([arm])
        draw = Draw(self.draws, arm, self.tasks[arm], probability, self.updates)
        self._open.add(draw, kept)
        self.draws += 1
        return draw

    def _check_left(self, left: Mapping[int, int], count: int) -> None:
        if not self.use_up(left, count):
            raise RuntimeError(
                "no task is left to draw: all have used up their passes (max_passes of the Mixture), or were removed. "
                "Look at teacher.is_over before you draw"
            )

    def draw_all(
        self, count: int, *, quotas: bool = False, rewarded: bool = True, left: Mapping[int, int] | None = None
    ) -> tuple[Draw, ...]:
        r"""Draw the tasks of one step from the current policy, with replacement, and keep the draws open.

        They are a pure function of the seed, the number of the first of them, ``count`` and the policy. The first of
        them is that of :meth:`draw`; the others have further random numbers of that place, and are not those that
        single calls would make. All are made and kept at once: a state that is taken between the rewards of a step
        has the others, and nothing is drawn again.

        By default each draw has a number of its own. With quotas they are not independent: one number :math:`u` decides
        all of them, by systematic sampling. Task :math:`i` has as many draws as there are points :math:`(u + k) / n`,
        :math:`k = 0 \dots n - 1`, in its stretch of the cumulated policy, and the draws have the points in a random
        order. So every single draw is of task :math:`i` with the policy's probability :math:`p_i`, whatever was drawn
        before, and among the :math:`n` draws of the step the task has :math:`n p_i`, rounded up or down. That takes
        time in proportion to the number of tasks.

        Args:
            count: number of draws, at least 1.
            quotas: make the numbers of the tasks' draws follow the policy with the least rounding.
            rewarded: keep the draws open; else they are as good as discarded.
            left: how many more draws a task may have, by arm; others have no limit. A task that has none left is not
                drawn. Where one may run out within the step the draws are made one after the other, each from the
                policy over the tasks that are left then, also with quotas.

        Raises:
            TypeError: if the count is no int.
            ValueError: if it is below 1.
            RuntimeError: if no task is left to draw.

        Example:
            >>> teacher = Teacher(["easy", "hard"], seed=1)
            >>> [draw.id for draw in teacher.draw_all(3)]
            [0, 1, 2]
            >>> sorted(draw.task for draw in teacher.draw_all(6, quotas=True))
            ['easy', 'easy', 'easy', 'hard', 'hard', 'hard']
        """
        check_count("count", count)
        if left is not None:
            self._check_left(left, count)
        kept = self._policy_to_keep() if rewarded else None
        numbers = self._numbers.at(self.draws)
        if left is not None and any(0 < number < count for number in left.values()):
            arms, probabilities = self._drawn_one_by_one(numbers.random(count), left)
            self.bandit.drawn(arms)
        elif quotas or self._drawn.stands_between:
            policy = self.probabilities()
            points = (numbers.random() + numbers.permutation(count)) / count if quotas else numbers.random(count)
            arms = invert_all(policy, points)
            probabilities = policy[arms].tolist()
            self.bandit.drawn(arms)
        else:
            arms = self.bandit.draw_all(numbers, count)
            probabilities = self.bandit.drawn(arms)
        draws = make_draws(self.draws, arms, probabilities, self.tasks, self.updates)
        if rewarded:
            for draw in draws:
                self._open.add(draw, kept)
        self.draws += count
        return draws

    def _drawn_one_by_one(self, numbers: FloatArray, left: Mapping[int, int]) -> tuple[list[int], list[float]]:
        """Draw with one uniform number each, and draw no task more often than is left of it."""
        remaining, gone = dict(left), set[int]()
        arms: list[int] = []
        probabilities: list[float] = []
        for number in numbers.tolist():
            policy = self._drawn.of(self.bandit, self._step, self.spent, without=gone)
            arm = invert(policy, number)
            arms.append(arm)
            probabilities.append(float(policy[arm]))
            if arm in remaining:
                remaining[arm] -= 1
                if remaining[arm] < 1:
                    gone.add(arm)
        return arms, probabilities

    def reward(self, draw: Draw, progress: float, cost: float = 1.0) -> float | None:
        """Close a draw with the progress that it earned and teach the bandit: :meth:`reward_all` of a step of one draw.

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
        rate = _checked_rate(draw, progress, cost)
        self._open.check(draw, self.draws)
        self.spent += cost
        return self._learn_one(draw, rate)

    def reward_all(
        self, outcomes: Iterable[tuple[Draw, float | None, float]], *, spent: float | None = None
    ) -> list[float | None]:
        """Close all draws of a step with what they earned and teach the bandit once, by the mean over them.

        The scaler maps every rate by what it knew before the step, and remembers them in the order of the draws'
        numbers. So neither a reward nor the policy depends on the order in which the outcomes are given, and no reward
        on those of the other draws of its step.

        Draws without finite progress are closed like the others, and teach nothing. The mean is over all draws of the
        step all the same (:meth:`Bandit.update_all <curricula.bandits.Bandit.update_all>`): what a draw is worth does
        not depend on what became of the others. If no draw has finite progress the bandit learns nothing, and the
        step is no update.

        Args:
            outcomes: one triple for each draw of the step, those included that are to be discarded: an open draw; its
                raw progress as in :meth:`reward`, or ``None`` where it is not known (the draw is discarded, and not
                counted in :attr:`skipped`); and the cost that its progress is divided by.
            spent: what the step cost altogether, for :attr:`spent`; ``None``: the sum over its draws, without those
                whose progress and cost are both unknown.

        Returns:
            For each outcome, in the order given, the scaled reward in ``[-1, 1]``, or ``None`` if there is none.

        Raises:
            TypeError: if a draw is none, or a progress or a cost is no number.
            ValueError: if there are no outcomes, a draw is not open or is given twice, or a cost is out of range. Then
                no draw was closed, and nothing has changed.

        Example:
            >>> teacher = Teacher(["easy", "hard"], seed=1, draws_per_step=2)
            >>> one, other = teacher.draw_all(2)
            >>> teacher.reward_all([(one, 0.3, 1.0), (other, None, 1.0)])
            [0.0, None]
            >>> teacher.updates, teacher.open_draws()
            (1, [])
        """
        rated: list[tuple[Draw, float | None]] = []
        seen: set[int] = set()
        total = 0.0
        for draw, progress, cost in outcomes:
            rated.append((draw, _rate(draw, progress, cost)))
            total += cost if rated[-1][1] is not None or math.isfinite(cost) else 0.0
            self._open.check(draw, self.draws)
            if draw.id in seen:
                raise ValueError(f"draw {draw.id} is given twice: give one outcome for each draw of the step")
            seen.add(draw.id)
        if not rated:
            raise ValueError("a step has at least one draw, got no outcomes: give one for each of its draws")
        self.spent += total if spent is None else spent
        draw, rate = rated[0]
        return [self._learn_one(draw, rate)] if len(rated) == 1 and rate is not None else self._learn(rated)

    def _learn_one(self, draw: Draw, rate: float) -> float | None:
        """Close the draw of a step, which is open, and teach the bandit by its progress rate."""
        policy = self._open.close(draw)
        if not math.isfinite(rate):
            self.skipped[draw.arm] += 1
            return None
        reward = self.scaler.scale(rate)
        self.bandit.update(draw.arm, reward, self._probability_to_learn_with(draw), policy)
        self.updates += 1
        return reward

    def _learn(self, rated: list[tuple[Draw, float | None]]) -> list[float | None]:
        """Close the draws of a step, which are open, and teach the bandit by their progress rates."""
        known: list[tuple[Draw, float, FloatArray | None]] = []
        for draw, rate in rated:
            policy = self._open.close(draw)
            if rate is not None and math.isfinite(rate):
                known.append((draw, rate, policy))
            elif rate is not None:
                self.skipped[draw.arm] += 1
        if not known:
            return [None] * len(rated)
        known.sort(key=lambda each: each[0].id)
        rewards = self.scaler.scale_all([rate for _, rate, _ in known])
        pulls = [
            Pull(draw.arm, reward, self._probability_to_learn_with(draw), policy)
            for (draw, _, policy), reward in zip(known, rewards, strict=True)
        ]
        self.bandit.update_all(pulls, draws=len(rated))
        self.updates += 1
        of_draw = {draw.id: reward for (draw, _, _), reward in zip(known, rewards, strict=True)}
        return [of_draw.get(draw.id) for draw, _ in rated]

    def discard(self, draw: Draw) -> None:
        """Close a draw that will never be rewarded.

        Raises:
            TypeError: if the draw is none.
            ValueError: if the draw is not open.
        """
        check_draw(draw)
        self._open.check(draw, self.draws)
        self._open.close(draw)

    def open_draws(self) -> list[Draw]:
        """Return the draws that are neither rewarded nor discarded, oldest first."""
        return self._open.to_list()

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
                **self._drawn.state(),
                **({"spent": self.spent} if self.spent else {}),
                **self._open.state(),
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
        drawn = self._drawn.loaded(content, carried)
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
        self.spent = float(content.get("spent", 0.0))
        self._drawn = drawn
        self._open = OpenDraws.from_state(content["open"], content["policies"], saved).rearranged(carried)
        self.skipped = [0 if arm is None else content["skipped"][arm] for arm in carried]
        return changes


def _rate(draw: Draw, progress: float | None, cost: float) -> float | None:
    if progress is None:
        check_draw(draw)
        return None
    return _checked_rate(draw, progress, cost)


def _checked_rate(draw: Draw, progress: float, cost: float) -> float:
    """Return the progress per cost of a draw, which may be not finite, or raise."""
    check_draw(draw)
    if type(progress) is not float:
        progress = as_number("progress", progress, ": give float('nan') where it cannot be told")
    if type(cost) is not float:
        cost = as_number("the cost of a step", cost, f" for task {draw.task!r}")
    if not (cost > 0 and math.isfinite(cost)):
        raise ValueError(f"the cost of a step must be finite and > 0, got {cost} for task {draw.task!r}")
    return progress / cost


def check_instance(what: str, value: Any, base: type[Any]) -> Any:
    """Return ``value`` if it is an instance of ``base``, else raise; a class in its place is told apart."""
    if not isinstance(value, base):
        hint = f": write {value.__name__}()" if isinstance(value, type) and issubclass(value, base) else ""
        raise TypeError(f"{what} must be an instance of {base.__name__}, got {value!r}{hint}")
    return value
