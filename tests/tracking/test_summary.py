"""The arithmetic behind the figures."""

from __future__ import annotations

import numpy as np
import pytest

from curricula.teacher import Draw
from curricula.tracking import CurriculumHistory
from curricula.tracking.curves import Curve, median_curve, median_reached, range_curve
from curricula.tracking.groups import band, effective_line, mean_loss_line, target_loss_line
from curricula.tracking.summary import (
    binned_losses,
    binned_means,
    binned_quantiles,
    binned_shares,
    leading,
    peak_steps,
    policy_in_parts,
    rolling_mean,
    rows_of_tasks,
    shares,
    spans,
)


def recorded(arms, losses, num_tasks=3, policies=None):
    history = CurriculumHistory([str(k) for k in range(num_tasks)])
    for step, (arm, loss) in enumerate(zip(arms, losses, strict=True)):
        policy = np.full(num_tasks, 1 / num_tasks) if policies is None else policies[step]
        history.record(Draw(step, arm, str(arm), 0.5, step), progress=0.0, reward=0.0, loss=loss, policy=policy)
    return history


def test_shares_are_of_the_steps():
    assert shares(recorded([0, 0, 1, 0], [1.0] * 4)).tolist() == [0.75, 0.25, 0.0]
    assert shares(CurriculumHistory(["a", "b"])).tolist() == [0.0, 0.0]


def test_rows_of_tasks_are_in_order():
    assert [rows.tolist() for rows in rows_of_tasks(recorded([2, 0, 2, 2], [1.0] * 4))] == [[1], [], [0, 2, 3]]


def test_a_rolling_mean_is_cut_short_at_the_ends():
    assert rolling_mean(np.array([1.0, 2.0, 3.0, 4.0]), 3).tolist() == [1.5, 2.0, 3.0, 3.5]
    assert rolling_mean(np.array([1.0, 2.0]), 1).tolist() == [1.0, 2.0]


def test_a_rolling_mean_is_the_mean_of_every_window():
    values = np.random.default_rng(0).normal(size=(50, 3))
    for window in (2, 3, 8, 31, 49, 200):
        half = window // 2
        means = [values[max(0, at - half) : at + half + 1].mean(axis=0) for at in range(50)]
        np.testing.assert_allclose(rolling_mean(values, window), means, rtol=1e-12, atol=1e-15)


def test_one_huge_value_does_not_drown_the_others():
    values = np.full(100, 0.5)
    values[10] = 1e30
    assert rolling_mean(values, 9)[20:].tolist() == [0.5] * 80


def test_binned_losses_carry_the_last_mean_on():
    losses = binned_losses(recorded([0, 0, 1, 0, 1, 1], [4.0, 2.0, 9.0, np.nan, 5.0, 7.0]), 3)
    np.testing.assert_array_equal(losses, [[3.0, 3.0, 3.0], [np.nan, 9.0, 6.0], [np.nan] * 3])


def test_the_peak_is_where_a_task_was_most_probable_and_unknown_where_it_never_was():
    policies = [[0.5, 0.3, 0.2], [0.3, 0.5, 0.2], [0.2, 0.6, 0.2]]
    peaks = peak_steps(recorded([0, 1, 1], [1.0] * 3, policies=np.array(policies)))
    np.testing.assert_array_equal(peaks, [0.0, 2.0, np.nan])


def test_noise_about_the_uniform_policy_is_no_peak(any_seed):
    noise = np.random.default_rng(any_seed).normal(size=(600, 50))
    policies = np.exp(0.2 * noise) / np.exp(0.2 * noise).sum(axis=1, keepdims=True)
    assert np.isnan(peak_steps(recorded([0] * 600, [1.0] * 600, num_tasks=50, policies=policies))).all()
    two = np.full((600, 2), 0.5)
    two[300:] = [0.3, 0.7]
    peaks = peak_steps(recorded([0] * 600, [1.0] * 600, num_tasks=2, policies=two))
    assert np.isnan(peaks[0])
    assert peaks[1] >= 300


def test_spans_hold_the_middle_four_fifths():
    early, middle, late = spans(recorded([0] * 11 + [1] * 11, [1.0] * 22))
    assert (early[0], middle[0], late[0]) == (1.0, 5.0, 9.0)
    assert (early[1], middle[1], late[1]) == (12.0, 16.0, 20.0)
    assert np.isnan(early[2])


def test_curves_must_fit_and_increase():
    with pytest.raises(ValueError, match="one loss per update, got 1 for 2 updates"):
        Curve([1, 2], [0.5])
    with pytest.raises(ValueError, match="must increase"):
        Curve([2, 2], [0.5, 0.4])


