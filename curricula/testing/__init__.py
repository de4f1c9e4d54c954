"""Contracts that a bandit, a signal or a scaler of your own can be run through, as those of the package are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curricula.testing.bandits import BanditContract
from curricula.testing.contract import Contract
from curricula.testing.scalers import ScalerContract

if TYPE_CHECKING:
    from curricula.testing.signals import SignalContract

__all__ = ["BanditContract", "Contract", "ScalerContract", "SignalContract"]


def __getattr__(name: str) -> Any:
    if name != "SignalContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from curricula.testing.signals import SignalContract  # only this one needs torch and Lightning

    globals()[name] = SignalContract
    return SignalContract
