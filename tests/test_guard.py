"""The guard of tasks whose held-out metrics become worse."""

from __future__ import annotations

import logging
import math

import pytest
import pytorch_lightning as pl

from curricula import CurriculumCallback, Guard
from curricula.signals import PredictionGain
from curricula.testing.training import Save
from tests.signals.test_validation_progress import METRICS, STEPS, Scored, fit

TASKS = ("a", "b")


def guarded(guard, *values):
    """Return which tasks are guarded after each validation of two metrics."""
    return ["".join(guard.after_validation({"val/a": a, "val/b": b}, TASKS)) for a, b in values]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"tolerance": 0.1}, ["", "a", "", "b", "b"]),
        ({"tolerance": 0.5, "relative": False}, ["", "", "", "b", ""]),
        ({"tolerance": 0.0}, ["", "a", "", "ab", "b"]),
        ({"tolerance": 0.1, "mode": "max"}, ["", "b", "ab", "ab", "ab"]),
    ],
)
def test_a_task_is_guarded_from_worse_than_its_best_until_it_has_recovered(options, found):
    values = [(1.0, 2.0), (1.2, 1.0), (0.5, 1.0), (0.52, 1.6), (0.5, 1.5)]
    assert guarded(Guard("val/{task}", **options), *values) == found


def test_a_metric_that_is_missing_or_not_finite_changes_nothing(caplog):
    guard = Guard("val/{task}")
    assert guarded(guard, (1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)) == ["", "a", "a"]
    assert guard.after_validation({"val/b": 1.0}, TASKS) == ("a",)
    assert guard.skipped == {"a": 1}
    assert guarded(guard, (1.0, 1.0)) == [""]


def test_every_change_is_told_once(caplog):
    with caplog.at_level(logging.INFO, logger="curricula"):
        guarded(Guard("val/{task}"), (1.0, 1.0), (2.0, 1.0), (2.0, 1.0), (1.0, 1.0), (1.0, 1.0))
    worse, recovered = caplog.messages
    assert worse.startswith("task 'a' has become worse on held-out data than it was, by 1 where its best was 1")
    assert recovered.startswith("tasks that have recovered on held-out data, and are guarded no more: ['a']")


def test_options_are_checked():
    with pytest.raises(ValueError, match="tolerance must be in"):
        Guard("val/{task}", tolerance=-0.1)
    with pytest.raises(TypeError, match="relative must be True or False"):
        Guard("val/{task}", relative=0.1)
    with pytest.raises(TypeError, match=r"guard must be an instance of Guard, got .*: write Guard\(\)"):
        CurriculumCallback(guard=Guard)


class Watch(pl.Callback):
    """Notes down who is guarded at the beginning of every step."""

    def __init__(self):
        self.found = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        (own,) = (each for each in trainer.callbacks if isinstance(each, CurriculumCallback))
        self.found.append((trainer.global_step, own.teacher.guarded))


def test_the_teacher_is_told_at_every_validation_and_a_resume_is_exact(tmp_path):
    def run(*others, ckpt_path=None):
        watch, model = Watch(), Scored()
        guard = Guard(METRICS, mode="max", tolerance=1.0, relative=False)
        own = fit(PredictionGain(), model, watch, *others, ckpt_path=ckpt_path, guard=guard)
        return own, watch.found, model.validations

    own, found, validations = run(Save(5, tmp_path / "5.ckpt"), Save(9, tmp_path / "9.ckpt"))
    for step, names in found:
        expected = []
        for arm, name in enumerate("abc"):
            scores = [scores[arm] for made, scores in validations if made <= step and arm in scores]
            expected += [name] if scores and scores[-1] < max(scores) - 1.0 else []
        assert names == tuple(expected), step
    assert len({names for _, names in found}) > 2
    for step in (5, 9):
        other, again, _ = run(ckpt_path=tmp_path / f"{step}.ckpt")
        assert again[-1] == found[-1]
        assert [pair for pair in found if pair[0] > step] == [pair for pair in again if pair[0] > step]
        assert other.state_dict()["guard"] == own.state_dict()["guard"]
        assert other.teacher.state_dict() == own.teacher.state_dict()
    assert own.history.steps == STEPS


def test_a_checkpoint_with_a_guard_goes_on_without_one_and_says_so(tmp_path, caplog):
    path = tmp_path / "7.ckpt"
    fit(PredictionGain(), Scored(), Save(7, path), guard=Guard(METRICS, mode="max"), max_steps=7)
    with caplog.at_level(logging.WARNING, logger="curricula"):
        own = fit(PredictionGain(), Scored(), ckpt_path=path)
    assert any("the checkpoint has a guard, and there is none now" in message for message in caplog.messages)
    assert own.teacher.guarded == ()
