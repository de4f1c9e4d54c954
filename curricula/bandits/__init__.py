"""Bandits: which task next. numpy only; no torch, no Lightning."""

from curricula.bandits.base import Bandit
from curricula.bandits.exp3 import Exp3
from curricula.bandits.exp3s import Exp3S
from curricula.bandits.fixed import FixedPolicy
from curricula.bandits.pulls import Pull
from curricula.bandits.without_replacement import WithoutReplacement

__all__ = ["Bandit", "Exp3", "Exp3S", "FixedPolicy", "Pull", "WithoutReplacement"]
