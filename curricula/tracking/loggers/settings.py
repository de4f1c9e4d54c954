"""What a run's configuration says about the curriculum: an allowlist of names and numbers, nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from curricula.signals.base import Signal

if TYPE_CHECKING:
    from curricula.teacher import Teacher

_BANDIT = (
    *("num_arms", "horizon", "eta", "epsilon", "beta", "alpha", "segments"),
    *("rate", "temperature", "absolute", "repeats", "window", "xi", "gamma"),
)
_SIGNAL = ("sign", "kl_in_loss")
_SCALER = ("low", "high", "window", "warmup", "reservoir")


def settings(teacher: Teacher, signal: Signal) -> dict[str, dict[str, str | float]]:
    """Return the kind and the chosen constants of bandit, signal and scaler.

    Only numbers and truth values with names on a list are read: no text but the names of three classes can leave the
    machine this way.

    Args:
        teacher: started, so that automatic constants are known.
        signal: of the callback.

    Example:
        >>> from curricula import Teacher
        >>> from curricula.signals import PredictionGain
        >>> found = settings(Teacher(["easy", "hard"]), PredictionGain())
        >>> found["signal"], found["bandit"]["name"], found["scaler"]["window"]
        ({'name': 'PredictionGain'}, 'Exp3S', 1000)
    """
    return {
        "bandit": _constants(teacher.bandit, _BANDIT),
        "signal": _constants(signal, _SIGNAL),
        "scaler": _constants(teacher.scaler, _SCALER),
    }


def _constants(of: object, names: Iterable[str]) -> dict[str, str | float]:
    found: dict[str, str | float] = {"name": type(of).__name__}
    for name in names:
        value = getattr(of, name, None)
        if isinstance(value, (bool, int, float)):
            found[name] = value
    return found
