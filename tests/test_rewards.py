"""Rewards: the two quantiles against numpy's, the history, the extremes."""

from __future__ import annotations

import io
import json
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curricula.randomness import CounterGenerator, Stream
from curricula.rewards import QuantileScaler, quantile, scale_between
from curricula.testing.chance import frequency_band

SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=150)
eighths = st.integers(-50, 50).map(lambda number: number / 8)
any_finite = st.floats(allow_nan=False, allow_infinity=False)


def reference(rates, *, low=0.2, high=0.8, warmup=10, history):
    """Scale every rate by ``numpy.quantile`` of ``history(rates before it)``, as Graves et al. 2017, section 2.3."""
    rewards = []
    for place, rate in enumerate(rates):
        kept = history(rates[:place])
        if len(kept) < warmup:
            rewards.append(0.0)
            continue
        q_low, q_high = np.quantile(kept, [low, high])
        if rate < q_low:
            rewards.append(-1.0)
        elif rate > q_high:
            rewards.append(1.0)
        elif q_low == q_high:
            rewards.append(0.0)
        else:
            rewards.append(float(2 * (rate - q_low) / (q_high - q_low) - 1))
    return rewards


def scaled(scaler, rates):
    return [scaler.scale(rate) for rate in rates]


def kept_by_reservoir(window, seed):
    """Return Vitter's algorithm R, with the numbers that the scaler draws."""

    def history(rates):
        kept, numbers = [], CounterGenerator(seed, Stream.RESERVOIR)
        for count, rate in enumerate(rates, start=1):
            if len(kept) < window:
                kept.append(rate)
            elif (slot := int(numbers.at(count).integers(count))) < window:
                kept[slot] = rate
        return kept

    return history


@SETTINGS
@given(st.lists(eighths, min_size=1, max_size=60), st.floats(0, 1))
def test_the_quantile_is_numpys(values, fraction):
    assert quantile(sorted(values), fraction) == pytest.approx(np.quantile(values, fraction), abs=1e-12)


@SETTINGS
@given(any_finite, st.integers(1, 40), st.floats(0, 1))
@example(0.1, 2, 0.2)
@example(1.7, 3, 0.2)
def test_the_quantile_of_equal_values_is_the_value_itself(value, count, fraction):
    assert quantile([value] * count, fraction) == value


@pytest.mark.parametrize("window", [10, 12, 1000])
@SETTINGS
@given(rates=st.lists(eighths, max_size=60))
def test_rewards_with_a_window_are_those_of_numpy_quantile(window, rates):
    wanted = reference(rates, history=lambda before: before[-window:])
    assert scaled(QuantileScaler(window=window), rates) == pytest.approx(wanted, abs=1e-9)


@SETTINGS
@given(rates=st.lists(eighths, min_size=30, max_size=60), seed=st.integers(0, 2**64 - 1))
def test_rewards_with_a_reservoir_are_those_of_numpy_quantile(rates, seed):
    scaler = QuantileScaler(window=12, reservoir=True)
    scaler.reset(seed)
    wanted = reference(rates, history=kept_by_reservoir(12, seed))
    assert scaled(scaler, rates) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(("low", "high", "warmup"), [(0.0, 1.0, 1), (0.1, 0.5, 3), (0.45, 0.55, 20)])
def test_the_quantiles_and_the_warmup_are_options(low, high, warmup):
    rates = np.random.default_rng(0).integers(-50, 50, 200).tolist()
    options = {"low": low, "high": high, "warmup": warmup}
    wanted = reference(rates, history=lambda before: before[-50:], **options)
    assert scaled(QuantileScaler(window=50, **options), rates) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    ("rate", "reward"), [(1.9, -1.0), (2.0, -1.0), (3.5, -0.5), (5.0, 0.0), (8.0, 1.0), (8.1, 1.0), (6.5, 0.5)]
)
def test_rewards_between_the_quantiles_are_on_the_line_from_minus_1_to_1(rate, reward):
    scaler = QuantileScaler(warmup=11)
    scaled(scaler, [float(number) for number in range(11)])
    assert scaler.quantiles() == pytest.approx((2.0, 8.0))
    assert scaler.scale(rate) == pytest.approx(reward)


@pytest.mark.parametrize("warmup", [1, 2, 10])
def test_rewards_are_0_until_the_warmup_is_over(warmup):
    scaler = QuantileScaler(warmup=warmup)
    for number in range(warmup):
        assert scaler.quantiles() is None
        assert scaler.scale(float(number)) == 0.0
    assert scaler.scale(1e6) == 1.0


def test_the_current_rate_is_not_in_its_own_history():
    scaler = QuantileScaler(warmup=1, low=0.0, high=1.0)
    scaler.scale(1.0)
    assert scaler.scale(2.0) == 1.0  # above the only rate before it
    assert scaler.quantiles() == (1.0, 2.0)  # from now on it counts
    assert scaler.scale(1.5) == 0.0


