"""Schedule: shares of the tasks that change as a training goes on."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from curricula.checks import as_number
from curricula.task_names import listed
from curricula.task_shares import check_known, checked_shares

UNITS = ("steps", "cost")
INTERPOLATIONS = ("step", "linear")


@dataclass(frozen=True)
class Schedule:
    """Shares of the tasks at points of a training, and between them.

    It is the prior of a :class:`~curricula.Mixture`. Before the last point the shares are those of the point before,
    or on the line between two points; from the last point on they stay as they are.

    Args:
        points: position and shares by name of each point. Positions are finite, increasing, and begin with 0; all
            points have the same tasks, and the shares of each sum to 1 (up to 0.001, which is put right).
        unit: of the positions: optimiser ``"steps"``, or the ``"cost"`` of the training so far.
        interpolation: ``"step"``: the shares change at each point; ``"linear"``: they change evenly from one to the
            next.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a position, a share or an option is out of range, or the points have different tasks.

    Example:
        >>> schedule = Schedule([(0, {"easy": 0.9, "hard": 0.1}), (1000, {"easy": 0.5, "hard": 0.5})])
        >>> schedule.shares(999, ["hard", "easy"]).tolist(), schedule.shares(1000, ["hard", "easy"]).tolist()
        ([0.1, 0.9], [0.5, 0.5])
    """

    points: Sequence[tuple[float, Mapping[str, float]]]
    unit: Literal["steps", "cost"] = field(default="steps", kw_only=True)
    interpolation: Literal["step", "linear"] = field(default="step", kw_only=True)

    def __post_init__(self) -> None:
        """Check the arguments, and put the shares in order."""
        _check_option("unit", self.unit, UNITS)
        _check_option("interpolation", self.interpolation, INTERPOLATIONS)
        points = _checked_points(self.points)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "_positions", [position for position, _ in points])
        object.__setattr__(self, "_rows", (None, None))

    @classmethod
    def phases(
        cls,
        phases: Sequence[tuple[str | Mapping[str, float], float | None]],
        *,
        unit: Literal["steps", "cost"] = "steps",
    ) -> Schedule:
        """Return one phase after the other.

        Args:
            phases: what is drawn and how long, each: the name of a task alone, or shares by name (tasks that are not
                named have none), and a length above 0. The last phase goes on for as long as the training does,
                whatever its length, which may be ``None``.
            unit: of the lengths.

        Raises:
            TypeError: if a phase is of another kind.
            ValueError: if there is none, or a length or a share is out of range.

        Example:
            >>> schedule = Schedule.phases([("easy", 1000), ({"easy": 0.5, "hard": 0.5}, 500), ("hard", None)])
            >>> [schedule.shares(step, ["easy", "hard"]).tolist() for step in (0, 1000, 1500)]
            [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
        """
        pairs = _pairs("phases", phases, "what is drawn and how long")
        given = [{what: 1.0} if isinstance(what, str) else what for what, _ in pairs]
        checked = [checked_shares(f"phase {number}", shares) for number, shares in enumerate(given)]
        names = dict.fromkeys(name for shares in checked for name in shares)
        start, points = 0.0, []
        for number, (shares, (_, length)) in enumerate(zip(checked, pairs, strict=True)):
            points.append((start, {name: shares.get(name, 0.0) for name in names}))
            if length is None and number == len(pairs) - 1:
                break
            if length is None:
                raise ValueError(f"phase {number} has no length, and another follows: say how long it is")
            start += _check_length(f"the length of phase {number}", length)
        return cls(points, unit=unit)

    @classmethod
    def linear(
        cls,
        start: Mapping[str, float],
        end: Mapping[str, float],
        *,
        over: float,
        unit: Literal["steps", "cost"] = "steps",
    ) -> Schedule:
        """Return shares that change evenly from the start of the training, and then stay.

        Args:
            start: shares by name at the start.
            end: shares of the same tasks at the end of the change.
            over: how long it takes, above 0.
            unit: of its length.

        Raises:
            TypeError: if an argument is of another kind.
            ValueError: if the length or a share is out of range, or the tasks are not the same.

        Example:
            >>> schedule = Schedule.linear({"easy": 1.0, "hard": 0.0}, {"easy": 0.0, "hard": 1.0}, over=1000)
            >>> schedule.shares(250, ["easy", "hard"]).tolist()
            [0.75, 0.25]
        """
        return cls([(0, start), (_check_length("over", over), end)], unit=unit, interpolation="linear")

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return tuple(self.points[0][1])

    def shares(self, position: float, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return the shares at a position, shape ``(N,)``, which sum to 1. Read them, do not write to them.

        Args:
            position: how far the training is, at least 0, in :attr:`unit`.
            names: of the tasks of the schedule, in the order that is wanted.

        Raises:
            ValueError: if the position is below 0 or not a number, or the names are not those of the schedule.
        """
        rows = self._rows_of(names)
        if not position >= 0.0:  # false for NaN as well
            raise ValueError(f"position must be at least 0 {self.unit}, got {position}")
        positions: list[float] = vars(self)["_positions"]
        last = bisect_right(positions, position) - 1
        if self.interpolation == "step" or last == len(positions) - 1:
            return rows[last]
        part = (position - positions[last]) / (positions[last + 1] - positions[last])
        between: npt.NDArray[np.float64] = (1.0 - part) * rows[last] + part * rows[last + 1]
        return between

    def _rows_of(self, names: Sequence[str]) -> list[npt.NDArray[np.float64]]:
        """Return the shares at each point, in the order of the names, which is the same from step to step."""
        known, rows = vars(self)["_rows"]
        if known is not names:
            check_known("the schedule", self.tasks, names)
            check_known("the list of tasks", names, self.tasks)
            rows = [np.array([shares[name] for name in names]) for _, shares in self.points]
            for row in rows:
                row.setflags(write=False)
            if isinstance(names, tuple):  # which cannot change
                vars(self)["_rows"] = (names, rows)
        made: list[npt.NDArray[np.float64]] = rows
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made anew."""
        return {**vars(self), "_rows": (None, None)}

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments as plain containers, as for JSON or YAML.

        Example:
            >>> Schedule([(0, {"easy": 1.0})]).to_dict()
            {'points': [[0, {'easy': 1.0}]], 'unit': 'steps', 'interpolation': 'step'}
        """
        points = [[position, dict(shares)] for position, shares in self.points]
        return {"points": points, "unit": self.unit, "interpolation": self.interpolation}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Schedule:
        """Return the schedule of what :meth:`to_dict` returned, or of the shares of a mixture that does not change.

        Raises:
            TypeError: if it is no mapping.
            ValueError: if it is neither, or an entry is out of range.

        Example:
            >>> Schedule.from_dict({"easy": 0.8, "hard": 0.2}).shares(123, ["easy", "hard"]).tolist()
            [0.8, 0.2]
        """
        if not isinstance(content, Mapping):
            raise TypeError(f"a schedule must be given as a mapping, got {content!r}")
        if not isinstance(content.get("points"), Sequence):  # a task may have this name
            return cls([(0, content)])
        unknown = [key for key in content if key not in ("points", "unit", "interpolation")]
        if unknown:
            raise ValueError(f"a schedule has points, unit and interpolation, got {listed(unknown)} as well")
        return cls(**content)

    @classmethod
    def load(cls, path: str | Path) -> Schedule:
        """Read a schedule, or the shares of a mixture that does not change, from a file.

        Args:
            path: ends in ``.json``, ``.yaml`` or ``.yml``.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file holds no schedule, with what is wrong.
        """
        path = Path(path)
        check_suffix(path)
        try:
            return cls.from_dict(_parsed(path))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no schedule: {error}") from error


def check_suffix(path: Path) -> None:
    """Raise ``ValueError`` unless a path is of a JSON or a YAML file."""
    if path.suffix not in (".json", ".yaml", ".yml"):
        raise ValueError(f"a mixture or schedule is a .json, .yaml or .yml file, got {path.name!r}")


def _parsed(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.loads(text)
    import yaml  # type: ignore[import-untyped]  # Lightning needs it, and has no types of it

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML ({error})") from None


def _check_option(what: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{what} must be one of {list(known)}, got {value!r}")


def _check_length(what: str, value: Any) -> float:
    length = _position(what, value)
    if not 0.0 < length < math.inf:
        raise ValueError(f"{what} must be finite and above 0, got {value!r}")
    return length


def _position(what: str, value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(f"{what} must be a number, got {value!r}")
    number = as_number(what, value)
    return int(number) if number.is_integer() else number  # as users write it


def _pairs(what: str, given: Any, of: str) -> list[Sequence[Any]]:
    if isinstance(given, (str, Mapping)) or not isinstance(given, Sequence):
        raise TypeError(f"{what} must be a list of pairs of {of}, got {given!r}")
    for pair in given:
        if isinstance(pair, (str, Mapping)) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise TypeError(f"{what} must be pairs of {of}, got {pair!r}")
    if not given:
        raise ValueError(f"{what} must be at least one pair of {of}, got none")
    return list(given)


def _checked_points(given: Any) -> tuple[tuple[float, dict[str, float]], ...]:
    points: list[tuple[float, dict[str, float]]] = []
    for place, (where, shares) in enumerate(_pairs("points", given, "a position and shares")):
        position = _position(f"the position of point {place}", where)
        if not points and position != 0:
            raise ValueError(
                f"a schedule must begin at 0, got {position} as its first position: there would be no shares before"
            )
        if points and not points[-1][0] < position < math.inf:
            raise ValueError(
                f"positions must be finite and increasing, got {where!r} after {points[-1][0]}: put the points in order"
            )
        checked = checked_shares(f"the shares at {position}", shares)
        first = points[0][1] if points else checked
        check_known(f"the point at {position}", list(checked), list(first))
        missing = [name for name in first if name not in checked]
        if missing:
            raise ValueError(
                f"the point at {position} has no share for {listed(missing)}: give one for every task, 0 to leave it "
                "out"
            )
        points.append((position, {name: checked[name] for name in first}))
    return tuple(points)
