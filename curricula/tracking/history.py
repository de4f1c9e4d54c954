"""CurriculumHistory: what was drawn, what it earned and what the policy was, in bounded memory."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from curricula.bandits.base import FloatArray
from curricula.state import seal, unseal
from curricula.task_names import carried_arms, check_names
from curricula.teacher import Draw
from curricula.tracking.whole_files import written_whole

COLUMNS = ("step", "arm", "probability", "progress", "reward", "loss")
"""Columns of :meth:`CurriculumHistory.column`, one row per draw of the recorded optimiser steps."""

FORMAT = 1


def effective_number(policy: FloatArray) -> float:
    r"""Return the effective number of tasks, :math:`\exp(-\sum_i \pi_i \ln \pi_i)`, in ``[1, N]``.

    Args:
        policy: shape ``(N,)``, sums to 1.

    Example:
        >>> round(effective_number(np.array([0.5, 0.5, 0.0])), 6)
        2.0
    """
    # The smallest normal number in place of 0: 0 * ln(0) is 0 in the limit.
    return math.exp(-float(policy @ np.log(np.maximum(policy, 1e-300))))


class CurriculumHistory:
    """A record of every step that stays small however long the run.

    Rows of :data:`COLUMNS`, one for each draw of a step, and snapshots of the policy are kept at a stride of steps that
    starts at 1 and doubles whenever the limit is reached; counts per task are exact.

    Args:
        tasks: unique names, in the order of the arms.
        grid: axis name to labels, or ``None``; tasks fill it row by row.
        target: name of the target task, or ``None``.
        max_rows: most rows kept, at least 2; more where a single step has more draws.
        max_policies: most snapshots of the policy kept, at least 2; fewer where ``max_policies * N`` is above
            ``2,000,000``.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> from curricula import Teacher
        >>> teacher = Teacher(["easy", "hard"])
        >>> history = CurriculumHistory(teacher.tasks)
        >>> draw = teacher.draw()
        >>> history.record(draw, progress=0.1, reward=0.0, loss=0.7, policy=teacher.probabilities())
        >>> history.steps, history.draws.tolist() == [draw.arm == 0, draw.arm == 1]
        (1, True)
    """

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        grid: Mapping[str, Sequence[str]] | None = None,
        target: str | None = None,
        max_rows: int = 20_000,
        max_policies: int = 400,
    ) -> None:
        self.tasks = check_names(tasks)
        if grid is not None and not isinstance(grid, Mapping):
            raise TypeError(f"grid must be a mapping from axis to labels, got {grid!r}")
        self.grid = None if grid is None else {axis: list(labels) for axis, labels in grid.items()}
        self.target = target
        for what, value in (("max_rows", max_rows), ("max_policies", max_policies)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{what} must be an int, got {value!r}")
        if min(max_rows, max_policies) < 2:
            raise ValueError(f"max_rows and max_policies must be at least 2, got {max_rows} and {max_policies}")
        if target is not None and target not in self.tasks:
            raise ValueError(f"target {target!r} names no task: the tasks are {list(self.tasks)}")
        self.max_rows = max_rows
        self.max_policies = max(2, min(max_policies, 2_000_000 // len(self.tasks)))
        self.steps = 0
        """Optimiser steps seen, recorded or not."""
        self._counts = [0] * len(self.tasks)
        self._first_losses = [math.nan] * len(self.tasks)
        self._last_losses = [math.nan] * len(self.tasks)
        self._stride = 1
        self._rows: list[tuple[float, ...]] = []
        self._policy_stride = 1
        self._policy_steps: list[int] = []
        self._policies: list[npt.NDArray[np.float32]] = []

    @property
    def wants_policy(self) -> bool:
        """Whether the policy after this step is to be kept."""
        return self.steps % self._policy_stride == 0

    def record(
        self,
        draw: Draw,
        *,
        progress: float,
        reward: float | None,
        loss: float,
        policy: FloatArray | None,
        more: bool = False,
    ) -> None:
        """Add one draw of an optimiser step.

        Args:
            draw: whose samples were trained on.
            progress: raw learning progress; NaN if it could not be told.
            reward: scaled reward in ``[-1, 1]``; ``None`` if the bandit did not learn from the step.
            loss: training loss of these samples, NaN if unknown.
            policy: probabilities of the first tasks after the update, at most ``N``; of all others they are 0.
                ``None`` is as good where :attr:`wants_policy` is not set, or further draws follow.
            more: whether further draws of the same optimiser step follow.
        """
        arm, step = draw.arm, self.steps
        if not self._counts[arm]:
            self._first_losses[arm] = loss
        self._counts[arm] += 1
        self._last_losses[arm] = loss
        if step % self._stride == 0:
            rows = self._rows
            rows.append((step, arm, draw.probability, progress, math.nan if reward is None else reward, loss))
            if len(rows) > self.max_rows:
                self._thin_out()
        if more:
            return
        if self.wants_policy:
            if policy is None:
                raise ValueError(f"a snapshot of the policy is due at step {step}, got None: give the probabilities")
            self._policy_steps.append(step)
            snapshot = np.zeros(len(self.tasks), dtype=np.float32)
            snapshot[: len(policy)] = policy
            self._policies.append(snapshot)
            if len(self._policies) > self.max_policies:
                del self._policy_steps[1::2], self._policies[1::2]
                self._policy_stride *= 2
        self.steps += 1

    def _thin_out(self) -> None:
        while len(self._rows) > self.max_rows and self._rows[-1][0] > 0:
            self._stride *= 2
            self._rows = [row for row in self._rows if row[0] % self._stride == 0]

    def adopt(self, tasks: Sequence[str]) -> None:
        """Let these be the first tasks from now on; those of the record that are not among them stay behind them.

        Args:
            tasks: unique names. The grid is given up unless they are the same as before.

        Example:
            >>> history = CurriculumHistory(["easy", "hard"])
            >>> history.adopt(["hard", "harder"])
            >>> history.tasks
            ('hard', 'harder', 'easy')
        """
        known = check_names(tasks)
        if known == self.tasks:
            return
        first = set(known)
        names = (*known, *(name for name in self.tasks if name not in first))
        if names == self.tasks:
            return
        carried = carried_arms(self.tasks, names)
        now = {before: arm for arm, before in enumerate(carried) if before is not None}
        self.tasks, self.grid = names, None
        self._counts = [0 if arm is None else self._counts[arm] for arm in carried]
        self._first_losses = [math.nan if arm is None else self._first_losses[arm] for arm in carried]
        self._last_losses = [math.nan if arm is None else self._last_losses[arm] for arm in carried]
        self._rows = [(step, now[int(arm)], *rest) for step, arm, *rest in self._rows]
        places = list(now)  # arms as they were, in the order that they have now
        for number, policy in enumerate(self._policies):
            snapshot = np.zeros(len(names), dtype=np.float32)
            snapshot[list(now.values())] = policy[places]
            self._policies[number] = snapshot

    # ---------------------------------------------------------------- reading

    def column(self, name: str) -> FloatArray:
        """Return one of :data:`COLUMNS`, shape ``(rows,)``, NaN where unknown.

        Raises:
            ValueError: if there is no such column.
        """
        if name not in COLUMNS:
            raise ValueError(f"column must be one of {COLUMNS}, got {name!r}")
        place = COLUMNS.index(name)
        return np.array([row[place] for row in self._rows], dtype=np.float64)

    def policies(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return the steps of the snapshots, shape ``(S,)``, and the policies after them, shape ``(S, N)``."""
        empty = np.zeros((0, len(self.tasks)), dtype=np.float32)
        return np.array(self._policy_steps, dtype=np.int64), np.stack(self._policies) if self._policies else empty

    def to_columns(self) -> dict[str, Any]:
        """Return the recorded rows as columns, each of shape ``(rows,)``, for ``pandas.DataFrame`` and its like.

        ``step`` and ``arm`` are int64, ``task`` is a list of names, and ``probability``, ``progress``, ``reward`` and
        ``loss`` are float64, NaN where unknown.

        Example:
            >>> CurriculumHistory(["easy", "hard"]).to_columns().keys()
            dict_keys(['step', 'task', 'arm', 'probability', 'progress', 'reward', 'loss'])
        """
        steps, arms = (self.column(name).astype(np.int64) for name in ("step", "arm"))
        numbers = {name: self.column(name) for name in COLUMNS[2:]}
        return {"step": steps, "task": [self.tasks[arm] for arm in arms], "arm": arms, **numbers}

    @property
    def draws(self) -> npt.NDArray[np.int64]:
        """Exact number of draws of each task, shape ``(N,)``."""
        return np.array(self._counts, dtype=np.int64)

    @property
    def first_losses(self) -> FloatArray:
        """Training loss at the first draw of each task, shape ``(N,)``, NaN where there was none."""
        return np.array(self._first_losses)

    @property
    def last_losses(self) -> FloatArray:
        """Training loss at the last draw of each task, shape ``(N,)``, NaN where there was none."""
        return np.array(self._last_losses)

    # ---------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Return the record as plain containers and tensors with a SHA-256, loadable with ``weights_only=True``."""
        return seal(
            "history",
            {
                **self._header(),
                "first_losses": torch.tensor(self._first_losses, dtype=torch.float64),
                "last_losses": torch.tensor(self._last_losses, dtype=torch.float64),
                "rows": torch.tensor(self._rows, dtype=torch.float64).reshape(-1, len(COLUMNS)),
                "policies": torch.from_numpy(self.policies()[1]),
            },
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the record that :meth:`state_dict` was taken of.

        Raises:
            ValueError: if the record is damaged, of other tasks or of another format.
        """
        self._load_content(_content(state))

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> CurriculumHistory:
        """Return the record that :meth:`state_dict` was taken of, whatever its tasks.

        Raises:
            ValueError: if the record is damaged or of another format.

        Example:
            >>> CurriculumHistory.from_state_dict(CurriculumHistory(["easy", "hard"]).state_dict()).tasks
            ('easy', 'hard')
        """
        content = _content(state)
        history = cls(content["tasks"])
        history._load_content(content)
        return history

    def _load_content(self, content: Mapping[str, Any]) -> None:
        self._load_header(content)
        self._first_losses = [float(loss) for loss in content["first_losses"]]
        self._last_losses = [float(loss) for loss in content["last_losses"]]
        self._rows = [tuple(row) for row in content["rows"].tolist()]
        self._policies = list(content["policies"].detach().numpy().copy())
        self._check()

    def save(self, path: str | Path) -> Path:
        """Write the record as one JSON file and return its path; numbers that are not finite become ``null``.

        The file is there whole or not at all: where the disk is full, an earlier one stays as it was.
        """
        content = {
            **self._header(),
            "first_losses": _finite(self._first_losses),
            "last_losses": _finite(self._last_losses),
            "columns": {name: _finite(self.column(name).tolist()) for name in COLUMNS},
            "policies": [[round(float(value), 7) for value in policy] for policy in self._policies],
        }
        path = Path(path)
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(content, allow_nan=False, separators=(",", ":")), encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: str | Path) -> CurriculumHistory:
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is no such record, or is damaged.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise ValueError(f"{path} is no curriculum history: give a .json that was saved, or a .ckpt") from None
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{path} is no curriculum history: it is not JSON ({error})") from None
        if not isinstance(content, dict) or "curriculum_history" not in content:
            raise ValueError(f"{path} is no curriculum history: write it with CurriculumHistory.save()")
        try:
            return cls._from_json(content)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"{path}: the history is damaged ({type(error).__name__}: {error})") from error

    @classmethod
    def _from_json(cls, content: dict[str, Any]) -> CurriculumHistory:
        history = cls(content["tasks"])
        history._load_header(content)
        history._first_losses = _floats(content["first_losses"])
        history._last_losses = _floats(content["last_losses"])
        history._rows = list(zip(*(_floats(content["columns"][name]) for name in COLUMNS), strict=True))
        history._policies = [np.array(policy, dtype=np.float32) for policy in content["policies"]]
        history._check()
        return history

    def _check(self) -> None:
        tasks = len(self.tasks)
        whole = (
            len(self._counts) == len(self._first_losses) == len(self._last_losses) == tasks
            and len(self._policies) == len(self._policy_steps)
            and all(policy.shape == (tasks,) for policy in self._policies)
            and all(len(row) == len(COLUMNS) and 0 <= row[1] < tasks for row in self._rows)
        )
        if not whole:
            raise ValueError("the history is damaged: its parts are not of the same tasks or steps")

    def _header(self) -> dict[str, Any]:
        return {
            "curriculum_history": FORMAT,
            "tasks": list(self.tasks),
            "grid": self.grid,
            "target": self.target,
            "max_rows": self.max_rows,
            "max_policies": self.max_policies,
            "steps": self.steps,
            "draws": list(self._counts),
            "stride": self._stride,
            "policy_stride": self._policy_stride,
            "policy_steps": list(self._policy_steps),
        }

    def _load_header(self, state: Mapping[str, Any]) -> None:
        if state["curriculum_history"] != FORMAT:
            raise ValueError(
                f"the history has format {state['curriculum_history']!r}, this version of curricula reads {FORMAT}: "
                "install the version that wrote it"
            )
        if tuple(state["tasks"]) != self.tasks:
            raise ValueError(f"the history is of the tasks {state['tasks']}, not of {list(self.tasks)}")
        self.grid = state["grid"]
        self.target = state["target"]
        self.max_rows = state["max_rows"]
        self.max_policies = state["max_policies"]
        self.steps = state["steps"]
        self._counts = list(state["draws"])
        self._stride = state["stride"]
        self._policy_stride = state["policy_stride"]
        self._policy_steps = list(state["policy_steps"])


def _content(state: Mapping[str, Any]) -> Mapping[str, Any]:
    # The first states had no seal; of the sealed ones no damage makes such a state.
    return state if "curriculum_history" in state else unseal("history", state)


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _floats(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]
