"""Bandits: which task next. numpy only; no torch, no Lightning."""

from curricula.bandits.base import Bandit
from curricula.bandits.boltzmann import Boltzmann
from curricula.bandits.exp3 import Exp3
from curricula.bandits.exp3s import Exp3S
from curricula.bandits.fixed import FixedPolicy
from curricula.bandits.odm import OnlineDataMixing
from curricula.bandits.pulls import Pull
from curricula.bandits.tscl import TSCLNaive, TSCLOnline, TSCLWindow
from curricula.bandits.tscl_sampling import TSCLSampling
from curricula.bandits.ucb import DiscountedUCB, SlidingWindowUCB
from curricula.bandits.without_replacement import WithoutReplacement

__all__ = [
    "Bandit",
    "Boltzmann",
    "DiscountedUCB",
    "Exp3",
    "Exp3S",
    "FixedPolicy",
    "OnlineDataMixing",
    "Pull",
    "SlidingWindowUCB",
    "TSCLNaive",
    "TSCLOnline",
    "TSCLSampling",
    "TSCLWindow",
    "WithoutReplacement",
]
