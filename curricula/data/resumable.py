"""The place of a loader in its tasks and among the draws: saved, and gone back to."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from curricula.data.cursor import Cursor, Draws
from curricula.data.plan import Plan
from curricula.data.samples import Samples
from curricula.data.sources.collection import Sources
from curricula.state import seal, unseal
from curricula.task_names import TaskChanges
from curricula.teacher import Teacher


class ResumableLoader:
    """The state of a :class:`~curricula.CurriculumLoader`. The subclass makes the parts."""

    samples: Samples
    made_in_epoch: int
    _sources: Sources
    _plan: Plan
    _own_teacher: Teacher
    _delivered: deque[tuple[Draws, int | None]]
    claimed_samples: int | None
    """Samples on this rank of the batch that was claimed last; ``None`` where the batch alone can tell."""
    _waiting: dict[str, Any] | None  # a state of other tasks, until somebody says that these are meant
    _resumed: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of the arms."""
        return self._sources.names

    @property
    def tasks(self) -> dict[str, Any]:
        """The tasks, by name."""
        return self._sources.tasks

    @property
    def teacher(self) -> Teacher:
        """The Teacher whose draws are served."""
        return self._plan.teacher

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the epoch and in every task, and the draws not yet delivered; equal on all ranks."""
        own = self._own_teacher
        return seal(
            "loader",
            {
                "tasks": list(self.names),
                "made_in_epoch": self.made_in_epoch,
                **self._plan.cursor.state(),
                **self._sources.map_state(),
                "samples": self.samples.state(),
                "streams": self._sources.stream_state(),
                "own_teacher": own.state_dict() if self.teacher is own else None,
            },
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the batch after those that were delivered when the state was taken.

        A state of other tasks waits for :meth:`attach` to say whether they are to be matched by name; without that, the
        first batch raises ``ValueError``.

        Raises:
            ValueError: if the state is damaged or of a newer format.
        """
        content = unseal("loader", state)
        if tuple(content["tasks"]) == self.names:
            self._restore(content)
        else:
            self._waiting = content

    @property
    def resumes(self) -> bool:
        """Whether a state was loaded that no batch has followed yet."""
        return self._resumed or self._waiting is not None

    def _refusal(self, content: Mapping[str, Any]) -> str:
        return TaskChanges.between(content["tasks"], self.names).refusal("the checkpoint's loader")

    def _restore(self, content: Mapping[str, Any]) -> None:
        self._reset()
        if content["own_teacher"] is not None:
            self._own_teacher.load_state_dict(content["own_teacher"], strict=False)
        self._plan.cursor = Cursor.loaded(content, content["tasks"], self.names)
        self._sources.restore(content)
        self.samples.load_state(content["samples"])
        self.made_in_epoch = content.get("made_in_epoch", 0)  # older states have none
        self._resumed = True

    def _reset(self) -> None:
        self._plan.reset(len(self.names))
        self._resumed = False
        self._waiting = None
        self._delivered = deque()
        self.claimed_samples = None
        self.samples.load_state([])
        self._sources.rewind()
