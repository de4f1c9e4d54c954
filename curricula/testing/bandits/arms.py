"""What a bandit promises where tasks come and go."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np

from curricula.bandits.base import Bandit
from curricula.testing.bandits.hooks import BanditHooks, feed, snapshot, unchanged
from curricula.testing.contract import does_not_apply, refused
from curricula.testing.states import check_plain, text


class ArmPromises(BanditHooks):
    """What was learned of the arms that stay is kept; a bandit that cannot do that says so."""

    def test_arms_that_stay_keep_their_ratios_and_new_ones_get_their_mean(self) -> None:
        """Of the :meth:`weights`. A bandit that cannot change its arms refuses, and nothing has changed."""
        for stay, new in ((5, 0), (3, 0), (3, 2), (1, 1), (4, 1)):
            bandit = self.trained(5)
            before, arms = self.weights(bandit), self._that_stay(bandit, stay)
            if not _rearranges(bandit):
                with unchanged(bandit, "a change of arms that is refused"), refused("rearrange()", ValueError):
                    bandit.rearrange([*arms, *[None] * new])
                continue
            bandit.rearrange([*arms, *[None] * new])
            assert bandit.num_arms == stay + new, f"num_arms must be {stay + new} after it, got {bandit.num_arms}"
            self.check_policy(bandit)
            after = self.weights(bandit)
            if before.any() and after.any():
                wanted = np.append(before[arms], [before[arms].mean()] * new)
                wanted /= wanted.sum()
                assert np.abs(after - wanted).max() <= 1e-9, (
                    f"rearrange({[*arms, *[None] * new]}) must make the weights {before} to {wanted}, got {after}: "
                    "where weights are not what the policy has above the floor, override weights()"
                )

    def test_after_a_change_of_arms_it_goes_on(self) -> None:
        """It draws and learns, its state is plain and resumes; loading an older state with other arms is the same."""
        bandit, arms = self.trained(4), [2, None, 0]
        state = bandit.state_dict()
        if not _rearranges(bandit):
            does_not_apply("it cannot change its arms")
        bandit.rearrange(arms)
        check_plain(bandit.state_dict())
        other = copy.deepcopy(bandit)
        other.load_state_dict(bandit.state_dict())
        assert snapshot(other) == snapshot(bandit), "its own state must change nothing after a change of arms"
        if self.learns:
            resumed, loaded = self.make(3), self.make(3)
            resumed.load_state_dict(bandit.state_dict())
            loaded.load_state_dict(state, arms)
            assert snapshot(resumed) == snapshot(bandit), "a state after a change of arms must go on in a new bandit"
            assert text(loaded.state_dict()) == text(bandit.state_dict()), (
                "load_state_dict(state, arms) must be load_state_dict(state) and rearrange(arms)"
            )
        for _ in range(5):
            feed(bandit, 10, self.numbers(1), delay=2)
            self.check_policy(bandit)

    def test_arms_that_are_none_are_refused_and_change_nothing(self) -> None:
        """No arms at all, one twice, or one that there is not: a ``ValueError``."""
        bandit = self.trained(3)
        state = bandit.state_dict()
        wrong: list[list[int | None]] = [[], [0, 0], [3], [-1]]
        for arms in wrong:
            with unchanged(bandit, "a change of arms that is refused"), refused(f"rearrange({arms})", ValueError):
                bandit.rearrange(arms)
            if self.learns:
                what = f"load_state_dict(state, arms={arms})"
                with unchanged(bandit, what), refused(what, ValueError):
                    bandit.load_state_dict(state, arms)

    def test_among_the_arms_that_are_left_the_policy_is_a_distribution(self) -> None:
        """``probabilities_among`` sums to 1 over the arms that can be drawn, and changes nothing."""
        for bandit in (self.started(5), self.trained(5), self.trained(5, 51)):
            for arms in ([0], [1, 3], [0, 2, 3, 4], list(range(5))):
                with unchanged(bandit, "a policy among some arms"):
                    policy = bandit.probabilities_among(arms)
                    total, others = math.fsum(policy[arms].tolist()), np.delete(policy, arms)
                    policy[:] = np.nan
                assert policy.shape == (5,), f"it must be of all arms, shape (5,), got {policy.shape}"
                assert abs(total - 1.0) <= 1e-12, f"the probabilities of the arms {arms} must sum to 1, got {total!r}"
                assert not others.any(), f"only the arms {arms} can be drawn, the others have {others}"
            found, wanted = bandit.probabilities_among(range(5)), bandit.probabilities()
            assert np.abs(found - wanted).max() <= 1e-12, f"among all arms the policy must be {wanted}, got {found}"

    def _that_stay(self, bandit: Bandit, count: int) -> list[int]:
        """Return so many arms in some order, the most probable one among them, so that there is something to keep."""
        best = int(bandit.probabilities().argmax())
        order: Sequence[int] = [arm for arm in self.numbers(count).permutation(bandit.num_arms).tolist() if arm != best]
        return [*order[: count - 1], best]


def _rearranges(bandit: Bandit) -> bool:
    return type(bandit)._rearrange is not Bandit._rearrange or type(bandit).rearrange is not Bandit.rearrange
