"""Schedule: shares that change as the training goes on."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.schedule import Schedule
from curricula.task_shares import check_known, checked_shares

A, B = {"a": 1.0, "b": 0.0}, {"a": 0.25, "b": 0.75}
NAMES = ("a", "b")


def test_stepwise_shares_change_at_each_point_and_then_stay():
    schedule = Schedule([(0, A), (10, B), (20, A)])
    seen = [schedule.shares(step, NAMES).tolist() for step in (0, 9, 9.99, 10, 19, 20, 1e9, math.inf)]
    assert seen == [[1, 0], [1, 0], [1, 0], [0.25, 0.75], [0.25, 0.75], [1, 0], [1, 0], [1, 0]]


def test_linear_shares_are_on_the_line_between_two_points_and_then_stay():
    schedule = Schedule([(0, A), (10, B), (20, A)], interpolation="linear")
    for step in np.linspace(0, 10, 11):
        np.testing.assert_allclose(schedule.shares(step, NAMES), [1 - 0.075 * step, 0.075 * step], atol=1e-15)
        np.testing.assert_allclose(schedule.shares(20 - step, NAMES), schedule.shares(step, NAMES), atol=1e-15)
    assert schedule.shares(1e9, NAMES).tolist() == [1, 0]


def test_linear_from_start_to_end():
    assert Schedule.linear(A, B, over=10) == Schedule([(0, A), (10, B)], interpolation="linear")


def test_phases_follow_each_other_and_the_last_goes_on():
    schedule = Schedule.phases([("a", 1000), ({"b": 0.5, "c": 0.5}, 500), ("c", None)], unit="cost")
    assert schedule.tasks == ("a", "b", "c")
    assert schedule.unit == "cost"
    seen = [schedule.shares(step, "abc").tolist() for step in (0, 999, 1000, 1499, 1500, 10**9)]
    assert seen == [[1, 0, 0], [1, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5], [0, 0, 1], [0, 0, 1]]
    assert Schedule.phases([("a", 5), ("b", 7)]) == Schedule.phases([("a", 5), ("b", None)])


@st.composite
def schedules(draw):
    tasks = draw(st.integers(1, 5))
    positions = [0, *sorted(draw(st.sets(st.integers(1, 1000), max_size=5)))]
    points = []
    for position in positions:
        weights = draw(st.lists(st.integers(0, 20), min_size=tasks, max_size=tasks).filter(any))
        points.append((position, {f"task {k}": weight / sum(weights) for k, weight in enumerate(weights)}))
    return Schedule(
        points,
        unit=draw(st.sampled_from(["steps", "cost"])),
        interpolation=draw(st.sampled_from(["step", "linear"])),
    )


@settings(max_examples=40, deadline=None)
@given(schedules(), st.floats(0, 2000), st.randoms())
def test_shares_sum_to_1_in_any_order_and_survive_json_and_yaml(schedule, position, random):
    names = list(schedule.tasks)
    shares = dict(zip(names, schedule.shares(position, names).tolist(), strict=True))
    assert math.isclose(sum(shares.values()), 1.0)
    assert min(shares.values()) >= 0.0
    random.shuffle(names)  # the very list: what was remembered of it must not be used
    assert schedule.shares(position, names).tolist() == [shares[name] for name in names]
    for other in (
        Schedule.from_dict(json.loads(json.dumps(schedule.to_dict()))),
        Schedule.from_dict(yaml.safe_load(yaml.safe_dump(schedule.to_dict()))),
        pickle.loads(pickle.dumps(schedule)),
        copy.deepcopy(schedule),
        eval(repr(schedule)),
    ):
        assert other == schedule
        assert other.shares(position, tuple(names)).tolist() == [shares[name] for name in names]


def test_shares_are_made_once_and_cannot_be_written_to():
    schedule = Schedule([(0, A), (10, B)])
    assert schedule.shares(3, NAMES) is schedule.shares(4, NAMES)
    with pytest.raises(ValueError, match="read-only"):
        schedule.shares(3, NAMES)[0] = 0.5


def test_it_cannot_be_changed():
    with pytest.raises(AttributeError):
        Schedule([(0, A)]).unit = "cost"


def test_rounded_shares_are_normalised_once():
    schedule = Schedule([(0, {"a": 0.333, "b": 0.333, "c": 0.333})])
    assert schedule.shares(0, "abc").tolist() == pytest.approx([1 / 3] * 3, abs=1e-15)
    assert Schedule.from_dict(schedule.to_dict()) == schedule


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Schedule([]), ValueError, "points must be at least one pair of a position and shares, got none"),
        (lambda: Schedule({"a": 1.0}), TypeError, "points must be a list of pairs"),
        (lambda: Schedule([A]), TypeError, "points must be pairs of a position and shares, got {'a'"),
        (lambda: Schedule([(0, A, 1)]), TypeError, "points must be pairs"),
        (lambda: Schedule([(1, A)]), ValueError, "must begin at 0, got 1 as its first position"),
        (lambda: Schedule([(0, A), (0, B)]), ValueError, "must be finite and increasing, got 0 after 0"),
        (lambda: Schedule([(0, A), (9, B), (5, B)]), ValueError, "got 5 after 9: put the points in order"),
        (lambda: Schedule([(0, A), (math.nan, B)]), ValueError, "got nan after 0"),
        (lambda: Schedule([(0, A), (math.inf, B)]), ValueError, "got inf after 0"),
        (lambda: Schedule([("0", A)]), TypeError, "the position of point 0 must be a number, got '0'"),
        (lambda: Schedule([(True, A)]), TypeError, "must be a number, got True"),
        (lambda: Schedule([(0, "a")]), TypeError, "the shares at 0 must be the share of every task by name, got 'a'"),
        (lambda: Schedule([(0, {"a": 2, "b": 6})]), ValueError, "got the sum 8: in these ratios they are {'a': 0.25"),
        (lambda: Schedule([(0, {"a": 0.0})]), ValueError, "got the sum 0$"),
        (lambda: Schedule([(0, {})]), ValueError, "got the sum 0$"),
        (lambda: Schedule([(0, {"a": 1.5, "b": -0.5})]), ValueError, r"\['b'\] must be a share, finite and >= 0"),
        (lambda: Schedule([(0, {"a": math.nan})]), ValueError, "must be a share, finite and >= 0, got nan"),
        (lambda: Schedule([(0, {"a": "x"})]), TypeError, r"the shares at 0\['a'\] must be a number, got 'x'"),
        (lambda: Schedule([(0, {1: 1.0})]), TypeError, "must name its tasks by strings that are not empty, got 1"),
        (lambda: Schedule([(0, A), (5, {"a": 1.0})]), ValueError, r"the point at 5 has no share for \['b'\]"),
        (
            lambda: Schedule([(0, {"easy": 1}), (5, {"esay": 1})]),
            ValueError,
            "the point at 5 names no task 'esay': did you mean 'easy'",
        ),
        (lambda: Schedule([(0, A)], unit="tokens"), ValueError, r"unit must be one of \['steps', 'cost'\], got 'tok"),
        (lambda: Schedule([(0, A)], interpolation="cubic"), ValueError, "interpolation must be one of"),
        (lambda: Schedule.phases([("a", None), ("b", 5)]), ValueError, "phase 0 has no length, and another follows"),
        (lambda: Schedule.phases([("a", 0), ("b", 5)]), ValueError, "length of phase 0 must be finite and above 0"),
        (lambda: Schedule.phases([]), ValueError, "phases must be at least one pair"),
        (lambda: Schedule.phases(["ab"]), TypeError, "phases must be pairs of what is drawn and how long, got 'ab'"),
        (lambda: Schedule.linear(A, B, over=-1), ValueError, "over must be finite and above 0, got -1"),
        (lambda: Schedule.linear(A, {"a": 1.0}, over=1), ValueError, "has no share for"),
    ],
)
def test_what_makes_no_schedule_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("position", "names", "message"),
    [
        (-1, NAMES, "position must be at least 0 steps, got -1"),
        (math.nan, NAMES, "position must be at least 0 steps, got nan"),
        (0, ["a"], "the schedule names no task 'b'"),
        (0, ["a", "b", "c"], "the list of tasks names no task 'c'"),
    ],
)
def test_positions_and_names_that_it_has_not_are_refused(position, names, message):
    with pytest.raises(ValueError, match=message):
        Schedule([(0, A)]).shares(position, names)


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml"])
def test_files_of_schedules_and_of_plain_mixtures_are_read(tmp_path, suffix):
    write = json.dumps if suffix == ".json" else yaml.safe_dump
    schedule = Schedule([(0, A), (10, B)], interpolation="linear")
    (tmp_path / f"s{suffix}").write_text(write(schedule.to_dict()))
    (tmp_path / f"m{suffix}").write_text(write({"points": 0.25, "b": 0.75}))
    assert Schedule.load(tmp_path / f"s{suffix}") == schedule
    assert Schedule.load(str(tmp_path / f"m{suffix}")) == Schedule([(0, {"points": 0.25, "b": 0.75})])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "a.json holds no schedule: Expecting"),
        ("a.yaml", "a: [", "a.yaml holds no schedule: it is not YAML"),
        ("a.yaml", "- 1", r"a.yaml holds no schedule: a schedule must be given as a mapping, got \[1\]"),
        ("a.yaml", "1: 1.0", "got 1: put it in quotes"),
        ("a.json", '{"points": [[0, {"a": 1}]], "uint": "cost"}', r"got \['uint'\] as well"),
        ("a.txt", "", "is a .json, .yaml or .yml file, got 'a.txt'"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        Schedule.load(tmp_path / name)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        Schedule.load(tmp_path / "none.json")


def test_shares_are_kept_as_they_are_given():
    assert checked_shares("prior", {"a": 0.7, "b": np.float32(0.25), "c": 0.05}) == {"a": 0.7, "b": 0.25, "c": 0.05}


def test_a_name_without_a_near_one_is_told_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"floor names no task 'x': the tasks are \['easy', 'hard'\]"):
        check_known("floor", ["x"], ["easy", "hard"])
