"""The contract of bandits."""

from __future__ import annotations

from curricula.testing.bandits.arms import ArmPromises
from curricula.testing.bandits.draws import DrawPromises
from curricula.testing.bandits.policy import PolicyPromises
from curricula.testing.bandits.state import StatePromises
from curricula.testing.bandits.steps import StepPromises
from curricula.testing.bandits.updates import UpdatePromises

__all__ = ["BanditContract"]


class BanditContract(PolicyPromises, UpdatePromises, StepPromises, DrawPromises, StatePromises, ArmPromises):
    """What every bandit promises: subclass it, say how to make yours, and let pytest collect it.

    It knows :class:`~curricula.bandits.Bandit` only by its methods. The other things to override are there for bandits
    that are not like most: :attr:`learns`, :attr:`picklable`, :meth:`renumbered`, :meth:`floor`, :meth:`weights`.

    Example:
        >>> from curricula.bandits import Exp3S
        >>> class TestMyBandit(BanditContract):
        ...     def make(self, num_arms):
        ...         return Exp3S(epsilon=0.2)
        >>> TestMyBandit().test_the_first_policy_is_a_distribution()
    """