@pytest.mark.parametrize("value", [0.0, -0.0, 0.1, 1.7, 1e-5 / 3, 1e308, -1e308, 5e-324])
@pytest.mark.parametrize("reservoir", [False, True])
def test_equal_rates_earn_0_and_any_other_rate_an_end(value, reservoir):
    scaler = QuantileScaler(window=30, reservoir=reservoir)
    assert scaled(scaler, [value] * 100) == [0.0] * 100
    assert scaler.scale(math.nextafter(value, math.inf)) == 1.0
    assert scaler.scale(math.nextafter(value, -math.inf)) == -1.0


@pytest.mark.parametrize("rate", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_rates_that_are_not_finite_are_refused_and_not_remembered(rate):
    scaler = QuantileScaler(warmup=1)
    scaler.scale(1.0)
    before = scaler.state_dict()
    with pytest.raises(ValueError, match="a progress rate must be finite, got"):
        scaler.scale(rate)
    assert scaler.state_dict() == before


@SETTINGS
@given(any_finite, any_finite, any_finite)
@example(0.0, -1.7e308, 1.7e308)
@example(1e308, -1e308, 1e308)
@example(5e-324, 0.0, 5e-324)
def test_no_rates_make_a_reward_outside_minus_1_to_1(rate, one, other):
    reward = scale_between(rate, min(one, other), max(one, other))
    assert -1.0 <= reward <= 1.0  # false for NaN


def test_the_largest_floats_are_scaled_as_any_others():
    most = sys.float_info.max
    assert scale_between(0.0, -most, most) == 0.0
    assert scale_between(most / 2, -most, most) == 0.5
    assert scale_between(most, -most, most) == 1.0
    assert scale_between(-most, -most, most) == -1.0
    scaler = QuantileScaler(warmup=2)
    rewards = scaled(scaler, [1e308, -1e308, 0.0, 1e308, -1e308])
    assert rewards == pytest.approx([0.0, 0.0, 0.0, 1.0, -1.0], abs=1e-15)


def test_the_smallest_floats_are_scaled_as_any_others():
    tiny = 5e-324
    assert [scale_between(rate, 0.0, tiny) for rate in (0.0, tiny)] == [-1.0, 1.0]
    assert scale_between(tiny, 0.0, 4 * tiny) == -0.5


@pytest.mark.parametrize("reservoir", [False, True])
@pytest.mark.parametrize("exponent", [-900, -3, 5, 900])
def test_the_unit_of_progress_does_not_matter(reservoir, exponent):
    rates = np.random.default_rng(1).normal(size=200).tolist()
    plain, other = (QuantileScaler(window=50, reservoir=reservoir) for _ in range(2))
    assert scaled(plain, rates) == scaled(other, [math.ldexp(rate, exponent) for rate in rates])


def test_a_shift_of_progress_does_not_matter():
    rates = np.random.default_rng(2).integers(-100, 100, 200).tolist()
    wanted = scaled(QuantileScaler(window=50), rates)
    assert scaled(QuantileScaler(window=50), [rate + 1000 for rate in rates]) == pytest.approx(wanted, abs=1e-9)


def test_any_increasing_transform_of_progress_keeps_the_ends_and_the_order():
    # With 11 rates kept the two quantiles are themselves rates: 0.2 * 10 and 0.8 * 10 are whole numbers.
    rates = np.random.default_rng(3).normal(size=300).tolist()
    plain, bent = (QuantileScaler(window=11, warmup=11) for _ in range(2))
    for rate in rates:
        one, other = plain.scale(rate), bent.scale(math.exp(3 * rate))
        assert (abs(one) == 1.0) == (abs(other) == 1.0)
        assert abs(one - other) < 2.0
        if abs(one) == 1.0:
            assert one == other


@SETTINGS
@given(st.lists(eighths, min_size=10, max_size=40), eighths, eighths)
def test_a_better_rate_never_earns_less(history, one, other):
    rewards = []
    for rate in sorted([one, other]):
        scaler = QuantileScaler(warmup=1)
        scaled(scaler, history)
        rewards.append(scaler.scale(rate))
    assert rewards[0] <= rewards[1]


def test_a_window_keeps_the_latest_rates():
    scaler = QuantileScaler(window=5, warmup=1)
    scaled(scaler, [float(number) for number in range(12)])
    assert scaler.state_dict()["rates"] == [7.0, 8.0, 9.0, 10.0, 11.0]


def test_gains_that_fade_stay_apart_with_a_window_and_not_with_a_reservoir(any_seed):
    gaps = []
    for reservoir in (False, True):
        scaler = QuantileScaler(window=500, reservoir=reservoir)
        rng = np.random.default_rng([4, any_seed])
        rewards = {1.0: [], 0.5: []}
        for step in range(1, 8001):
            mean = (1.0, 0.5)[step % 2]
            reward = scaler.scale(mean * float(rng.uniform(0.5, 1.5)) * (1000 / (1000 + step)) ** 3)
            if step > 7000:
                rewards[mean].append(reward)
        gaps.append(np.mean(rewards[1.0]) - np.mean(rewards[0.5]))
    assert gaps[0] > 0.6
    assert gaps[1] < 0.3


def test_a_reservoir_is_a_uniform_sample_of_all_rates(any_seed):
    """Each of the rates is kept in window / count of the seeds; false fail at most 1e-9, see frequency_band."""
    seeds, count, window = 1500, 30, 6
    kept = np.zeros(count)
    for seed in range(seeds * any_seed, seeds * (any_seed + 1)):
        scaler = QuantileScaler(window=window, reservoir=True, warmup=1)
        scaler.reset(seed)
        scaled(scaler, [float(number) for number in range(count)])
        rates = scaler.state_dict()["rates"]
        assert len(set(rates)) == window
        kept[[int(rate) for rate in rates]] += 1
    band = frequency_band(seeds, window / count, count)
    assert band < 0.4 * seeds * window / count  # narrow enough to tell the window's 1 or 0 from it
    assert np.abs(kept - seeds * window / count).max() <= band, kept


def test_a_reservoir_is_a_function_of_the_seed():
    def kept(seed):
        scaler = QuantileScaler(window=10, reservoir=True)
        scaler.reset(seed)
        scaled(scaler, [float(number) for number in range(200)])
        return scaler.state_dict()["rates"]

    assert kept(1) == kept(1)
    assert kept(1) != kept(2)


@pytest.mark.parametrize("reservoir", [False, True])
@pytest.mark.parametrize("taken_after", [0, 5, 20, 100])
def test_a_state_goes_on_where_it_was_taken(reservoir, taken_after):
    rates = np.random.default_rng(5).normal(size=200).tolist()
    scaler = QuantileScaler(window=20, reservoir=reservoir)
    scaler.reset(7)
    scaled(scaler, rates[:taken_after])
    state = scaler.state_dict()
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    wanted = scaled(scaler, rates[taken_after:])
    for carried in (json.loads(json.dumps(state)), torch.load(file, weights_only=True)):
        other = QuantileScaler(window=20, reservoir=reservoir)
        other.load_state_dict(carried)
        assert scaled(other, rates[taken_after:]) == wanted
        assert other.state_dict() == scaler.state_dict()


@pytest.mark.parametrize("other", [{"window": 21}, {"window": 20, "reservoir": True}])
def test_the_state_of_another_scaler_is_refused_and_changes_nothing(other):
    saved, scaler = QuantileScaler(window=20), QuantileScaler(**other)
    scaled(saved, [1.0, 2.0])
    scaled(scaler, [3.0])
    before = scaler.state_dict()
    with pytest.raises(ValueError, match=r"of another reward scaler .*'window': 20.*make the same scaler"):
        scaler.load_state_dict(saved.state_dict())
    assert scaler.state_dict() == before


@pytest.mark.parametrize("missing", ["seed", "seen", "rates"])
def test_a_state_with_a_part_missing_changes_nothing(missing):
    saved, scaler = QuantileScaler(warmup=1), QuantileScaler(warmup=1)
    scaled(saved, [1.0, 2.0])
    scaled(scaler, [3.0, 4.0, 5.0])
    state, before, quantiles = saved.state_dict(), scaler.state_dict(), scaler.quantiles()
    del state[missing]
    with pytest.raises(KeyError, match=missing):
        scaler.load_state_dict(state)
    assert scaler.state_dict() == before
    assert scaler.quantiles() == quantiles


def test_reset_forgets_everything():
    scaler = QuantileScaler(reservoir=True, window=10)
    fresh = scaler.state_dict()
    scaled(scaler, [float(number) for number in range(30)])
    scaler.reset()
    assert scaler.state_dict() == fresh
    assert scaler.quantiles() is None


def test_the_scaler_of_the_paper_is_a_reservoir_between_the_20th_and_80th_percentile():
    scaler = QuantileScaler.paper()
    assert (scaler.low, scaler.high, scaler.reservoir, scaler.window) == (0.2, 0.8, True, 10_000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": -0.1}, r"low must be in \[0, 1\], got -0.1"),
        ({"high": 1.1}, r"high must be in \[0, 1\], got 1.1"),
        ({"low": math.nan}, r"low must be in \[0, 1\], got nan"),
        ({"low": 0.8, "high": 0.2}, "low must be below high, got low=0.8, high=0.2"),
        ({"low": 0.5, "high": 0.5}, "low must be below high, got low=0.5, high=0.5"),
        ({"window": 1}, r"window must be in \[2, inf\), got 1"),
        ({"warmup": 0}, r"warmup must be in \[1, inf\), got 0"),
        ({"window": 5}, "warmup must be at most window=5, got 10: it would never end"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        QuantileScaler(**options)


@pytest.mark.parametrize("name", ["low", "high", "window", "warmup"])
def test_options_that_are_not_numbers_are_refused(name):
    with pytest.raises(TypeError, match=f"{name} must be a number, got '3'"):
        QuantileScaler(**{name: "3"})
