"""Export: a run's mixture, schedule and draws, for another run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula import Schedule, Teacher
from curricula.draws import Draw
from curricula.export import average_mixture, learned_schedule, shuffled_draws, write_shares
from curricula.tracking import CurriculumHistory
from tests.tracking.histories import HOSTILE, staircase


def history_of(policies, arms=None, **options):
    history = CurriculumHistory([f"task {arm}" for arm in range(len(policies[0]))], **options)
    for number, policy in enumerate(policies):
        arm = 0 if arms is None else arms[number]
        draw = Draw(number, arm, history.tasks[arm], 0.5, number)
        history.record(draw, progress=0.1, reward=0.0, loss=1.0, policy=np.array(policy))
    return history


def test_the_average_mixture_is_of_all_draws_though_few_rows_were_kept():
    arms = [0] * 50 + [1] * 25 + [2] * 25
    history = history_of([[0.5, 0.25, 0.25, 0.0]] * 100, arms, max_rows=4)
    assert average_mixture(history) == {"task 0": 0.5, "task 1": 0.25, "task 2": 0.25, "task 3": 0.0}


def test_a_mixture_by_cost_is_of_what_the_draws_have_cost():
    history = CurriculumHistory(["a", "b"])
    for arm, cost in ((0, 10.0), (0, 20.0), (1, 90.0)):
        draw = Draw(0, arm, "ab"[arm], 0.5, 0)
        history.record(draw, progress=0.1, reward=0.0, loss=1.0, policy=np.full(2, 0.5), cost=cost)
    assert average_mixture(history, by="cost") == {"a": 0.25, "b": 0.75}
    with pytest.raises(ValueError, match="the costs in the history do not make a mixture, their sum is nan"):
        average_mixture(history_of([[0.5, 0.5]]), by="cost")
    with pytest.raises(ValueError, match="by 'draws' or by 'cost', got by='tokens'"):
        average_mixture(history, by="tokens")


def test_a_schedule_has_the_mean_policy_of_each_part():
    rising = [[1 - step / 10, step / 10] for step in range(10)]
    schedule = learned_schedule(history_of(rising), points=2)
    assert [position for position, _ in schedule.points] == [0, 5]
    np.testing.assert_allclose([shares["task 1"] for _, shares in schedule.points], [0.2, 0.7], atol=1e-6)
    assert schedule.unit == "steps"
    assert schedule.interpolation == "step"


def test_a_snapshot_counts_up_to_the_next_one():
    policies = [[1, 0]] * 5 + [[0, 1]] * 5
    history = history_of(policies, max_policies=3)  # kept at a stride of 4: steps 0, 4 and 8
    assert history.policies()[0].tolist() == [0, 4, 8]
    assert learned_schedule(history, points=1).points == ((0, {"task 0": 0.8, "task 1": 0.2}),)
    assert [shares["task 0"] for _, shares in learned_schedule(history, points=5).points] == [1, 1, 1, 1, 0]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 30), st.integers(2, 20), st.integers(0, 99))
def test_the_mean_of_the_schedule_is_that_of_the_policy(steps, points, max_policies, seed):
    policies = np.random.default_rng(seed).dirichlet([0.3] * 3, size=steps)
    history = history_of(policies, max_policies=max_policies)
    schedule = learned_schedule(history, points)
    assert len(schedule.points) == min(points, steps)
    mean = np.mean([schedule.shares(step, history.tasks) for step in range(steps)], axis=0)
    starts, kept = history.policies()
    wanted = np.average(kept, axis=0, weights=np.diff([*starts, steps]))
    np.testing.assert_allclose(mean, wanted, atol=1e-6)


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml"])
def test_files_are_read_as_they_were_written_whatever_the_names(tmp_path, suffix):
    history = staircase([*HOSTILE, "yes", "1", "null", "ä", "points"], steps=40)
    schedule, mixture = learned_schedule(history, 3), average_mixture(history)
    assert Schedule.load(write_shares(schedule, tmp_path / f"schedule{suffix}")) == schedule
    assert Schedule.load(write_shares(mixture, str(tmp_path / f"mixture{suffix}"))) == Schedule([(0, mixture)])


def test_what_is_no_mixture_or_has_no_name_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="the mixture must be of shares that sum to 1, got the sum 3"):
        write_shares({"a": 1, "b": 2}, tmp_path / "a.json")
    with pytest.raises(ValueError, match=r"is a \.json, \.yaml or .yml file, got 'a.txt'"):
        write_shares({"a": 1}, tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())


def test_draws_are_replayed_by_name():
    arms = [0] * 5 + [1] * 3 + [2] * 2
    history = history_of([[0.5, 0.5, 0.0]] * 10, arms)
    names = ["task 2", "task 0", "task 1"]
    teacher = Teacher(names, bandit=shuffled_draws(history, names))
    drawn = [teacher.draw().task for _ in range(10)]
    assert {name: drawn.count(name) for name in names} == {"task 0": 5, "task 1": 3, "task 2": 2}
    assert drawn != sorted(drawn)


def test_other_tasks_are_refused_with_the_nearest_name():
    history = history_of([[0.5, 0.5]])
    with pytest.raises(ValueError, match="the history names no task 'task 1': did you mean 'tsk 1'"):
        shuffled_draws(history, ["task 0", "tsk 1"])
    with pytest.raises(ValueError, match="the list of tasks names no task 'task 7': did you mean 'task"):
        shuffled_draws(history, ["task 0", "task 1", "task 7"])


@pytest.mark.parametrize("export", [average_mixture, learned_schedule, lambda history: shuffled_draws(history, ["a"])])
def test_a_history_without_draws_is_refused(export):
    with pytest.raises(ValueError, match="the history has no draws: give that of a run that was trained"):
        export(CurriculumHistory(["a"]))


@pytest.mark.parametrize(("points", "error"), [(0, ValueError), (-3, ValueError), (2.5, TypeError), (True, TypeError)])
def test_a_schedule_has_a_whole_number_of_points(points, error):
    with pytest.raises(error, match="point"):
        learned_schedule(history_of([[1.0]]), points)
