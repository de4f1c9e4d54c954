"""Mixture: what the user wants of the shares of the tasks, whatever the bandit learns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from curricula.bandits.base import check_range
from curricula.bandits.fixed import FixedPolicy
from curricula.bandits.inversion import FloatArray
from curricula.checks import as_int
from curricula.schedule import Schedule
from curricula.task_names import listed
from curricula.task_shares import check_known, checked_shares


@dataclass(frozen=True)
class Mixture:
    r"""The user's mixture: a prior that the bandit starts from, and limits that it keeps to.

    The policy that tasks are drawn from is the prior, moved by what the bandit :math:`\pi` has learned, between floors
    and caps:

    .. math::
        q_i = (1 - s)\, p_i + s\, \frac{p_i \pi_i}{\sum_j p_j \pi_j}, \qquad
        x_i = \min(\max(\lambda q_i, f_i), c_i), \quad \sum_i x_i = 1

    Where the bandit explores, it draws from the prior. :math:`x` is the probability of the draw, which the bandit
    learns with. Tasks that are removed, or have used up their passes, have no share, and the others keep their ratios.

    Args:
        prior: the mixture to start from: ``"uniform"``, ``"size"`` (in proportion to the number of samples to the power
            of ``1 / temperature``), or the share of every task by name, which sum to 1; or a
            :class:`~curricula.Schedule` of shares that change as the training goes on. A share of 0 leaves a task out.
        temperature: of the prior ``"size"``, ``> 0``: 1 is proportional to size, large values approach uniform.
        strength: how far the bandit may leave the prior, in ``[0, 1]``. 0 draws exactly from the prior, as a static
            mixer; nothing is learned then.
        floor: least share of a task: one number for all, or by name (others have none).
        cap: largest share of a task: one number for all, or by name (others have none).
        max_passes: most passes over the samples of a task, ``> 0``: one number for all, or by name (others have no
            limit). A task that has used them up is not drawn any more.
        warmup: number of steps that are drawn from the prior before the bandit is listened to. It learns from them.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if an argument is out of range, shares do not sum to 1, or floors and caps cannot all be kept: with
            the numbers that conflict.

    Example:
        >>> from curricula import CurriculumCallback, Mixture
        >>> mixture = Mixture(prior={"web": 0.7, "books": 0.2, "code": 0.1}, floor=0.05, cap={"web": 0.8})
        >>> callback = CurriculumCallback(mixture=mixture)
    """

    prior: str | Mapping[str, float] | Schedule = "uniform"
    temperature: float = 1.0
    strength: float = 1.0
    floor: float | Mapping[str, float] = 0.0
    cap: float | Mapping[str, float] = 1.0
    max_passes: float | Mapping[str, float] | None = None
    warmup: int = 0

    def __post_init__(self) -> None:
        """Check what can be checked before the tasks are known."""
        if isinstance(self.prior, str):
            if self.prior not in ("uniform", "size"):
                raise ValueError(f'prior must be "uniform", "size", shares by name or a Schedule, got {self.prior!r}')
        elif isinstance(self.prior, Mapping):
            object.__setattr__(self, "prior", checked_shares("prior", self.prior))
        elif not isinstance(self.prior, Schedule):
            raise TypeError(f'prior must be "uniform", "size", shares by name or a Schedule, got {self.prior!r}')
        check_range("temperature", self.temperature, 0.0, math.inf, open_low=True)
        if self.temperature != 1.0 and self.prior != "size":
            raise ValueError(f'temperature={self.temperature:g} is of the prior "size", got prior={self.prior!r}')
        check_range("strength", self.strength, 0.0, 1.0)
        for what, bounds in (("floor", self.floor), ("cap", self.cap)):
            for where, value in _each(what, bounds):
                check_range(where, value, 0.0, 1.0)
        for where, value in _each("max_passes", self.max_passes):
            check_range(where, value, 0.0, math.inf, open_low=True)
        if as_int("warmup", self.warmup) < 0:
            raise ValueError(f"warmup must be at least 0 steps, got {self.warmup}")

    @property
    def learns(self) -> bool:
        """Whether what the bandit learns has a part in the draws."""
        return self.strength > 0.0

    @property
    def needs_sizes(self) -> bool:
        """Whether the sizes of the tasks must be known."""
        return self.prior == "size"

    def check_names(self, names: Sequence[str]) -> None:
        """Raise ``ValueError`` if it names a task that there is not, or its prior lacks one."""
        prior = self.prior
        given = list(prior) if isinstance(prior, Mapping) else list(prior.tasks) if isinstance(prior, Schedule) else []
        check_known("prior", given, names)
        if given and len(given) < len(names):
            missing = [name for name in names if name not in set(given)]
            raise ValueError(f"prior has no share for {listed(missing)}: give one for every task, 0 to leave it out")
        for what in ("floor", "cap", "max_passes"):
            bounds = getattr(self, what)
            if isinstance(bounds, Mapping):
                check_known(what, list(bounds), names)

    def prior_of(self, names: Sequence[str], sizes: Sequence[float] | None) -> FloatArray | None:
        """Return the prior of the tasks, shape ``(N,)``; ``None`` where it is a schedule.

        Args:
            names: of the tasks.
            sizes: of the tasks, if :attr:`needs_sizes`.

        Raises:
            ValueError: if sizes are needed and not known, or not above 0.
        """
        if isinstance(self.prior, Schedule):
            return None
        if isinstance(self.prior, Mapping):
            return np.array([self.prior[name] for name in names])
        if self.prior == "uniform":
            return np.full(len(names), 1.0 / len(names))
        if sizes is None:
            raise ValueError('prior="size" needs the number of samples of every task: give sizes')
        numbers = np.asarray(sizes, dtype=np.float64)
        if numbers.shape != (len(names),) or not (np.isfinite(numbers) & (numbers > 0)).all():
            raise ValueError(f"sizes must be one finite number > 0 for each of {len(names)} tasks, got {sizes!r}")
        proportional = FixedPolicy.proportional(numbers.tolist(), temperature=self.temperature)
        proportional.reset(len(names))
        return proportional.probabilities()

    def floors(self, names: Sequence[str]) -> FloatArray:
        """Return the least shares, shape ``(N,)``."""
        return _by_task(self.floor, names, 0.0)

    def caps(self, names: Sequence[str]) -> FloatArray:
        """Return the largest shares, shape ``(N,)``."""
        return _by_task(self.cap, names, 1.0)

    def passes(self, name: str) -> float | None:
        """Return the most passes over a task, ``None`` where there is no limit."""
        if isinstance(self.max_passes, Mapping):
            return self.max_passes.get(name)
        return self.max_passes

    def leaves_out(self, name: str) -> bool:
        """Tell whether the prior gives a task no share, at no time."""
        if isinstance(self.prior, Schedule):
            return not any(shares[name] > 0.0 for _, shares in self.prior.points)
        return isinstance(self.prior, Mapping) and self.prior.get(name) == 0.0

    def described(self) -> dict[str, Any]:
        """Return the options as plain containers, for checkpoints and logs."""
        prior = self.prior.to_dict() if isinstance(self.prior, Schedule) else self.prior
        plain: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["prior"] = prior
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in plain.items()}


def check_bounds(floors: FloatArray, caps: FloatArray, names: Sequence[str], left: npt.NDArray[np.bool_]) -> None:
    """Refuse floors and caps that cannot all be kept.

    Args:
        floors: shape ``(N,)``.
        caps: shape ``(N,)``.
        names: of the tasks.
        left: shape ``(N,)``: which tasks are drawn.

    Raises:
        ValueError: which numbers conflict.
    """
    over = np.flatnonzero(floors > caps)
    if len(over):
        arm = over[0]
        raise ValueError(f"task {names[arm]!r} has floor {floors[arm]:g} above its cap {caps[arm]:g}")
    least, most, number = float(floors[left].sum()), float(caps[left].sum()), int(left.sum())
    if least > 1.0 + 1e-9:
        raise ValueError(f"the floors of {number} tasks sum to {least:g}, and shares sum to 1: make them smaller")
    if most < 1.0 - 1e-9:
        raise ValueError(
            f"the caps of {number} task{'s'[: number != 1]} sum to {most:g}, and shares sum to 1: make them larger, or "
            f"give fewer tasks a cap (one cap for all of {number} tasks is at least {1 / number:g})"
        )


def _each(what: str, bounds: Any) -> list[tuple[str, Any]]:
    if bounds is None:
        return []
    if isinstance(bounds, Mapping):
        return [(f"{what}[{name!r}]", value) for name, value in bounds.items()]
    return [(what, bounds)]


def _by_task(bounds: float | Mapping[str, float], names: Sequence[str], others: float) -> FloatArray:
    if isinstance(bounds, Mapping):
        return np.array([bounds.get(name, others) for name in names], dtype=np.float64)
    return np.full(len(names), float(bounds))
