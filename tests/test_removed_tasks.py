"""Tasks taken out and put back while a teacher is at work."""

from __future__ import annotations

import json

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from curricula import CurriculumCallback, CurriculumLoader, Teacher
from curricula.bandits import Exp3S, FixedPolicy
from tests.models import Linear, noisy_tasks, tasks_of_constants, trainer


def taught(steps=300, **options):
    teacher = Teacher(list("abcd"), bandit=Exp3S(eta=0.02, epsilon=0.2, **options), seed=3)
    for _ in range(steps):
        draw = teacher.draw()
        teacher.reward(draw, float("abcd".index(draw.task)))
    return teacher


def test_the_others_share_the_probability_in_proportion_to_their_own():
    teacher = taught()
    before = teacher.probabilities()
    teacher.remove_task("b")
    after = teacher.probabilities()
    assert after[1] == 0.0
    np.testing.assert_allclose(after[[0, 2, 3]], before[[0, 2, 3]] / before[[0, 2, 3]].sum(), rtol=1e-14)
    assert teacher.removed == ("b",)
    teacher.restore_task("b")
    assert teacher.probabilities().tolist() == before.tolist()
    assert teacher.removed == ()


@pytest.mark.parametrize("options", [{}, {"beta": 0.2}], ids=str)
def test_a_removed_task_is_never_drawn_and_draws_keep_the_probability_they_had(options):
    teacher = taught(**options)
    teacher.remove_task("d")
    for _ in range(500):
        policy = teacher.probabilities()
        draw = teacher.draw()
        assert draw.task != "d"
        assert draw.probability == policy[draw.arm]
        teacher.reward(draw, 1.0)
    assert np.isfinite(teacher.bandit.probabilities()).all()
    assert teacher.bandit.probabilities()[3] > 0, "it can come back"


def test_open_draws_of_a_removed_task_are_rewarded():
    teacher = taught()
    draw = next(draw for draw in iter(teacher.draw, None) if draw.task == "a")
    teacher.remove_task("a")
    assert teacher.reward(draw, 3.0) is not None


def test_without_an_alternative_of_the_bandits_own_the_rest_is_drawn_uniformly():
    teacher = Teacher(list("abc"), bandit=FixedPolicy([1.0, 0.0, 0.0]))
    teacher.remove_task("a")
    assert teacher.probabilities().tolist() == [0.0, 0.5, 0.5]


def test_the_last_task_and_unknown_ones_are_refused():
    teacher = Teacher(["a", "b"])
    teacher.remove_task("a")
    teacher.remove_task("a")
    with pytest.raises(ValueError, match="task 'b' is the last one that is left: there would be nothing to draw"):
        teacher.remove_task("b")
    for method in (teacher.remove_task, teacher.restore_task):
        with pytest.raises(ValueError, match=r"there is no task 'c': the tasks are \['a', 'b'\]"):
            method("c")


def test_what_is_removed_is_in_the_state():
    teacher = taught(beta=0.1)
    teacher.remove_task("c")
    teacher.draw()
    other = Teacher(list("abcd"), bandit=Exp3S(eta=0.02, epsilon=0.2, beta=0.1), seed=3)
    other.load_state_dict(json.loads(json.dumps(teacher.state_dict())))
    assert other.removed == ("c",)
    assert [teacher.draw() for _ in range(50)] == [other.draw() for _ in range(50)]
    assert other.state_dict() == teacher.state_dict()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_task_can_come_and_go_while_a_model_trains(workers):
    class Coming(Linear):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            if self.global_step == 40:
                callback.teacher.remove_task("a")
                callback.teacher.restore_task("c")

        def on_train_start(self):
            callback.teacher.remove_task("c")

    callback = CurriculumCallback(FixedPolicy.uniform())
    loader = CurriculumLoader(tasks_of_constants("abc"), batch_size=4, steps_per_epoch=100, num_workers=workers)
    trainer(callback, max_steps=100).fit(Coming(), loader)
    arms = callback.history.column("arm")
    ahead = workers * 2
    assert set(arms[:40]) == {0, 1}
    assert set(arms[41 + ahead :]) == {1, 2}
    assert callback.teacher.open_draws() == []


class Removing(pl.Callback):
    """Takes a task out after some steps, and puts it back after more."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        own = next(callback for callback in trainer.callbacks if isinstance(callback, CurriculumCallback))
        if trainer.global_step == 6:
            own.teacher.remove_task("a")
        if trainer.global_step == 15:
            own.teacher.restore_task("a")


@pytest.mark.parametrize("workers", [0, 2])
def test_with_workers_that_read_ahead_a_removed_task_is_not_trained_on_and_a_resume_is_exact(workers, tmp_path):
    def fit(*others, ckpt_path=None):
        torch.manual_seed(0)
        own = CurriculumCallback(seed=3)
        loader = CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=10, num_workers=workers)
        options = {"enable_checkpointing": bool(others)}
        trainer(own, Removing(), *others, max_steps=24, **options).fit(Linear(4), loader, ckpt_path=ckpt_path)
        return own

    whole = fit(ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=1, filename="{step}"))
    arms = whole.history.column("arm").tolist()
    assert 0 not in arms[6:15]
    assert 0 in arms[:6]
    for step in (5, 6, 7, 8, 12, 16):
        resumed = fit(ckpt_path=tmp_path / f"step={step}.ckpt")
        assert resumed.history.column("arm").tolist() == arms, step
        assert resumed.teacher.state_dict() == whole.teacher.state_dict(), step
