"""The history: exact counts, bounded memory, and the same after a round trip."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.teacher import Draw
from curricula.tracking import CurriculumHistory, effective_number
from curricula.tracking.history import COLUMNS
from tests.tracking.histories import lossless, staircase

POLICY = np.array([0.25, 0.75])


def filled(steps: int, **options) -> CurriculumHistory:
    history = CurriculumHistory(["a", "b"], **options)
    for step in range(steps):
        draw = Draw(step, step % 2, "ab"[step % 2], 0.5, step)
        history.record(draw, progress=step / 2, reward=None if step % 5 == 0 else 0.5, loss=float(step), policy=POLICY)
    return history


@pytest.mark.parametrize(
    ("policy", "number"), [([1.0, 0.0], 1.0), ([0.5, 0.5], 2.0), ([0.25] * 4, 4.0), ([0.9, 0.1], 1.3841454)]
)
def test_the_effective_number_is_the_exponential_of_the_entropy(policy, number):
    assert effective_number(np.array(policy)) == pytest.approx(number)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20).filter(lambda weights: sum(weights) > 0))
def test_the_effective_number_lies_between_1_and_n(weights):
    policy = np.array(weights) / sum(weights)
    assert 1 - 1e-9 <= effective_number(policy) <= len(policy) + 1e-9


def test_every_step_is_a_row_while_there_is_room():
    history = filled(50)
    assert history.steps == 50
    assert history.column("step").tolist() == list(range(50))
    assert history.column("arm").tolist() == [0, 1] * 25
    assert history.column("progress").tolist() == [step / 2 for step in range(50)]
    assert history.column("loss").tolist() == list(range(50))
    assert set(history.column("probability")) == {0.5}
    assert np.isnan(history.column("reward")).nonzero()[0].tolist() == list(range(0, 50, 5))


def test_an_unknown_column_is_refused():
    with pytest.raises(ValueError, match=r"column must be one of .*got 'rewards'"):
        filled(3).column("rewards")


def test_counts_and_first_and_last_losses_are_exact_however_long_the_run():
    history = filled(10_001, max_rows=16, max_policies=4)
    assert history.draws.tolist() == [5001, 5000]
    assert history.first_losses.tolist() == [0.0, 1.0]
    assert history.last_losses.tolist() == [10_000.0, 9_999.0]


@pytest.mark.parametrize("draws", [3, 40])
def test_a_step_with_several_draws_is_kept_whole_or_not_at_all(draws):
    history = CurriculumHistory(["a", "b"], max_rows=100, max_policies=10)
    for number in range(5000 * draws):
        step, place = divmod(number, draws)
        draw = Draw(number, place % 2, "ab"[place % 2], 0.5, step)
        last = place == draws - 1
        policy = POLICY if last else None
        history.record(draw, progress=place, reward=0.5, loss=1.0, policy=policy, more=not last)
    assert history.steps == 5000
    assert history.draws.sum() == 5000 * draws
    steps, progress = history.column("step"), history.column("progress")
    assert 50 <= len(steps) <= 100
    kept = np.unique(steps)
    assert len(kept) * draws == len(steps)
    assert len(set(np.diff(kept))) == 1, "evenly spaced"
    assert progress.tolist() == list(range(draws)) * len(kept)
    assert CurriculumHistory.from_state_dict(history.state_dict()).column("progress").tolist() == progress.tolist()


def test_memory_is_bounded_and_what_is_kept_is_evenly_spaced():
    history = filled(200_000, max_rows=100, max_policies=10)
    steps = history.column("step")
    assert 50 <= len(steps) <= 100
    assert len(set(np.diff(steps))) == 1
    assert steps[0] == 0
    at, policies = history.policies()
    assert 5 <= len(at) <= 10
    assert len(set(np.diff(at))) == 1
    assert policies.shape == (len(at), 2)
    np.testing.assert_allclose(policies, np.tile(POLICY, (len(at), 1)))


def test_many_tasks_have_fewer_snapshots():
    assert CurriculumHistory([str(k) for k in range(100_000)]).max_policies == 20


@pytest.mark.parametrize("limits", [{"max_rows": 1}, {"max_policies": 1}])
def test_limits_below_2_are_refused(limits):
    with pytest.raises(ValueError, match="must be at least 2"):
        CurriculumHistory(["a"], **limits)


def through_torch(history):
    file = io.BytesIO()
    torch.save(history.state_dict(), file)
    file.seek(0)
    other = CurriculumHistory(history.tasks)
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


@pytest.mark.parametrize("steps", [0, 1, 77, 1000])
def test_a_history_goes_on_after_a_checkpoint_as_if_nothing_had_happened(steps):
    limits = {"max_rows": 64, "max_policies": 8}
    whole, resumed = filled(steps, **limits), through_torch(filled(steps, **limits))
    for history in (whole, resumed):
        for step in range(steps, steps + 100):
            draw = Draw(step, 1, "b", 0.5, step)
            history.record(draw, progress=1.0, reward=1.0, loss=2.0, policy=POLICY)
    for name in COLUMNS:
        np.testing.assert_array_equal(resumed.column(name), whole.column(name))
    for ours, theirs in zip(resumed.policies(), whole.policies(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert resumed.draws.tolist() == whole.draws.tolist()
    np.testing.assert_array_equal(resumed.first_losses, whole.first_losses)


@pytest.mark.parametrize(
    "history", [staircase(9, grid={"x": ["1", "2", "3"], "y": ["a", "b", "c"]}, target="task 8"), lossless()]
)
def test_a_saved_file_is_the_same_history(history, tmp_path):
    other = CurriculumHistory.load(history.save(tmp_path / "deep" / "history.json"))
    assert (other.tasks, other.grid, other.target, other.steps) == (
        history.tasks,
        history.grid,
        history.target,
        history.steps,
    )
    for name in COLUMNS:
        np.testing.assert_array_equal(other.column(name), history.column(name))
    np.testing.assert_allclose(other.policies()[1], history.policies()[1], atol=1e-7)
    np.testing.assert_array_equal(other.last_losses, history.last_losses)


def test_a_file_that_is_no_history_is_refused(tmp_path):
    (tmp_path / "other.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"other.json is no curriculum history: write it with CurriculumHistory.save"):
        CurriculumHistory.load(tmp_path / "other.json")


def test_a_history_of_other_tasks_or_of_another_format_is_refused():
    state = filled(3).state_dict()
    with pytest.raises(ValueError, match=r"is of the tasks \['a', 'b'\], not of \['a', 'c'\]"):
        CurriculumHistory(["a", "c"]).load_state_dict(state)
    with pytest.raises(ValueError, match="has format 3, this version of curricula reads 1 to 2"):
        CurriculumHistory(["a", "b"]).load_state_dict({**state, "curriculum_history": 3})


def test_a_step_without_loss_is_kept_as_unknown():
    history = lossless(4)
    assert history.draws.sum() == 4
    assert all(math.isnan(value) for value in history.column("loss"))