def test_the_median_curve_keeps_runs_that_arrived_and_leaves_out_those_that_gave_up():
    arrived, late = Curve([1, 2], [1.0, 0.1], reached=2), Curve([1, 2, 3], [3.0, 2.0, 0.3], reached=3)
    at, median = median_curve([arrived, late])
    assert (at.tolist(), median.tolist()) == ([1, 2, 3], [2.0, 1.05, pytest.approx(0.2)])
    at, _ = median_curve([Curve([1], [1.0]), Curve([1], [1.0]), late])
    assert at.tolist() == [1]


@pytest.mark.parametrize(
    ("reached", "median"), [([3, 1, 2], 2), ([1, None, 3], 3), ([None, None, 3], np.inf), ([1, 4], 2.5)]
)
def test_runs_that_did_not_arrive_count_as_never(reached, median):
    assert median_reached([Curve([1], [1.0], reached=steps) for steps in reached]) == median


def test_the_most_practised_and_the_target_lead():
    history = recorded([0, 1, 1, 3, 3, 3, 4], [1.0] * 7, num_tasks=5)
    assert [rows.tolist() for rows in leading(history, 5)] == [[0, 1, 2, 3, 4], []]
    assert [rows.tolist() for rows in leading(history, 3)] == [[0, 1, 3], [2, 4]]
    history.target = "2"
    assert [rows.tolist() for rows in leading(history, 3)] == [[1, 2, 3], [0, 4]]


def test_the_policy_in_parts_is_the_mean_of_its_snapshots():
    policies = np.array([[0.5, 0.5], [0.3, 0.7], [0.2, 0.8], [0.4, 0.6]])
    history = recorded([0] * 4, [1.0] * 4, num_tasks=2, policies=policies)
    edges, means = policy_in_parts(history, 2)
    assert edges.tolist() == [0, 2, 4]
    np.testing.assert_allclose(means, [[0.4, 0.6], [0.3, 0.7]], rtol=1e-6)
    edges, means = policy_in_parts(history, 9)
    np.testing.assert_allclose(means, policies, rtol=1e-6)
    assert edges.tolist() == [0, 1, 2, 3, 4]


def test_quantiles_are_of_each_part_and_of_finite_values():
    history = recorded([0] * 6, [1.0, 2.0, 3.0, np.nan, np.nan, 5.0], num_tasks=1)
    np.testing.assert_array_equal(binned_quantiles(history, "loss", 2, [0.0, 0.5]), [[1.0, 5.0], [2.0, 5.0]])
    assert np.isnan(binned_quantiles(history, "loss", 6, [0.5])[0, 3:5]).all()


def test_shares_of_each_part_sum_to_one():
    np.testing.assert_array_equal(
        binned_shares(recorded([0, 1, 1, 1], [1.0] * 4, num_tasks=2), 2), [[0.5, 0], [0.5, 1]]
    )


def test_means_leave_out_what_is_not_finite():
    history = recorded([0, 0, 1, 1], [1.0, np.inf, 3.0, 5.0], num_tasks=2)
    np.testing.assert_array_equal(binned_means(history, "loss", 2), [[1.0, np.nan], [np.nan, 4.0]])


def test_the_range_holds_every_run_that_is_left():
    at, low, high = range_curve([Curve([1, 2], [1.0, 0.1], reached=2), Curve([1, 2, 3], [3.0, 2.0, 0.3], reached=3)])
    assert (at.tolist(), low.tolist(), high.tolist()) == ([1, 2, 3], [1.0, 0.1, 0.1], [3.0, 2.0, 0.3])


def test_a_band_of_runs_leaves_out_those_that_have_ended():
    long = recorded([0] * 40, [4.0] * 40, num_tasks=2)
    short = recorded([0] * 20, [2.0] * 20, num_tasks=2)
    found = band([long, short], mean_loss_line)
    half = np.abs(found.steps - 10).argmin()
    assert (found.low[half], found.median[half], found.high[half]) == (2.0, 3.0, 4.0)
    assert found.low[np.abs(found.steps - 30).argmin()] == 4.0
    assert found.steps[-1] == 40
    assert band([long], effective_line).median[-1] == pytest.approx(2.0)


def test_every_task_counts_alike_in_the_mean_loss():
    history = recorded([0] * 9 + [1] + [0] * 10, [2.0] * 9 + [8.0] + [2.0] * 10, num_tasks=3)
    assert mean_loss_line(history)[1].tolist() == [5.0, 5.0]
    assert np.isnan(target_loss_line(history)[1]).all()
    history.target = "1"
    assert target_loss_line(history)[1].tolist() == [8.0, 8.0]
