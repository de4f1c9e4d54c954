"""The ledger: a teacher, what it was told, and the record of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from curricula.agreement import Outcome
from curricula.checkpoint import tell_changes
from curricula.skipped_steps import SkippedSteps
from curricula.task_names import TaskChanges
from curricula.teacher import Draw, Teacher
from curricula.tracking.history import CurriculumHistory


class Ledger:
    """Rewards draws, and writes down what they came to.

    Args:
        teacher: chooses the tasks.
        history: of the same tasks, or of more.
        skipped: what was said so far of steps without a reward.
    """

    def __init__(self, teacher: Teacher, history: CurriculumHistory, skipped: SkippedSteps) -> None:
        self.teacher = teacher
        self.history = history
        self._skipped = skipped
        self._adopted: tuple[str, ...] | None = None  # tasks that the history has as its first

    def reward(
        self, draws: Sequence[Draw], outcomes: Sequence[Outcome], *, nothing_trained: bool = False
    ) -> list[float | None]:
        """Close the draws of a step with what they came to.

        Args:
            draws: of all ranks, in any order.
            outcomes: of the draws.
            nothing_trained: whether ``training_step`` returned nothing.

        Returns:
            For each draw its reward in ``[-1, 1]``, ``None`` if the bandit did not learn from it.
        """
        self._adopt_tasks()
        step = [(draw, outcome.progress, outcome.cost) for draw, outcome in zip(draws, outcomes, strict=True)]
        rewards = self.teacher.reward_all(step, spent=_spent(outcomes))
        rows = sorted(zip(draws, outcomes, rewards, strict=True), key=lambda row: row[0].id)
        for place, (draw, outcome, reward) in enumerate(rows):
            self._tell(draw, outcome, reward, nothing_trained)
            self._record(draw, outcome, reward, more=place < len(rows) - 1)
        return rewards

    def _tell(self, draw: Draw, outcome: Outcome, reward: float | None, nothing_trained: bool) -> None:
        if outcome.progress is None:  # not known yet
            return
        if reward is None:
            step = self.history.steps
            self._skipped.add(draw.task, outcome.progress, outcome.loss, step, nothing_trained=nothing_trained)
        elif self._skipped.of_task:
            self._skipped.end(draw.task)

    def _record(self, draw: Draw, outcome: Outcome, reward: float | None, *, more: bool) -> None:
        history = self.history
        history.record(
            draw,
            progress=math.nan if outcome.progress is None else outcome.progress,
            reward=reward,
            loss=outcome.loss,
            policy=self.teacher.probabilities() if not more and history.wants_policy else None,
            more=more,
            cost=outcome.spent,
            samples=outcome.samples,
        )

    def spend(self, draws: Sequence[Draw], outcomes: Sequence[Outcome]) -> None:
        """Count what draws have cost whose step the optimiser skipped; they are not counted themselves."""
        self._adopt_tasks()
        for draw, outcome in zip(draws, outcomes, strict=True):
            self.history.spend(draw.arm, outcome.spent, outcome.samples)
        self.teacher.spent += _spent(outcomes)

    def discard(self, draws: Sequence[Draw]) -> None:
        """Close the draws of a step that was not made."""
        for draw in draws:
            self.teacher.discard(draw)

    def set_tasks(self, tasks: tuple[str, ...], before: str, *, strict: bool) -> None:
        """Go on with other tasks, matched by name, and say what has changed.

        Args:
            tasks: from now on.
            before: what had the tasks of before, for messages.
            strict: refuse other tasks, or the same in another order.

        Raises:
            ValueError: if they are refused, or the bandit cannot change its arms.
        """
        if tasks == self.teacher.tasks:
            return
        if strict:
            raise ValueError(TaskChanges.between(self.teacher.tasks, tasks).refusal(before))
        changes = self.teacher.set_tasks(tasks)
        self._adopt_tasks()
        tell_changes(before, changes)

    def _adopt_tasks(self) -> None:
        if self._adopted is not self.teacher.tasks:
            self._adopted = self.teacher.tasks
            self.history.adopt(self._adopted)


def _spent(outcomes: Sequence[Outcome]) -> float:
    """Return what the draws of a step have cost, as far as it is known."""
    return math.fsum(outcome.spent for outcome in outcomes if math.isfinite(outcome.spent))
