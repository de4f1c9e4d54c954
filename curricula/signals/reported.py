"""Reported progress: a number that the training step returns, or that the user reports."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from curricula.signals.base import Signal
from curricula.signals.micro_batch import slot_means
from curricula.task_names import listed, nearest

if TYPE_CHECKING:
    from curricula.signals.step import Step

_log = logging.getLogger(__name__)

Change: TypeAlias = Literal["signed", "absolute"]
"""What of the change since the task's last value counts."""

_SILENT = 100
"""Steps without a value from the start on, after which it is told."""


class Reported(Signal):
    r"""A number of your own: a return, an accuracy, a success; larger is better to train on.

    ``training_step`` returns it by name, ``{"loss": loss, "return": value}``; or it is given to
    :meth:`CurriculumCallback.report <curricula.CurriculumCallback.report>` from anywhere, for the draws of the batch in
    hand or for a task. Under accumulation, or with several values in a step, their mean counts.

    A value is one number; or a tensor, array or list, of which the mean counts. Where the batch has several draws its
    first dimension is the batch, and each draw has the mean over its own samples; one number per slot will do as well,
    or a list with one entry per slot: a number, several numbers, or ``None``. An empty tensor and ``None`` say nothing:
    no episode has ended, for example.

    **Late values.** A draw without a value is closed without a reward when its step is over. A value that comes later,
    as where an episode ends hundreds of steps on, is reported for its *task*, and counts for the next draw of the task:
    the bandit learns about tasks, and weights a reward with the probability of the draw that it is given to. A value
    that never comes costs nothing. Values that wait are in the checkpoint (on several ranks, those of the first).

    Args:
        name: key of the value in what ``training_step`` returns.
        change: ``None``: the value itself. ``"signed"``: its change since the task's last value (progress, where it is
            a score); ``"absolute"``: the size of the change. The first value of a task teaches nothing then.

    Raises:
        TypeError: if the name is no text; in training, if a value is no number.
        ValueError: if ``change`` is another; in training, if a value is not one number per sample or slot.

    Source: for ``change``, Matiisen et al. 2017, "Teacher-Student Curriculum Learning", arXiv:1707.00183.

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(signal=Reported("return", change="absolute"))
    """

    needs_outputs = True

    def __init__(self, name: str, *, change: Change | None = None) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"name must be the key of a value that training_step returns, got {name!r}")
        if change is not None and change not in get_args(Change):
            raise ValueError(f'change must be "signed", "absolute" or None, got {change!r}')
        self.name = name
        self._change = change
        self._last: dict[str, float] = {}
        self._waiting: dict[str, tuple[float, int]] = {}
        self._heard = False
        self._silent = 0
        self._keys: set[str] = set()

    # ---------------------------------------------------------------- values come in

    def after_batch(self, step: Step) -> None:
        """Take the value that the training step has returned, if it has."""
        outputs = step.outputs
        if isinstance(outputs, Mapping):
            if self.name in outputs:
                self.report(step, outputs[self.name])
            elif not self._heard:
                self._keys.update(map(str, outputs))

    def report(self, step: Step, value: Any) -> None:
        """Take a value for the draws of the batch in hand.

        Args:
            step: that is not over.
            value: as above.
        """
        draws = step.micro_batches.last.draws
        own = step.notes.setdefault("reported", {})
        for draw, found in zip(draws, self._of_slots(value, len(draws), step.batch_size), strict=True):
            if found is not None:
                self._heard = True
                own.setdefault(draw.id, []).append(found)

    def report_for(self, task: str, value: Any) -> None:
        """Take a value for the open draw of a task, or for the next one.

        Args:
            task: name of the task.
            value: a number, or several, of which the mean counts.
        """
        found = self._of_one(value)
        if found is not None:
            self._heard = True
            total, count = self._waiting.get(task, (0.0, 0))
            self._waiting[task] = total + found, count + 1

    def each(self, values: Tensor) -> Tensor:
        """Return what each single value counts for; by default the value itself.

        Args:
            values: as reported, float64.
        """
        return values

    def _of_slots(self, value: Any, slots: int, batch_size: int | None) -> list[float | None]:
        if slots == 1:
            return [self._of_one(value)]
        if value is None:
            return [None] * slots
        if isinstance(value, (list, tuple)) and len(value) == slots:
            return [self._of_one(part) for part in value]
        values = self.each(self._as_tensor(value))
        if values.ndim > 0 and len(values) in (slots, batch_size):
            return list(slot_means(values.flatten(1).mean(dim=1) if values.ndim > 1 else values, slots))
        raise ValueError(
            f"the value {self.name!r} must tell the {slots} draws of the batch apart: one number per sample, shape "
            f"({batch_size}, ...), or per slot, shape ({slots}, ...); got shape {tuple(values.shape)}"
        )

    def _of_one(self, value: Any) -> float | None:
        if value is None:
            return None
        values = self.each(self._as_tensor(value))
        return float(values.mean()) if values.numel() else None

    def _as_tensor(self, value: Any) -> Tensor:
        try:
            found = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"the value {self.name!r} must be a number or a tensor of them, got {value!r}") from error
        if found.is_complex():
            raise TypeError(f"the value {self.name!r} must be real, got {value!r}")
        return found.detach().cpu().double()

    # ---------------------------------------------------------------- progress

    def after_step(self, step: Step) -> float | None:
        """Return the mean of the values of the draw, ``None`` if there are none."""
        return self.after_step_per_draw(step)[0]

    def after_step_per_draw(self, step: Step) -> list[float | None]:
        """Return the mean of the values of each draw, ``None`` if it has none.

        What waits for a task counts for each of its draws in the step.
        """
        own: dict[int, list[float]] = step.notes.get("reported", {})
        waiting = {task: self._waiting.pop(task) for task in {draw.task for draw in step.draws} & self._waiting.keys()}
        found: list[float | None] = []
        for draw in step.draws:
            values = own.get(draw.id, [])
            total, count = waiting.get(draw.task, (0.0, 0))
            number = len(values) + count
            found.append((sum(values) + total) / number if number else None)
        if not self._heard:
            self._tell_silence()
        return found

    def compare(self, task: str, value: float) -> float | None:
        """Return the value, or its change since the task's last one."""
        if self._change is None:
            return value
        before, self._last[task] = self._last.get(task), value
        if before is None:
            return None
        return value - before if self._change == "signed" else abs(value - before)

    def _tell_silence(self) -> None:
        self._silent += 1
        if self._silent == _SILENT:
            _log.warning(
                "in %d steps no value %r was reported, and nothing is learned without: return it from training_step, "
                '{"loss": loss, %r: value}, or call callback.report(value); training_step returned %s%s',
                _SILENT,
                self.name,
                self.name,
                listed(sorted(self._keys)),
                nearest(self.name, self._keys),
            )

    # ---------------------------------------------------------------- memory

    def reset(self) -> None:
        """Forget all values."""
        self._last.clear()
        self._waiting.clear()
        self._heard, self._silent = False, 0
        self._keys.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return the tasks' last values, and those that wait for a draw."""
        return {"last": dict(self._last), "waiting": dict(self._waiting)} if self._last or self._waiting else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember what :meth:`state_dict` returned."""
        self._last, self._waiting = dict(state["last"]), dict(state["waiting"])
