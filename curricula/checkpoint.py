"""The curriculum in a checkpoint: which parts it has, and how a training goes on from them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from curricula.bandits.base import Bandit
from curricula.data.loader import CurriculumLoader
from curricula.encoding import decoded, encoded
from curricula.guard import Guard
from curricula.signals.base import Signal
from curricula.state import seal, unseal
from curricula.task_names import TaskChanges, listed
from curricula.teacher import Teacher
from curricula.tracking.history import CurriculumHistory

_log = logging.getLogger(__name__)

_REQUIRED = {"teacher", "history"}
_OPTIONAL = {"loader", "signal", "guard"}  # states of earlier versions have none of them


def parts_of(
    teacher: Teacher,
    history: CurriculumHistory,
    loader: CurriculumLoader | None,
    signal: Signal,
    guard: Guard | None = None,
) -> dict[str, Any]:
    """Return all that decides the next draws and batches, and the history, each part sealed."""
    parts = {"teacher": teacher.state_dict(), "history": history.state_dict()}
    if loader is not None:
        parts["loader"] = loader.state_dict()
    memory = signal.state_dict()
    if memory:
        name = type(signal).__name__
        parts["signal"] = seal("signal", {"name": name, "memory": encoded(f"signal {name}", memory, "state_dict()")})
    if guard is not None:
        parts["guard"] = seal("guard", guard.state_dict())
    return parts


def check_parts(state: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless the state has the parts that :func:`parts_of` writes."""
    if not _REQUIRED <= set(state) <= _REQUIRED | _OPTIONAL:
        raise ValueError(
            f"the curriculum state has the parts {list(state)}, not 'teacher' and 'history': it is damaged, or another "
            "version of curricula wrote it; use an older checkpoint, or start the curriculum anew"
        )


def look_back(state: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Teacher, CurriculumHistory]:
    """Return the teacher and the history of a state, to be looked at.

    Args:
        state: what :func:`parts_of` returned.
        options: of the teacher.

    Raises:
        ValueError: if the state is damaged, or of another seed, bandit or scaler.
    """
    check_parts(state)
    tasks = unseal("teacher", state["teacher"])["tasks"]
    teacher = Teacher(tasks, sizes=[1.0] * len(tasks), **options)  # the state has the prior that came of the true ones
    teacher.load_state_dict(state["teacher"])
    return teacher, CurriculumHistory.from_state_dict(state["history"])


def go_on(
    state: Mapping[str, Any],
    teacher: Teacher,
    history: CurriculumHistory,
    loader: CurriculumLoader,
    signal: Signal,
    guard: Guard | None = None,
    *,
    strict: bool,
    source: Any,
) -> CurriculumHistory:
    """Put teacher, loader, signal and guard where they were, and return the history to go on with.

    Args:
        state: what :func:`parts_of` returned.
        teacher: a new one, with the horizon of this training.
        history: a new one.
        loader: that of this training.
        signal: that of this training.
        guard: that of this training, or ``None``.
        strict: refuse a state of other tasks; if not, tasks are matched by name.
        source: the checkpoint's path, for messages.

    Raises:
        ValueError: if the state is damaged, or does not fit.
    """
    check_parts(state)
    saved = CurriculumHistory.from_state_dict(state["history"])
    planned = _Rates(teacher.bandit)
    changes = teacher.load_state_dict(state["teacher"], strict=strict)
    tell_changes("the checkpoint's curriculum", changes)
    planned.tell_extended(teacher.bandit)
    _restore_loader(state, loader, source)
    _restore_signal(state, signal)
    _restore_guard(state, guard, teacher)
    saved.adopt(teacher.tasks)
    saved.target = history.target
    if saved.count_in(history.unit):
        _log.warning(
            "the checkpoint counts cost in another unit than %s, which is counted from now on: the cost of the steps "
            "before, and with it every sum, is unknown",
            history.unit,
        )
    return saved


def tell_changes(whose: str, changes: TaskChanges) -> None:
    """Warn which tasks kept what was learned of them, which are new, and which are gone."""
    if changes.new or changes.gone:
        _log.warning(
            "%s had other tasks: %s kept the ratios of their weights, %s are new and got the mean of these, "
            "%s are gone",
            whose,
            listed(changes.kept),
            listed(changes.new),
            listed(changes.gone),
        )


def _restore_loader(state: Mapping[str, Any], loader: CurriculumLoader, source: Any) -> None:
    # Lightning hands a loader its state in some cases only: not after an epoch that is complete, not where a run was
    # over when it was resumed, and not in a module that has read `trainer.estimated_stepping_batches` before.
    if "loader" in state:
        loader.load_state_dict(state["loader"])
    elif not loader.resumes:
        _log.warning(
            "the checkpoint %s has the curriculum, but not where the loader was: the policy goes on, and every task "
            "begins with its first batch",
            source,
        )


def _restore_signal(state: Mapping[str, Any], signal: Signal) -> None:
    own = state.get("signal")
    if own is None:
        return
    content = unseal("signal", own)
    if content["name"] == type(signal).__name__:
        signal.load_state_dict(decoded(content["memory"]))
    else:
        _log.warning(
            "the checkpoint has what %s remembered, and the signal is %s now: it begins without a memory",
            content["name"],
            type(signal).__name__,
        )


def _restore_guard(state: Mapping[str, Any], guard: Guard | None, teacher: Teacher) -> None:
    if "guard" not in state:
        return
    if guard is None:
        _log.warning("the checkpoint has a guard, and there is none now: no task is guarded from here on")
        teacher.guard(())
        return
    guard.load_state_dict(unseal("guard", state["guard"]))
    teacher.guard(name for name in guard.guarded if name in teacher.tasks)


class _Rates:
    """The rates that a bandit would have for the training that begins now."""

    def __init__(self, bandit: Bandit) -> None:
        self._horizon = bandit.horizon
        self._rates = self._of(bandit)

    def tell_extended(self, bandit: Bandit) -> None:
        """Warn if the bandit goes on with rates that were chosen for a shorter training."""
        before, now = bandit.horizon, self._horizon
        if before is None or now is None or now <= before or self._of(bandit) == self._rates or not self._rates:
            return
        _log.warning(
            "the training is %d updates long now, and the checkpoint's %s has rates that were chosen for %d: they "
            "stay, so that what was begun goes on. For those of the longer training give the bandit "
            "eta=%.3g, epsilon=%.3g",
            now,
            type(bandit).__name__,
            before,
            *self._rates,
        )

    def _of(self, bandit: Any) -> tuple[float, ...]:
        return (bandit.eta, bandit.epsilon) if hasattr(bandit, "eta") and hasattr(bandit, "epsilon") else ()
