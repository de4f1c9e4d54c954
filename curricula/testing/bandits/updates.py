"""What a bandit promises of its updates: what it takes, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from curricula.testing.bandits.hooks import BanditHooks, unchanged
from curricula.testing.contract import refused
from curricula.testing.states import text

BAD_UPDATES: list[tuple[int, float, float]] = [
    (-1, 0.0, 0.5),
    (3, 0.0, 0.5),
    (0, 1.5, 0.5),
    (0, -1.0000001, 0.5),
    (0, math.nan, 0.5),
    (0, math.inf, 0.5),
    (0, 0.0, 0.0),
    (0, 0.0, -0.1),
    (0, 0.0, 1.1),
    (0, 0.0, math.nan),
]
"""Arm, reward and probability, for three arms."""

BAD_POLICIES: list[Any] = [None, [0.5, 0.5], [0.5, -0.5, 1.0], [0.5, math.nan, 0.5]]
"""For three arms."""


class UpdatePromises(BanditHooks):
    """Bad arguments are refused and change nothing; good ones are read only."""

    def test_numpy_numbers_are_as_good_as_python_ones(self) -> None:
        """They make the same state, and leave none of their kind in it."""
        bandit, twin = self.started(3), self.started(3)
        ones: list[Any] = [np.int64(1), np.float32(0.5), np.float64(0.25), np.array([0.5, 0.25, 0.25])]
        others: list[Any] = [1, 0.5, 0.25, [0.5, 0.25, 0.25]]
        bandit.update(*ones)
        twin.update(*others)
        assert text(bandit.state_dict()) == text(twin.state_dict()), (
            f"numpy's numbers made {text(bandit.state_dict())}, Python's {text(twin.state_dict())}"
        )

    def test_a_bad_update_is_refused_and_changes_nothing(self) -> None:
        """An arm that is none, a reward outside ``[-1, 1]``, a probability outside ``(0, 1]``: a ``ValueError``."""
        bandit = self.trained(3)
        for arm, reward, probability in BAD_UPDATES:
            what = f"update(arm={arm}, reward={reward}, probability={probability})"
            with unchanged(bandit, what), refused(what, ValueError):
                bandit.update(arm, reward, probability, np.full(3, 1 / 3))

    def test_the_policy_at_the_draw_is_checked_where_it_is_needed(self) -> None:
        """With ``needs_policy`` one that is none is a ``ValueError``; without, it does not matter."""
        for policy in BAD_POLICIES:
            bandit = self.started(3)
            what = f"update(policy={policy})"
            if bandit.needs_policy:
                with unchanged(bandit, what), refused(what, ValueError):
                    bandit.update(0, 0.5, 0.5, policy)
            else:
                bandit.update(0, 0.5, 0.5, policy)
                self.check_policy(bandit)

    def test_the_policy_at_the_draw_is_neither_kept_nor_changed(self) -> None:
        """The array that is given stays the caller's."""
        bandit = self.trained(3)
        given = np.array([0.5, 0.3, 0.2])
        bandit.update(1, 0.5, 0.3, given)
        assert given.tolist() == [0.5, 0.3, 0.2], f"update() must not write to the policy it is given, now {given}"
        with unchanged(bandit, "writing to an array that was given to update() before"):
            given[:] = [0.1, 0.1, 0.8]

    def test_nothing_is_drawn_or_learned_before_reset(self) -> None:
        """A bandit without arms says so: a ``RuntimeError``."""
        with refused("draw() before reset()", RuntimeError):
            self.make(3).draw(self.numbers())
        with refused("update() before reset()", RuntimeError):
            self.make(3).update(0, 0.5, 0.5, np.full(3, 1 / 3))
        with refused("rearrange() before reset()", RuntimeError):
            self.make(3).rearrange([0])

    def test_no_arms_and_no_horizon_are_refused(self) -> None:
        """``reset`` wants whole numbers of at least 1: else a ``ValueError``, or a ``TypeError`` for another kind."""
        for wrong in (0, -1):
            with refused(f"reset(num_arms={wrong})", ValueError):
                self.make(3).reset(wrong)
            with refused(f"reset(3, horizon={wrong})", ValueError):
                self.make(3).reset(3, wrong)
        other_kinds: list[Any] = [3.0, "3", True]
        for value in other_kinds:
            with refused(f"reset(num_arms={value!r})", TypeError):
                self.make(3).reset(value)
            with refused(f"reset(3, horizon={value!r})", TypeError):
                self.make(3).reset(3, value)
