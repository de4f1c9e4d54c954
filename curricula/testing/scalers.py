"""The contract of scalers: from any finite progress rate to a reward in [-1, 1]."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np

from curricula.rewards import RewardScaler
from curricula.testing.chance import global_numbers, other_global_numbers
from curricula.testing.contract import Contract, does_not_apply, refused
from curricula.testing.elsewhere import elsewhere, pickled
from curricula.testing.states import CARRIERS, check_plain, damaged, text

EXTREMES = [0.0, -0.0, 1.0, -1.0, 0.1, 1e308, -1e308, 1.7976931348623157e308, 5e-324, -5e-324, 2.2250738585072014e-308]
"""Rates that sums, differences and quotients of which overflow, underflow or round."""


class ScalerContract(Contract):
    """What every scaler promises: subclass it, say how to make yours, and let pytest collect it.

    Example:
        >>> from curricula.rewards import QuantileScaler
        >>> class TestMyScaler(ScalerContract):
        ...     def make(self):
        ...         return QuantileScaler(window=50)
        >>> TestMyScaler().failures()
        {}
    """

    picklable: bool = True
    """Whether it can be pickled, as strategies that start processes do."""

    def make(self) -> RewardScaler:
        """Return a new scaler with the options to be tested."""
        raise NotImplementedError(f"define {type(self).__name__}.make(self), which returns a new scaler")

    # ---------------------------------------------------------------- rewards

    def test_any_finite_rate_makes_a_reward_from_minus_1_to_1(self) -> None:
        """Of 1e308 and 5e-324 as well, after any history of the like, and it is a Python ``float``."""
        for rates in self._histories():
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                scaler = self.started()
                for rate in rates:
                    self._check_reward(scaler.scale(rate), rate)

    def test_equal_rates_make_rewards_from_minus_1_to_1(self) -> None:
        """A history of one value only, and then a rate a hair above or below it."""
        for value in EXTREMES:
            scaler = self.started()
            for _ in range(50):
                self._check_reward(scaler.scale(value), value)
            for rate in (math.nextafter(value, math.inf), math.nextafter(value, -math.inf)):
                if math.isfinite(rate):
                    self._check_reward(scaler.scale(rate), rate)

    def test_a_better_rate_never_earns_less(self) -> None:
        """After one and the same history rewards rise with the rate, or stay."""
        for rates in self._histories():
            scaler = self.started()
            _scaled(scaler, rates)
            state, asked = scaler.state_dict(), sorted({*EXTREMES, *rates[:40], *(rate * 1.1 for rate in rates[:10])})
            rewards = []
            for rate in filter(math.isfinite, asked):
                other = self.make()
                other.load_state_dict(copy.deepcopy(state))
                rewards.append((rate, other.scale(rate)))
            for (lower, less), (higher, more) in itertools.pairwise(rewards):
                assert less <= more, f"the rate {higher} earns {more}, less than the {less} of the lower rate {lower}"

    def test_rates_that_are_not_finite_are_refused_and_not_remembered(self) -> None:
        """A ``ValueError``, and the history is as it was."""
        scaler = self._used()
        before = text(scaler.state_dict())
        for rate in (math.nan, math.inf, -math.inf):
            with refused(f"scale({rate})", ValueError):
                scaler.scale(rate)
            assert text(scaler.state_dict()) == before, f"scale({rate}) must leave the history as it is"

    def test_numpy_numbers_are_as_good_as_python_ones(self) -> None:
        """They earn the same, and leave none of their kind in the state."""
        scaler, twin = self.started(), self.started()
        for rate in self._normal(40):
            reward = scaler.scale(np.float64(rate))
            assert reward == twin.scale(rate), f"numpy's {rate} earns {reward}"
            self._check_reward(reward, rate)
        check_plain(scaler.state_dict())

    # ---------------------------------------------------------------- steps

    def test_the_rates_of_a_step_are_scaled_by_what_was_known_before_it(self) -> None:
        """In ``scale_all`` each earns what it would as the only one, and all of them are remembered in their order."""
        rates = self._normal(60)
        for start, end in ((0, 3), (0, 30), (20, 24), (30, 60), (59, 60)):
            scaler = self.started()
            _scaled(scaler, rates[:start])
            alone = [copy.deepcopy(scaler).scale(rate) for rate in rates[start:end]]
            later = copy.deepcopy(scaler)
            _scaled(later, rates[start:end])
            together = scaler.scale_all(rates[start:end])
            assert together == alone, (
                f"after {start} rates a step of {rates[start:end]} must earn {alone}, as each of them would by itself, "
                f"got {together}"
            )
            assert text(scaler.state_dict()) == text(later.state_dict()), (
                "after scale_all() it must remember what it does after scale() of each in their order"
            )
        scaler = self._used()
        before = text(scaler.state_dict())
        with refused("scale_all([1e9, nan])", ValueError):
            scaler.scale_all([1e9, math.nan])
        assert text(scaler.state_dict()) == before, "scale_all([1e9, nan]) must leave the history as it is"

    # ---------------------------------------------------------------- runs

    def test_two_runs_agree_whatever_the_global_random_numbers(self) -> None:
        """Rewards are a function of the seed and the rates; the global streams are neither read nor moved."""
        with other_global_numbers(1):
            one = run(self.make(), self.seed)
        with other_global_numbers(2):
            before = global_numbers()
            other = run(self.make(), self.seed)
            assert global_numbers() == before, "a scaler must not draw from the global random streams"
        assert one == other, "two runs with the same seed and rates must be the same"

    def test_a_run_in_another_process_agrees(self) -> None:
        """Also where strings have other hashes: a resumed run is another process."""
        if not self.picklable:
            does_not_apply("it cannot be pickled")
        there = elsewhere(run, self.make(), self.seed)
        here = run(self.make(), self.seed)
        for name, value in here.items():
            assert there[name] == value, f"in another process the {name} must be {value}, got {there[name]}"

    def test_reset_forgets_everything(self) -> None:
        """A scaler that was used is as a new one with that seed."""
        fresh, scaler = self.started(), self._used()
        scaler.reset(self.seed)
        assert text(scaler.state_dict()) == text(fresh.state_dict()), (
            f"after reset() the state must be {text(fresh.state_dict())}, got {text(scaler.state_dict())}"
        )
        rates = self._normal(60)
        assert _scaled(scaler, rates) == _scaled(fresh, rates), "after reset() it must reward as a new one"

    # ---------------------------------------------------------------- state

    def test_the_state_is_of_plain_containers(self) -> None:
        """dict, list, str, int, finite float, bool, None: a checkpoint can be read without running code."""
        for scaler in (self.started(), self._used()):
            check_plain(scaler.state_dict())

    def test_a_state_goes_through_a_file_and_on_bit_for_bit(self) -> None:
        """Through JSON and ``torch.load(weights_only=True)``, taken at any time: the same rewards as without."""
        rates = self._normal(150)
        for taken_after in (0, 5, 20, 100):
            for name, carry in CARRIERS.items():
                scaler, other = self.started(), self.make()
                _scaled(scaler, rates[:taken_after])
                other.load_state_dict(carry(scaler.state_dict()))
                assert text(other.state_dict()) == text(scaler.state_dict()), f"through {name} the state became another"
                assert _scaled(other, rates[taken_after:]) == _scaled(scaler, rates[taken_after:]), (
                    f"after {name} it rewards otherwise: something that decides the rewards is not in the state"
                )
                assert text(other.state_dict()) == text(scaler.state_dict()), f"after {name} it remembers otherwise"

    def test_a_state_does_not_change_with_the_scaler(self) -> None:
        """Neither with the one that it was taken from nor with one that it was loaded into."""
        scaler, other = self._used(), self.make()
        state = scaler.state_dict()
        frozen = text(state)
        _scaled(scaler, self._normal(20))
        assert text(state) == frozen, "a state must be a copy: it changed with the scaler that it was taken from"
        other.load_state_dict(state)
        _scaled(other, self._normal(20))
        assert text(state) == frozen, "load_state_dict() must copy: the state changed with the scaler that has it"

    def test_the_state_of_something_else_is_refused_and_changes_nothing(self) -> None:
        """A ``ValueError``, which the callback shows to the user."""
        scaler = self._used()
        before = text(scaler.state_dict())
        others: list[dict[str, Any]] = [{}, {"scaler": "Another"}, {**scaler.state_dict(), "scaler": "Another"}]
        for state in others:
            with refused(f"the state {state}", ValueError):
                scaler.load_state_dict(state)
            assert text(scaler.state_dict()) == before, "a state that is refused must change nothing"

    def test_a_state_with_a_part_missing_is_refused_and_changes_nothing(self) -> None:
        """A part that is not there is an error, unless nothing hangs on it."""
        donor = self.started()
        _scaled(donor, self._normal(23))
        for what, state in damaged(donor.state_dict()):
            if "too short" in what:
                continue  # a shorter history is a history
            scaler = self._used()
            before = text(scaler.state_dict())
            try:
                scaler.load_state_dict(state)
            except (LookupError, TypeError, ValueError):
                assert text(scaler.state_dict()) == before, f"{what} must change nothing when it is refused"
            else:
                assert text(scaler.state_dict()) == text(donor.state_dict()), f"{what} must be refused"

    def test_a_copy_goes_on_alike_and_apart(self) -> None:
        """``copy.deepcopy`` makes one that rewards the same and shares nothing."""
        scaler, rates = self._used(), self._normal(60)
        other, before = copy.deepcopy(scaler), text(scaler.state_dict())
        there = _scaled(other, rates)
        assert text(scaler.state_dict()) == before, "what a copy is told must not reach the scaler"
        assert _scaled(scaler, rates) == there, "a copy must go on as the scaler that it was made of"

    def test_it_can_be_pickled(self) -> None:
        """In the middle of a run, as strategies that start processes do, and it goes on alike."""
        if not self.picklable:
            does_not_apply("it cannot be pickled")
        scaler, rates = self._used(), self._normal(60)
        other = pickle.loads(pickled(scaler))
        assert text(other.state_dict()) == text(scaler.state_dict()), "out of a pickle it must be as it went in"
        assert _scaled(other, rates) == _scaled(scaler, rates), "out of a pickle it must go on"

    # ---------------------------------------------------------------- for the tests

    def started(self) -> RewardScaler:
        """Return a new scaler, ready to scale."""
        scaler = self.make()
        scaler.reset(self.seed)
        return scaler

    def _used(self) -> RewardScaler:
        scaler = self.started()
        _scaled(scaler, self._normal(37))
        return scaler

    def _normal(self, count: int) -> list[float]:
        rates: list[float] = np.random.default_rng([self.seed, count]).normal(size=count).tolist()
        return rates

    def _histories(self) -> list[list[float]]:
        numbers = np.random.default_rng(self.seed)
        magnitudes = 10.0 ** numbers.uniform(-300, 300, 60) * numbers.choice([-1, 1], 60)
        fading = [math.exp(-step / 20) * float(numbers.uniform(0.5, 1.5)) for step in range(200)]
        mixed = numbers.choice(EXTREMES, 200).tolist()
        return [self._normal(200), magnitudes.tolist(), fading, mixed, [0.0] * 30 + [1.0] * 30, [1e308, -1e308] * 20]

    def _check_reward(self, reward: float, rate: float) -> None:
        assert type(reward) is float, f"a reward must be a float, got {reward!r} for {rate}: use float()"
        assert -1.0 <= reward <= 1.0, f"a reward must be in [-1, 1], got {reward} for {rate}"  # false for NaN as well


def run(scaler: RewardScaler, seed: int) -> dict[str, Any]:
    """Reset the scaler, run it and return all that was seen, for comparisons across processes."""
    scaler.reset(seed)
    rates = np.random.default_rng(seed).normal(size=200).tolist()
    return {"rewards": _scaled(scaler, rates), "state": text(scaler.state_dict())}


def _scaled(scaler: RewardScaler, rates: Iterable[float]) -> list[float]:
    return [scaler.scale(rate) for rate in rates]
