"""Histories to draw: a staircase in which each task pays once the one before has been practised."""

from __future__ import annotations

import math
from collections.abc import Sequence

from curricula import Teacher
from curricula.bandits import Exp3S
from curricula.tracking import CurriculumHistory

HOSTILE = [
    "</script><script>alert(1)</script>",
    "$x^2$ and $",
    'a "quoted" & <b>name</b>',
    "line\nbreak\x00\x07",
    "x" * 500,
]


def staircase(tasks: int | Sequence[str], steps: int = 600, **options) -> CurriculumHistory:
    names = [f"task {k}" for k in range(tasks)] if isinstance(tasks, int) else list(tasks)
    teacher = Teacher(names, bandit=Exp3S(), seed=1, horizon=steps)
    history = CurriculumHistory(names, **options)
    skill = [0.0] * len(names)
    for _ in range(steps):
        draw = teacher.draw()
        ready = 1.0 if draw.arm == 0 else skill[draw.arm - 1]
        gain = 0.2 * ready * (1 - skill[draw.arm])
        loss = 1.0 - skill[draw.arm] + 1e-3
        skill[draw.arm] += gain
        reward = teacher.reward(draw, gain)
        history.record(draw, progress=gain, reward=reward, loss=loss, policy=teacher.probabilities())
    return history


def lossless(steps: int = 30) -> CurriculumHistory:
    teacher = Teacher(["a", "b"])
    history = CurriculumHistory(teacher.tasks)
    for _ in range(steps):
        draw = teacher.draw()
        history.record(draw, progress=math.nan, reward=None, loss=math.nan, policy=teacher.probabilities())
    return history
