"""What a bandit promises of its state: plain, complete, its own."""

from __future__ import annotations

import copy
import pickle

from curricula.testing.bandits.hooks import HORIZON, BanditHooks, feed, snapshot, unchanged
from curricula.testing.contract import does_not_apply, refused
from curricula.testing.elsewhere import pickled
from curricula.testing.states import CARRIERS, check_plain, damaged, text


class StatePromises(BanditHooks):
    """A run that is saved and resumed goes on as if it had not been interrupted, bit for bit."""

    def test_the_state_is_of_plain_containers(self) -> None:
        """dict, list, str, int, finite float, bool, None: a checkpoint can be read without running code."""
        for bandit in (self.started(3), self.trained(3)):
            check_plain(bandit.state_dict())

    def test_a_state_goes_through_a_file_and_on_bit_for_bit(self) -> None:
        """Through JSON and ``torch.load(weights_only=True)``: the same draws and policies as without."""
        for num_arms in (1, 2, 5):
            for name, carry in CARRIERS.items():
                bandit, other = self.trained(num_arms), self.make(num_arms)
                state = bandit.state_dict()
                other.load_state_dict(carry(state))
                assert text(other.state_dict()) == text(state), (
                    f"through {name} the state {text(state)} became {text(other.state_dict())}"
                )
                assert snapshot(other) == snapshot(bandit), f"through {name} the policy became another"
                here = feed(bandit, 50, self.numbers(2), delay=2)
                there = feed(other, 50, self.numbers(2), delay=2)
                assert here == there, f"after {name} other arms are drawn, or with other probabilities"
                assert snapshot(other) == snapshot(bandit), (
                    f"after {name} it learns otherwise: something that decides the policy is not in the state"
                )

    def test_a_state_does_not_change_with_the_bandit(self) -> None:
        """Neither with the one that it was taken from nor with one that it was loaded into."""
        bandit, other = self.trained(3), self.make(3)
        state = bandit.state_dict()
        frozen = text(state)
        feed(bandit, 10, self.numbers(1))
        assert text(state) == frozen, "a state must be a copy: it changed with the bandit that it was taken from"
        other.load_state_dict(state)
        feed(other, 10, self.numbers(1))
        assert text(state) == frozen, "load_state_dict() must copy: the state changed with the bandit that has it"

    def test_the_state_of_another_bandit_is_refused_and_changes_nothing(self) -> None:
        """A ``ValueError``, which the callback shows to the user."""
        bandit = self.trained(3)
        for state in ({**bandit.state_dict(), "bandit": "Another"}, {}):
            with unchanged(bandit, "a state that is refused"), refused("the state of another bandit", ValueError):
                bandit.load_state_dict(state)

    def test_a_state_with_a_part_missing_is_refused_and_changes_nothing(self) -> None:
        """A part that is not there or a list that is too short is an error, unless nothing hangs on it."""
        donor = self.trained(3, 40)
        for what, state in damaged(donor.state_dict()):
            bandit = self.trained(3)
            before = snapshot(bandit)
            try:
                bandit.load_state_dict(state)
            except (LookupError, TypeError, ValueError):
                assert snapshot(bandit) == before, f"{what} must change nothing when it is refused"
            else:
                assert snapshot(bandit) == snapshot(donor), f"{what} must be refused: the bandit went on without"

    def test_reset_forgets_everything(self) -> None:
        """A bandit that was used is as a new one, so that one object can serve a second run."""
        fresh = self.started(3)
        bandit = self.trained(3)
        bandit.reset(3, HORIZON)
        assert snapshot(bandit) == snapshot(fresh), (
            f"after reset() the state must be {text(fresh.state_dict())}, got {text(bandit.state_dict())}"
        )
        assert feed(bandit, 40, self.numbers(1)) == feed(fresh, 40, self.numbers(1)), (
            "after reset() it must learn as a new one"
        )

    def test_a_copy_goes_on_alike_and_apart(self) -> None:
        """``copy.deepcopy`` makes one that learns the same and shares nothing."""
        bandit = self.trained(3)
        other = copy.deepcopy(bandit)
        with unchanged(bandit, "what a copy learns"):
            there = feed(other, 30, self.numbers(1))
        assert feed(bandit, 30, self.numbers(1)) == there, "a copy must go on as the bandit that it was made of"
        assert snapshot(bandit) == snapshot(other), "a copy must learn as the bandit that it was made of"
        with unchanged(other, "what the bandit learns that a copy was made of"):
            feed(bandit, 30, self.numbers(2))

    def test_it_can_be_pickled(self) -> None:
        """In the middle of a run, as strategies that start processes do, and it goes on alike."""
        if not self.picklable:
            does_not_apply("it cannot be pickled")
        bandit = self.trained(3)
        other = pickle.loads(pickled(bandit))
        assert snapshot(bandit) == snapshot(other), "out of a pickle it must be as it went in"
        assert feed(bandit, 30, self.numbers(1)) == feed(other, 30, self.numbers(1)), "out of a pickle it must go on"
