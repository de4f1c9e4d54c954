"""What is compared on: tasks as samples, a plain module, and a goal that was fixed beforehand."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytorch_lightning as pl

SCORES = ("target", "mean", "worst", "solved")
"""What a goal may be for."""


class Scored(pl.LightningModule):
    """A plain module that can be scored on a batch."""

    def score(self, batch: Any) -> float:
        """Return the score of a batch, in the unit of the problem."""
        raise NotImplementedError(f"define {type(self).__name__}.score(batch)")


class GivesLosses(Scored):
    """Made of a module with ``losses(batch)``: a training step that gives the loss of every sample too."""

    losses: Callable[[Any], Any]

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the mean of the losses, and the losses."""
        losses = self.losses(batch)
        return {"loss": losses.mean(), "losses": losses}


@dataclass(frozen=True)
class Problem:
    """A set of tasks, a module and a goal. Nothing in it knows the curriculum.

    Attributes:
        name: short, used in records and file names.
        title: for tables and pages.
        text: what it is, and what a curriculum could gain, in a sentence or two.
        tasks: from a seed to the training tasks: map-style datasets, or iterable ones, of samples.
        held_out: from task name to a batch that is never trained on, whatever the seed.
        model: from a learning rate to an untrained module with ``score(batch) -> float``.
        goal: of the score, fixed before anything is compared.
        of: what the goal is for: the score of the target, the mean or the worst of the held-out tasks, or the number of
            tasks that are solved.
        unit: of the score.
        higher_is_better: whether the score is to rise.
        target: name of the target task, if there is one.
        budget: optimiser steps of a run.
        evaluate_every: steps between two evaluations.
        batch_size: samples per optimiser step.
        learning_rates: that every method may choose from, on tuning seeds.
        tuning_steps: of the runs in which rates are chosen, for every method alike; ``None`` for the whole budget.
        seeds: how many runs of each method are reported.
        task_goal: score from which on a task is solved, for a goal that is a number of them.
        mixes: whether samples of different tasks collate into one batch.
        collate: from a list of samples to a batch; ``None`` for torch's own way.
        order: tasks from the easiest to the hardest, for a syllabus by hand; ``None`` where nobody would know.
        useful: tasks that a mixture by hand would be made of; ``None`` where all are useful.
        one_size: whether no task has more data than another.
        stops_at_goal: whether a run ends at its goal, where nothing that comes after is of interest.
        variational: whether the module's weights are Gaussian, for signals of complexity.
        cost: from a batch to what it costs, such as its number of symbols; ``None`` where every sample costs the same.
        unit_of_cost: of ``cost``.
        grid: axes of the tasks, for pictures of the curriculum.
        trainer_options: options of the Trainer, such as gradient clipping.
    """

    name: str
    title: str
    text: str
    tasks: Callable[[int], Mapping[str, Any]]
    held_out: Callable[[], Mapping[str, Any]]
    model: Callable[[float], Scored]
    goal: float
    of: Literal["target", "mean", "worst", "solved"]
    unit: str
    higher_is_better: bool
    target: str | None
    budget: int
    evaluate_every: int
    batch_size: int
    learning_rates: Sequence[float]
    tuning_steps: int | None = None
    seeds: int = 8
    task_goal: float | None = None
    mixes: bool = True
    collate: Callable[[list[Any]], Any] | None = None
    order: Sequence[str] | None = None
    useful: Sequence[str] | None = None
    one_size: bool = True
    stops_at_goal: bool = False
    variational: bool = False
    cost: Callable[[Any], float] | None = None
    unit_of_cost: str = "samples"
    grid: Mapping[str, int | Sequence[Any]] | None = None
    trainer_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be compared.

        Raises:
            ValueError: if the goal is for a target that is not there, or a number is out of range.
        """
        if self.of not in SCORES:
            near = difflib.get_close_matches(str(self.of), SCORES, n=1, cutoff=0.0)[0]
            raise ValueError(f"problem {self.name!r} has its goal for {self.of!r}: did you mean {near!r}? Of {SCORES}")
        if self.of == "target" and self.target is None:
            raise ValueError(f"problem {self.name!r} has its goal for a target, and no target: give target=<task>")
        if self.of == "solved" and self.task_goal is None:
            raise ValueError(f"problem {self.name!r} has its goal for solved tasks: give task_goal=<score>")
        if not self.learning_rates:
            raise ValueError(f"problem {self.name!r} has no learning rate to choose from")
        if self.order is not None and self.task_goal is None:
            raise ValueError(f"problem {self.name!r} has an order of its tasks: give task_goal=<score>, to go on from")
        for name in ("budget", "evaluate_every", "batch_size", "seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of problem {self.name!r} must be at least 1, got {getattr(self, name)}")

    def reached(self, score: float) -> bool:
        """Tell whether what the goal is for is at the goal or beyond."""
        return score >= self.goal if self.rises else score <= self.goal

    @property
    def micro_batches(self) -> int:
        """Batches of an optimiser step."""
        return int(self.trainer_options.get("accumulate_grad_batches", 1))

    @property
    def rises(self) -> bool:
        """Whether what the goal is for is to rise."""
        return self.higher_is_better or self.of == "solved"

    def solves(self, score: float) -> bool:
        """Tell whether a task with this score is solved.

        Raises:
            ValueError: if the problem does not say when one is.
        """
        if self.task_goal is None:
            raise ValueError(f"problem {self.name!r} does not say when a task is solved: give task_goal=<score>")
        return score >= self.task_goal if self.higher_is_better else score <= self.task_goal

    def summary(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Return the mean and the worst of the tasks' scores, the target's, and how many tasks are solved."""
        values = list(scores.values())
        found = {
            "mean": sum(values) / len(values),
            "worst": min(values) if self.higher_is_better else max(values),
        }
        if self.target is not None:
            found["target"] = scores[self.target]
        if self.task_goal is not None:
            found["solved"] = float(sum(map(self.solves, values)))
        return found

    def configuration(self) -> dict[str, Any]:
        """Return what decides the outcome of a run, as plain values: records of another one are not mixed in."""
        goal = ("name", "goal", "of", "unit", "higher_is_better", "target", "task_goal")
        plain = (*goal, "budget", "evaluate_every", "batch_size", "order", "useful", "stops_at_goal", "unit_of_cost")
        return {name: getattr(self, name) for name in plain} | {"trainer_options": dict(self.trainer_options)}


@dataclass(frozen=True)
class Job:
    """One training to be made.

    Attributes:
        problem: its name.
        method: its name.
        lr: learning rate.
        seed: of the module, the data and the draws.
        steps: budget, where it is another than the problem's.
    """

    problem: str
    method: str
    lr: float
    seed: int
    steps: int | None = None

    @property
    def key(self) -> str:
        """A name that is the job's alone, for a file."""
        parts = [self.problem, self.method, f"lr={self.lr:g}", f"seed={self.seed}"]
        if self.steps is not None:
            parts.append(f"steps={self.steps}")
        return "__".join(part.replace(" ", "_").replace("/", "_") for part in parts)
