"""Held-out metrics: which logged number says how a task does, looked up at every validation."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args

from curricula.checks import as_number
from curricula.task_names import listed, nearest
from curricula.task_shares import check_known

_log = logging.getLogger(__name__)

Metrics: TypeAlias = "str | Mapping[str, str | Mapping[str, float]]"
"""A pattern for all tasks, ``"val_loss/{task}"``; or for every task the name of a metric, or the weights of several."""

Mode: TypeAlias = Literal["min", "max"]
"""Whether small or large values of a metric are good."""

_PLACE = "{task}"
_TOLD_AFTER = 2
"""Validations after which it is told what was never logged."""


class HeldOut:
    """Looks up how every task does on held-out data, and says what is never logged or not finite.

    Args:
        owner: asks for it, for messages.
        metrics: names as in ``trainer.callback_metrics``: a pattern with ``{task}``; or for every task a name, or the
            weights ``> 0`` of several names, whose weighted mean counts.
        mode: ``"min"`` where small values are good, ``"max"`` where large ones are.

    Raises:
        TypeError: if a name is no text, or a weight no number.
        ValueError: if the pattern has no ``{task}``, a weight is not above 0, or the mode is another.
    """

    def __init__(self, owner: str, metrics: Metrics, mode: Mode) -> None:
        if mode not in get_args(Mode):
            raise ValueError(f'mode must be "min" or "max", got {mode!r}')
        self._owner = owner
        self._pattern, self._weights = _checked(owner, metrics)
        self._sign = 1.0 if mode == "max" else -1.0
        self._validations = 0
        self._seen: set[str] = set()
        self._told: set[str] = set()
        self.skipped: dict[str, int] = {}
        """Task to the number of validations whose metric was not finite."""

    def check_tasks(self, tasks: Sequence[str]) -> None:
        """Raise ``ValueError`` unless there is a metric for every task, and for nothing else."""
        if self._weights is None:
            return
        check_known(f"{self._owner}(metrics=...)", list(self._weights), tasks)
        missing = [task for task in tasks if task not in self._weights]
        if missing:
            raise ValueError(
                f"{self._owner}(metrics=...) has no metric for {listed(missing)}: give the name of one for every task, "
                f'or a pattern such as "val_loss/{_PLACE}"'
            )

    def weights_of(self, task: str) -> Mapping[str, float]:
        """Return the metrics of a task with their weights, which sum to 1; none for a task that has none."""
        if self._weights is None:
            return {self._pattern.replace(_PLACE, task): 1.0}
        return self._weights.get(task, {})

    def read(self, metrics: Mapping[str, float], tasks: Sequence[str]) -> dict[str, float]:
        """Return how the tasks do after a validation, larger is better.

        Args:
            metrics: what was logged, by name.
            tasks: names of all tasks.

        Returns:
            For each task whose metrics were all logged their weighted mean, with its sign changed where small values
            are good; NaN if it is not finite.
        """
        self._validations += 1
        self._seen.update(metrics)
        found = {}
        for task in tasks:
            weights = self.weights_of(task)
            if weights and all(name in metrics for name in weights):
                value = self._sign * sum(weight * metrics[name] for name, weight in weights.items())
                found[task] = value if math.isfinite(value) else math.nan
        self._tell_broken([task for task, value in found.items() if math.isnan(value)])
        if self._validations >= _TOLD_AFTER:
            self._tell_missing(tasks)
        return found

    def _tell_broken(self, tasks: Sequence[str]) -> None:
        for task in tasks:
            self.skipped[task] = self.skipped.get(task, 0) + 1
        new = [task for task in tasks if self.skipped[task] == 1]
        if new:
            _log.warning(
                "the held-out metrics of %s are not finite (%s): nothing is learned from such values; they are counted "
                "in `skipped` of the %s, and this is said once",
                listed(new),
                listed([name for task in new for name in self.weights_of(task)]),
                self._owner,
            )

    def _tell_missing(self, tasks: Sequence[str]) -> None:
        names = {name: None for task in tasks for name in self.weights_of(task) or (f"a metric of {task!r}",)}
        never = [name for name in names if name not in self._seen and name not in self._told]
        if never:
            self._told.update(never)
            _log.warning(
                "%s waits for metrics that were never logged: %s%s. Log them with self.log(name, value) "
                "in validation_step; what was logged: %s",
                self._owner,
                listed(never),
                nearest(never[0], self._seen),
                listed(sorted(self._seen)),
            )


def _checked(owner: str, metrics: Metrics) -> tuple[str, dict[str, dict[str, float]] | None]:
    """Return the pattern, and for every task the weights of its metrics; ``None`` with a pattern."""
    if isinstance(metrics, str):
        if _PLACE not in metrics:
            raise ValueError(
                f'{owner}(metrics={metrics!r}) is the same metric for all tasks: give "{_PLACE}" where the name of the '
                'task stands, as in "val_loss/{task}", or a mapping from each task to the name of its metric'
            )
        return metrics, None
    if not isinstance(metrics, Mapping) or not metrics:
        raise TypeError(
            f'{owner}(metrics=...) must be a pattern such as "val_loss/{_PLACE}" or a mapping from tasks to names of '
            f"metrics, got {metrics!r}"
        )
    return "", {task: _weights(f"{owner}(metrics=...) of task {task!r}", given) for task, given in metrics.items()}


def _weights(what: str, given: str | Mapping[str, float]) -> dict[str, float]:
    if isinstance(given, str):
        return {given: 1.0}
    if not isinstance(given, Mapping) or not given or not all(isinstance(name, str) for name in given):
        raise TypeError(f"{what} must be the name of a metric, or a mapping from names to weights, got {given!r}")
    weights = {name: as_number(f"the weight of {name!r} in {what}", weight) for name, weight in given.items()}
    for name, weight in weights.items():
        if not (weight > 0.0 and math.isfinite(weight)):
            raise ValueError(f"the weight of {name!r} in {what} must be finite and > 0, got {weight:g}: leave it out")
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
