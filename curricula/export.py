"""Export: what a run has learned, as a mixture, as a schedule, or as its draws, to train with in another run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from curricula.bandits.without_replacement import WithoutReplacement
from curricula.checks import as_int
from curricula.schedule import Schedule, check_suffix
from curricula.task_shares import check_known, checked_shares
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.whole_files import written_whole


def average_mixture(history: CurriculumHistory, by: Literal["draws", "cost"] = "draws") -> dict[str, float]:
    """Return the share of each task in all draws of a run, or in what they have cost, from exact counts.

    Args:
        history: of the run; :func:`~curricula.tracking.files.read_history` reads one from a file or a checkpoint.
        by: ``"draws"`` for training with the mixture, which draws tasks; ``"cost"`` for mixing samples or tokens.

    Returns:
        Share by name, which sum to 1; 0 for tasks that were never drawn.

    Raises:
        ValueError: if nothing was drawn, the costs are not known, or ``by`` is neither.

    Example:
        >>> from curricula import Teacher
        >>> teacher = Teacher(["easy", "hard"])
        >>> history = CurriculumHistory(teacher.tasks)
        >>> for draw in teacher.draw_all(4, quotas=True):
        ...     history.record(draw, progress=0.1, reward=0.0, loss=0.7, policy=teacher.probabilities())
        >>> average_mixture(history)
        {'easy': 0.5, 'hard': 0.5}
    """
    if by not in ("draws", "cost"):
        raise ValueError(f"a mixture is by 'draws' or by 'cost', got by={by!r}")
    _check_drawn(history)
    amounts = history.draws if by == "draws" else history.costs
    total = float(amounts.sum())
    if not 0.0 < total < math.inf:
        raise ValueError(f"the costs in the history do not make a mixture, their sum is {total:g}: take by='draws'")
    return dict(zip(history.tasks, (amounts / total).tolist(), strict=True))


def learned_schedule(history: CurriculumHistory, points: int = 20) -> Schedule:
    """Return the policy of a run as a schedule: its mean over each of some equal parts of the run.

    A snapshot of the policy counts for the steps from its own up to that of the next one, the last up to the end of the
    run. So the schedule's mean over the run is that of the policy. After the run's last step the last shares stay.

    Args:
        history: of the run.
        points: number of parts, at least 1; at most one per step of the run is made.

    Returns:
        Shares of all tasks that change from part to part, by steps.

    Raises:
        TypeError: if ``points`` is no int.
        ValueError: if it is below 1, or the run has no step.

    Example:
        >>> from curricula import Teacher
        >>> teacher = Teacher(["easy", "hard"])
        >>> history = CurriculumHistory(teacher.tasks)
        >>> for policy in ([1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 1.0]):
        ...     history.record(teacher.draw(), progress=0.1, reward=0.0, loss=0.7, policy=np.array(policy))
        >>> learned_schedule(history, points=2).points
        ((0, {'easy': 0.75, 'hard': 0.25}), (2, {'easy': 0.0, 'hard': 1.0}))
    """
    if as_int("points", points) < 1:
        raise ValueError(f"a schedule has at least 1 point, got points={points}")
    _check_drawn(history)
    starts, policies = history.policies()
    policies = policies.astype(np.float64)
    for place in np.flatnonzero(~policies.any(axis=1)):  # nothing was left to draw: the run was over
        policies[place] = policies[place - 1] if place else 1.0 / len(history.tasks)
    ends = np.append(starts[1:], history.steps)
    sums = np.vstack([np.zeros(len(history.tasks)), np.cumsum(policies * (ends - starts)[:, None], axis=0)])
    parts = min(points, history.steps)
    bounds = history.steps * np.arange(parts + 1) // parts
    last = np.searchsorted(starts, bounds, side="right") - 1
    until = sums[last] + (bounds - starts[last])[:, None] * policies[last]
    means = np.maximum(np.diff(until, axis=0), 0.0)  # not below 0 by rounding
    means /= means.sum(axis=1, keepdims=True)
    return Schedule(
        [
            (int(start), dict(zip(history.tasks, shares.tolist(), strict=True)))
            for start, shares in zip(bounds[:-1], means, strict=True)
        ]
    )


def shuffled_draws(history: CurriculumHistory, tasks: Sequence[str]) -> WithoutReplacement:
    """Return a policy that makes the draws of a run in random order: every task exactly as often.

    Args:
        history: of the run.
        tasks: names of the tasks that are to be drawn, in the order of the arms: ``loader.names``. They are those of
            the run, in any order.

    Raises:
        ValueError: if nothing was drawn, or the tasks are others, with the nearest name.

    Example:
        >>> from curricula import Teacher
        >>> teacher = Teacher(["easy", "hard"])
        >>> history = CurriculumHistory(teacher.tasks)
        >>> for draw in teacher.draw_all(4, quotas=True):
        ...     history.record(draw, progress=0.1, reward=0.0, loss=0.7, policy=teacher.probabilities())
        >>> replayed = Teacher(["hard", "easy"], bandit=shuffled_draws(history, ["hard", "easy"]))
        >>> sorted(replayed.draw().task for _ in range(4))
        ['easy', 'easy', 'hard', 'hard']
    """
    _check_drawn(history)
    check_known("the history", history.tasks, tasks)
    check_known("the list of tasks", tasks, history.tasks)
    counts = dict(zip(history.tasks, history.draws.tolist(), strict=True))
    return WithoutReplacement([counts[name] for name in tasks])


def write_shares(shares: Mapping[str, float] | Schedule, path: str | Path) -> Path:
    """Write a mixture or a schedule to a file that :meth:`Schedule.load <curricula.Schedule.load>` reads.

    A mixture is a mapping from names to shares, in the file as here; it can stand in a configuration as it is.

    Args:
        shares: by name, which sum to 1, or a schedule.
        path: ends in ``.json``, ``.yaml`` or ``.yml``.

    Returns:
        The path. The file is there whole or not at all.

    Raises:
        ValueError: if the path ends in something else, or the shares do not sum to 1.
    """
    path = Path(path)
    check_suffix(path)
    content = shares.to_dict() if isinstance(shares, Schedule) else checked_shares("the mixture", shares)
    with written_whole(path) as temporary:
        temporary.write_text(_dumped(content, path.suffix), encoding="utf-8")
    return path


def _dumped(content: Mapping[str, object], suffix: str) -> str:
    if suffix == ".json":
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    import yaml  # type: ignore[import-untyped]  # Lightning needs it, and has no types of it

    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text


def _check_drawn(history: CurriculumHistory) -> None:
    if not history.steps or not history.draws.sum():
        raise ValueError("the history has no draws: give that of a run that was trained")
