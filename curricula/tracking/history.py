"""CurriculumHistory: what was drawn, what it earned and cost, and what the policy was, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from curricula.bandits.base import FloatArray
from curricula.state import seal, unseal
from curricula.tracking.history_file import read_json, with_tensors, write_content
from curricula.tracking.kept_rows import COLUMNS, DAMAGED, KeptPolicies, KeptRows
from curricula.tracking.record import Record

__all__ = ["COLUMNS", "CurriculumHistory", "effective_number"]

FORMAT = 2


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


class CurriculumHistory(Record):
    """A record of every step that stays small however long the run.

    Rows of :data:`COLUMNS`, one for each draw of a step, and snapshots of the policy are kept at a stride of steps that
    starts at 1 and doubles whenever the limit is reached; draws, costs and samples per task are exact.

    Args:
        tasks: unique names, in the order of the arms.
        grid: axis name to labels, or ``None``; tasks fill it row by row.
        target: name of the target task, or ``None``.
        unit: what costs are counted in, in the plural.
        max_rows: most rows kept, at least 2; more where a single step has more draws.
        max_policies: most snapshots of the policy kept, at least 2; fewer where ``max_policies * N`` is above
            ``2,000,000``.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> from curricula import Teacher
        >>> teacher = Teacher(["easy", "hard"])
        >>> history = CurriculumHistory(teacher.tasks, unit="tokens")
        >>> draw = teacher.draw()
        >>> history.record(draw, progress=0.1, reward=0.0, loss=0.7, policy=teacher.probabilities(), cost=512)
        >>> history.steps, history.draws.tolist() == [draw.arm == 0, draw.arm == 1], history.total_cost
        (1, True, 512.0)
    """

    @property
    def max_policies(self) -> int:
        """Most snapshots of the policy kept."""
        return self._policies.most

    def column(self, name: str) -> FloatArray:
        """Return one of :data:`COLUMNS`, shape ``(rows,)``, NaN where unknown.

        Raises:
            ValueError: if there is no such column.
        """
        return self._rows.column(name)

    def policies(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return the steps of the snapshots, shape ``(S,)``, and the policies after them, shape ``(S, N)``."""
        return np.array(self._policies.steps, dtype=np.int64), self._policies.stacked(len(self.tasks))

    def to_columns(self) -> dict[str, Any]:
        """Return the recorded rows as columns, each of shape ``(rows,)``, for ``pandas.DataFrame`` and its like.

        ``step`` and ``arm`` are int64, ``task`` is a list of names, and all others are float64, NaN where unknown.

        Example:
            >>> list(CurriculumHistory(["easy", "hard"]).to_columns())[:4]
            ['step', 'task', 'arm', 'probability']
        """
        steps, arms = (self.column(name).astype(np.int64) for name in ("step", "arm"))
        numbers = {name: self.column(name) for name in COLUMNS[2:]}
        return {"step": steps, "task": [self.tasks[arm] for arm in arms], "arm": arms, **numbers}

    @property
    def draws(self) -> npt.NDArray[np.int64]:
        """Exact number of draws of each task, shape ``(N,)``."""
        return np.array(self._tallies.draws, dtype=np.int64)

    @property
    def first_losses(self) -> FloatArray:
        """Training loss at the first draw of each task, shape ``(N,)``, NaN where there was none."""
        return np.array(self._tallies.first_losses)

    @property
    def last_losses(self) -> FloatArray:
        """Training loss at the last draw of each task, shape ``(N,)``, NaN where there was none."""
        return np.array(self._tallies.last_losses)

    @property
    def costs(self) -> FloatArray:
        """Exact cost of each task in :attr:`unit`, shape ``(N,)``, NaN where that of a draw is unknown."""
        return np.array(self._tallies.costs)

    @property
    def samples(self) -> FloatArray:
        """Exact number of samples read of each task, shape ``(N,)``, NaN where that of a draw is unknown."""
        return np.array(self._tallies.samples)

    @property
    def passes(self) -> FloatArray:
        """Passes over each task: samples read by its size now, shape ``(N,)``, NaN where one of them is unknown."""
        return np.asarray(self.samples / np.array(self._tallies.sizes), dtype=np.float64)

    # ---------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Return the record as plain containers and tensors with a SHA-256, loadable with ``weights_only=True``."""
        return seal("history", self._content())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the record that :meth:`state_dict` was taken of.

        Raises:
            ValueError: if the record is damaged, of other tasks or of another format.
        """
        self._load(_content(state))

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> CurriculumHistory:
        """Return the record that :meth:`state_dict` was taken of, whatever its tasks.

        Raises:
            ValueError: if the record is damaged or of another format.

        Example:
            >>> CurriculumHistory.from_state_dict(CurriculumHistory(["easy", "hard"]).state_dict()).tasks
            ('easy', 'hard')
        """
        return cls._of(_content(state))

    def save(self, path: str | Path) -> Path:
        """Write the record as one JSON file and return its path; numbers that are not finite become ``null``.

        The file is there whole or not at all: where the disk is full, an earlier one stays as it was.
        """
        return write_content(self._content(), Path(path))

    @classmethod
    def load(cls, path: str | Path) -> CurriculumHistory:
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is no such record, or is damaged.
        """
        content = read_json(Path(path))
        try:
            return cls._of(content)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"{path}: the history is damaged ({type(error).__name__}: {error})") from error

    @classmethod
    def _of(cls, content: Mapping[str, Any]) -> CurriculumHistory:
        history = cls(content["tasks"])
        history._load(content)
        return history

    def _content(self) -> dict[str, Any]:
        rows, policies = self._rows, self._policies
        return {
            "curriculum_history": FORMAT,
            "tasks": list(self.tasks),
            "grid": self.grid,
            "target": self.target,
            "unit": self.unit,
            "max_rows": rows.most,
            "max_policies": policies.most,
            "steps": self.steps,
            "stride": rows.stride,
            "policy_stride": policies.stride,
            "policy_steps": list(policies.steps),
            "total_cost": torch.tensor([self.total_cost], dtype=torch.float64),
            **self._tallies.state(),
            "rows": rows.state(),
            "policies": torch.from_numpy(policies.stacked(len(self.tasks))),
        }

    def _load(self, content: Mapping[str, Any]) -> None:
        if content["curriculum_history"] not in range(1, FORMAT + 1):
            raise ValueError(
                f"the history has format {content['curriculum_history']!r}, this version of curricula reads 1 to "
                f"{FORMAT}: install the version that wrote it"
            )
        if tuple(content["tasks"]) != self.tasks:
            raise ValueError(f"the history is of the tasks {content['tasks']}, not of {list(self.tasks)}")
        content, tasks = with_tensors(content), len(self.tasks)
        self.grid, self.target, self.steps = content["grid"], content["target"], content["steps"]
        # Of before format 2 no cost is known.
        self.unit = content.get("unit", "cost")
        self.total_cost = float(content.get("total_cost", [math.nan])[0])
        self._tallies.load(content)
        if not self._tallies.is_of(tasks):
            raise ValueError(DAMAGED)
        self._rows, self._policies = KeptRows(content["max_rows"]), KeptPolicies(content["max_policies"])
        self._rows.load(content["rows"], content["stride"], tasks)
        self._policies.load(content["policies"], content["policy_stride"], content["policy_steps"], tasks)


def _content(state: Mapping[str, Any]) -> Mapping[str, Any]:
    # The first states had no seal; of the sealed ones no damage makes such a state.
    return state if "curriculum_history" in state else unseal("history", state)
