"""Contracts that a bandit, a signal, a scaler or tasks of your own can be run through, as those of the package are."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from curricula.testing.bandits import BanditContract
from curricula.testing.contract import Contract
from curricula.testing.scalers import ScalerContract

if TYPE_CHECKING:
    from curricula.testing.data import DataContract
    from curricula.testing.signals import SignalContract

__all__ = ["BanditContract", "Contract", "DataContract", "ScalerContract", "SignalContract"]

_NEED_TORCH = {"DataContract": "data", "SignalContract": "signals"}


def __getattr__(name: str) -> Any:
    if name not in _NEED_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    contract = getattr(import_module(f"curricula.testing.{_NEED_TORCH[name]}"), name)
    globals()[name] = contract
    return contract
