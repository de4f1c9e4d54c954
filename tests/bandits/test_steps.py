"""Steps of several draws: closed forms, the mean at 30 digits, no bias, what a step costs, and regret."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.bandits import Bandit, Exp3, Exp3S, FixedPolicy, Pull, WithoutReplacement
from curricula.bandits.pulls import merged
from curricula.bandits.rates import curriculum_rates, exp3_rates, exp3s_rates
from curricula.bandits.shared_weights import SharedWeights, share
from curricula.randomness import CounterGenerator, Stream
from tests.bandits.checks import bandit_classes, check_weights
from tests.bandits.dense import DenseExp3S
from tests.bandits.reference import Reference
from tests.bandits.test_shared_weights import agree

SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=60)


# Closed forms


@pytest.mark.parametrize("kind", [Exp3S, DenseExp3S])
def test_a_step_of_four_draws_worked_out_by_hand(kind):
    bandit = kind(eta=0.1, epsilon=0.06)
    bandit.reset(3)
    bandit.update_all([(1, 1.0, 0.25), (2, -0.5, 0.4), (1, -0.6, 0.25), (1, 0.2, 0.5)])
    up, down = math.exp(0.1 * (1.0 / 0.25 - 0.6 / 0.25 + 0.2 / 0.5) / 4), math.exp(0.1 * (-0.5 / 0.4) / 4)
    a = [1.0, up, down]  # then alpha_2 = 1/2, once, of which each other arm gets half
    a = [a[0] / 2 + (a[1] + a[2]) / 4, a[1] / 2 + (a[0] + a[2]) / 4, a[2] / 2 + (a[0] + a[1]) / 4]
    check_weights(bandit, a, 0.06)
    bandit.update_all([(0, 0.9, 0.2)], draws=3)  # alpha_3 = 1/3
    a[0] *= math.exp(0.1 * 0.9 / 0.2 / 3)
    b = [2 / 3 * a[0] + (a[1] + a[2]) / 6, 2 / 3 * a[1] + (a[0] + a[2]) / 6, 2 / 3 * a[2] + (a[0] + a[1]) / 6]
    check_weights(bandit, b, 0.06)


@pytest.mark.parametrize("options", [{}, {"alpha": 1e-300}])
def test_optimism_is_the_mean_over_the_draws_of_each_arms_own_probability(options):
    bandit = (Exp3S if options else Exp3)(eta=0.1, epsilon=0.1, beta=0.2, **options)
    bandit.reset(2)
    one, other = np.array([0.5, 0.5]), np.array([0.2, 0.8])
    bandit.update_all([(0, 1.0, 0.5, one), (1, -0.5, 0.8, other)], draws=4)
    first = 0.1 * (1.2 / 0.5 + 0.2 / 0.2) / 4
    second = 0.1 * (0.2 / 0.5 + -0.3 / 0.8) / 4
    check_weights(bandit, [math.exp(first), math.exp(second)], 0.1)


def test_several_arms_of_shared_weights_by_hand():
    shared = SharedWeights(np.array([0.2, 0.3, 0.5]))
    shared.reward_all({0: math.log(3.0), 1: math.log(2.0)}, 0.5)  # 0.6, 0.6, 0.5 over 1.7
    np.testing.assert_allclose(
        shared.to_array(), [0.25 + 0.15 / 1.7, 0.25 + 0.15 / 1.7, 0.25 + 0.125 / 1.7], rtol=1e-14
    )


def test_what_stands_for_all_pulls_of_an_arm():
    pulls = [Pull(2, 1.0, 0.5), Pull(0, -0.5, 0.25), Pull(2, -1.0, 0.25)]
    first, second = merged(pulls, 4)
    assert (first.arm, first.reward, first.probability) == (0, -0.5, 1.0)
    assert second.arm == 2
    assert second.reward == pytest.approx((1 / 0.5 - 1 / 0.25) / (1 / 0.5 + 1 / 0.25))
    assert second.reward / second.probability == pytest.approx((1 / 0.5 - 1 / 0.25) / 4)


# The mean at 30 digits


@pytest.mark.parametrize(
    ("draws", "num_arms", "steps", "alpha"), [(4, 4, 2000, None), (16, 3, 1000, None), (3, 5, 600, 1e-3)]
)
def test_thousands_of_steps_on_it_is_within_1e_10_of_the_equations_at_30_digits(draws, num_arms, steps, alpha):
    bandit = Exp3S(eta=0.02, epsilon=0.1, alpha=alpha)
    bandit.reset(num_arms, steps)
    reference = Reference(num_arms, eta=0.02, epsilon=0.1, alpha=alpha)
    numbers, late = np.random.default_rng(draws), []
    for step in range(steps):
        late.append([(arm, bandit.probability(arm)) for arm in (bandit.draw(numbers) for _ in range(draws))])
        if len(late) < 3:
            continue
        best = step * 3 // steps
        pulls = [(arm, float(np.clip(numbers.normal(0.4 * (arm == best), 0.5), -1, 1)), p) for arm, p in late.pop(0)]
        known = pulls[1:] if step % 7 == 0 else pulls
        bandit.update_all(known, draws=draws)
        reference.update_all(known, draws)
        if step % 100 == 0 or step == steps - 1:
            wanted = [float(weight) for weight in reference.log_weights()]
            np.testing.assert_allclose(bandit.log_weights(), wanted, rtol=0, atol=1e-10)


@SETTINGS
@given(
    num_arms=st.integers(2, 6),
    steps=st.lists(
        st.dictionaries(
            st.integers(0, 5), st.one_of(st.sampled_from([0.0, -800.0, 800.0, 1e300, -1e300]), st.floats(-60, 60))
        ),
        max_size=20,
    ),
    alpha=st.sampled_from([1e-300, 1e-9, 0.1, 0.5]),
)
def test_hostile_steps_of_several_arms_stay_with_the_weights_written_out(num_arms, steps, alpha):
    shared, weights = SharedWeights(np.full(num_arms, 1 / num_arms)), np.full(num_arms, 1 / num_arms)
    for step in steps:
        moves = {arm: step[arm] for arm in sorted(step) if arm < num_arms}
        if not moves:
            continue
        shared.reward_all(moves, alpha)
        logs = np.array([moves.get(arm, 0.0) for arm in range(num_arms)])
        weights = share(weights * np.exp(logs - logs.max()), alpha)
        agree(shared, weights)


# No bias


@pytest.mark.parametrize("kind", [Exp3, Exp3S])
def test_over_all_outcomes_of_a_step_the_mean_move_is_that_of_the_rewards(kind):
    """All steps of two and of three draws, of which those of the last arm are discarded half of the time."""
    rewards, given_up = [0.7, -0.4, 0.5], {2: 0.5}

    def expected(draws):
        total, policy = np.zeros(3), np.array([0.5, 0.3, 0.2])
        for arms in itertools.product(range(3), repeat=draws):
            for lost in itertools.product([False, True], repeat=draws):
                chance = math.prod(
                    policy[arm] * (given_up.get(arm, 0.0) if gone else 1 - given_up.get(arm, 0.0))
                    for arm, gone in zip(arms, lost, strict=True)
                )
                if not chance:
                    continue
                bandit = kind(eta=1e-6, epsilon=0.1, **({"alpha": 1e-300} if kind is Exp3S else {}))
                bandit.reset(3)
                before = bandit.log_weights()
                known = [
                    (arm, rewards[arm], float(policy[arm])) for arm, gone in zip(arms, lost, strict=True) if not gone
                ]
                bandit.update_all(known, draws=draws)
                total += chance * (bandit.log_weights() - before) / 1e-6
        return total - total[0]

    wanted = np.array([0.7, -0.4, 0.5 * 0.5])  # half of the rewards of the last arm are never known
    np.testing.assert_allclose(expected(3), wanted - wanted[0], atol=1e-5)
    np.testing.assert_allclose(expected(2), wanted - wanted[0], atol=1e-5)


# Subclasses


class Tweaked(Exp3):
    """Learns from good news alone; says nothing about several draws."""

    def _learn(self, arm, reward, probability, policy):
        super()._learn(arm, max(0.0, reward), probability, policy)


def test_a_class_that_says_only_how_one_reward_is_learned_learns_several_by_that():
    assert Tweaked._learn_all is Bandit._learn_all
    tweaked, plain = Tweaked(eta=0.1, epsilon=0.1), Exp3(eta=0.1, epsilon=0.1)
    for bandit in (tweaked, plain):
        bandit.reset(3)
    tweaked.update_all([(0, 0.8, 0.2), (1, -0.9, 0.5), (0, 0.4, 0.2), (2, 0.1, 0.3)])
    plain.update_all([(0, 0.8, 0.2), (1, 0.0, 0.5), (0, 0.4, 0.2), (2, 0.1, 0.3)])
    np.testing.assert_allclose(tweaked.probabilities(), plain.probabilities(), rtol=1e-13)


def test_all_bandits_of_the_package_say_for_themselves_how_a_step_is_learned():
    assert {cls for cls in bandit_classes() if cls._learn_all is Bandit._learn_all} == {FixedPolicy, WithoutReplacement}


# What a step costs


class Counted(list):
    """A list that counts what is written to it."""

    written = 0

    def __setitem__(self, place, value):
        Counted.written += 1
        super().__setitem__(place, value)


@pytest.mark.parametrize("draws", [2, 16, 64])
def test_a_step_writes_to_as_many_nodes_as_lie_above_its_arms_whatever_the_number_of_arms(draws, monkeypatch):
    bandit, numbers = Exp3S(eta=1e-6, epsilon=0.5, alpha=1e-9), np.random.default_rng(0)
    bandit.reset(100_000, 1000)
    bandit.draw(numbers)
    weights = bandit._weights
    weights._nodes = Counted(weights._nodes)
    monkeypatch.setattr(SharedWeights, "to_array", None)  # nothing may look at all of them
    for _ in range(5):
        arms = [bandit.draw(numbers) for _ in range(draws)]
        Counted.written = 0
        bandit.update_all([(arm, 0.5, bandit.probability(arm)) for arm in arms])
        assert draws < Counted.written <= draws * (1 + 17)
    above = {(131072 + arm) >> level for arm in arms for level in range(18)}
    assert Counted.written == len(above), "every node once"


# Rates and regret


def bound(horizon, num_arms, segments, draws, rates):
    """Return the bound on the expected regret per draw: see ``curricula.bandits.rates``."""
    assert rates.eta <= draws * rates.epsilon / num_arms * (1 + 1e-12)
    assert rates.eta <= 0.5
    sharing = segments * math.log((num_arms - 1) * horizon) + math.log(horizon)
    spread = num_arms if draws == 1 else num_arms / draws + 1 + 3 * rates.epsilon
    return 2 * rates.epsilon * horizon + sharing / rates.eta + rates.eta * spread * horizon


def regret(make, horizon, num_arms, segments, draws, seed):
    """Return what the best arm of each segment earns per draw more than the bandit; every draw has noise of its own."""
    best = np.arange(horizon) * segments // horizon % num_arms
    chances = np.where(np.arange(num_arms) == best[:, None], 0.9, 0.1)
    bandit, numbers = make(), CounterGenerator(seed, Stream.DRAWS)
    bandit.draws_per_step = draws
    bandit.reset(num_arms, horizon)
    noise, lost = np.random.default_rng(seed).random((horizon, draws)), 0.0
    for step in range(horizon):
        arms = [bandit.draw(numbers.at(step * draws + k)) for k in range(draws)]
        earned = [1.0 if noise[step, k] < chances[step, arm] else -1.0 for k, arm in enumerate(arms)]
        lost += sum(2 * (0.9 - chances[step, arm]) for arm in arms) / draws
        bandit.update_all([(a, r, bandit.probability(a)) for a, r in zip(arms, earned, strict=True)])
    return lost


def test_the_regret_per_draw_falls_with_the_draws_of_a_step_and_is_within_the_bound(any_seed):
    """Measured: 873, 502 and 332 with 1, 4 and 16 draws, each .38 of its bound; uniform sampling has 3,600."""
    horizon, num_arms, segments = 3000, 4, 3
    found = {}
    for draws in (1, 4, 16):
        rates = exp3s_rates(num_arms, horizon, segments, draws)
        regrets = [
            regret(lambda r=rates: Exp3S(eta=r.eta, epsilon=r.epsilon), horizon, num_arms, segments, draws, seed)
            for seed in range(2 * any_seed, 2 * any_seed + 2)
        ]
        found[draws] = float(np.mean(regrets))
        assert found[draws] <= 0.55 * bound(horizon, num_arms, segments, draws, rates)
    assert found[4] <= 0.75 * found[1]
    assert found[16] <= 0.75 * found[4]
    assert found[1] <= 0.4 * 1.2 * horizon  # of uniform sampling's


@pytest.mark.parametrize(
    "rule", [exp3_rates, lambda n, t, b: exp3s_rates(n, t, 4, b), lambda n, t, b: curriculum_rates(n, t, 4, b)]
)
@pytest.mark.parametrize("num_arms", [1, 2, 8, 169])
@pytest.mark.parametrize("draws", [1, 2, 16, 512])
def test_no_draw_of_a_step_moves_a_log_weight_by_more_than_1(rule, num_arms, draws):
    for horizon in (None, 1, 5000, 10**6):
        eta, epsilon = rule(num_arms, horizon, draws)
        assert 0 < epsilon <= 1
        assert 0 < eta <= draws * epsilon / num_arms * (1 + 1e-9)
        assert eta <= max(0.5, 1 / num_arms)


@pytest.mark.parametrize(("num_arms", "horizon", "draws"), [(8, 5000, 4), (8, 5000, 64), (32, 20_000, 16)])
def test_the_rates_are_where_the_bound_is_least(num_arms, horizon, draws):
    rates = exp3s_rates(num_arms, horizon, 4, draws)
    least = bound(horizon, num_arms, 4, draws, rates)
    for factor in (0.25, 0.5, 2.0, 4.0):
        other = type(rates)(rates.eta * factor, rates.epsilon * factor)
        if other.eta <= 0.5:
            assert bound(horizon, num_arms, 4, draws, other) > least


def test_twice_the_draws_are_worth_nearly_root_two_in_step_size_and_in_exploration():
    rates = [exp3s_rates(32, 5000, 4, draws) for draws in (1, 2, 4, 8, 16)]
    assert rates[0] == exp3s_rates(32, 5000, 4)
    for one, two in itertools.pairwise(rates):
        assert 1.2 < two.eta / one.eta <= math.sqrt(2)
        assert 0.6 < two.epsilon / one.epsilon <= math.sqrt(0.5) * (1 + 1e-9)


def test_the_bandit_takes_the_rates_of_its_draws_and_says_so(caplog):
    bandit = Exp3S()
    bandit.draws_per_step = 16
    bandit.reset(8, 5000)
    assert (bandit.eta, bandit.epsilon) == curriculum_rates(8, 5000, 4, 16)
    assert bandit.describe().endswith("8 arms, horizon 5000, 16 draws a step)")
    assert not caplog.records
    by_hand = Exp3S(eta=0.1, epsilon=0.04)
    by_hand.draws_per_step = 4
    by_hand.reset(8)
    assert "eta=0.1 is above 4 * epsilon / num_arms = 0.02: one reward can move a log-weight by 5," in caplog.text


def test_errors_say_what_was_given():
    bandit = Exp3S()
    with pytest.raises(RuntimeError, match=r"call Exp3S\.reset\(num_arms\) before update_all\(\)"):
        bandit.update_all([(0, 0.5, 0.5)])
    bandit.reset(3)
    with pytest.raises(
        ValueError, match="a step of 1 draws cannot have 2 rewards: give the number of all of its draws"
    ):
        bandit.update_all([(0, 0.5, 0.5), (1, 0.5, 0.5)], draws=1)
    with pytest.raises(TypeError, match=r"draws must be an int, got 2\.0"):
        bandit.update_all([(0, 0.5, 0.5)], draws=2.0)
