"""Progress of held-out metrics between validations."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader

from curricula import CurriculumCallback, CurriculumLoader, validations
from curricula.bandits import Exp3S
from curricula.held_out import HeldOut
from curricula.rewards import QuantileScaler
from curricula.signals import ValidationProgress
from curricula.testing import SignalContract
from curricula.testing.training import Noisy, NoisyPerSample, Save
from tests.models import Constant, Linear, tasks_of_constants, trainer

NAMES = "abc"
STEPS = 12


class Validates:
    """Logs a loss of its own for every task."""

    def val_dataloader(self):
        return DataLoader(Constant(1.0, 4, width=4), batch_size=4)

    def validation_step(self, batch, batch_idx):
        for scale, task in enumerate("abcd"):
            self.log(f"val/{task}", self.network(batch[0] * (scale + 1.0)).square().mean())


class NoisyValidated(Validates, Noisy):
    pass


class NoisyValidatedPerSample(Validates, NoisyPerSample):
    pass


class TestValidationProgress(SignalContract):
    test_under_clipping_it_measures_every_step_and_leaves_no_trace = None  # it has nothing to do with gradients
    test_under_accumulation_it_measures_every_step_and_leaves_no_trace = None  # in closed form below
    test_it_measures_the_same_again = None  # implied by what a second training with the same signal measures

    def make(self):
        return ValidationProgress("val/{task}")

    def model(self):
        return NoisyValidated()

    def model_of_samples(self):
        return NoisyValidatedPerSample()

    def options(self):
        return {"val_check_interval": 2, "num_sanity_val_steps": 1}

    def unknown_steps(self):
        return 4 * 4  # until the second validation; of steps with several draws


class Scored(Linear):
    """Logs a made-up score of every task, from one loader each, and notes down which."""

    def __init__(self, by_hand=False):
        super().__init__()
        self.validations = []
        self.automatic_optimization = not by_hand

    def score(self, arm, step):
        return (arm + 1.0) * step * step % 32.0

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        if not self.automatic_optimization:
            self.optimizers().zero_grad()
            self.manual_backward(loss)
            self.optimizers().step()
            return None
        return loss

    def val_dataloader(self):
        return [DataLoader(Constant(arm, 2), batch_size=2) for arm in range(3)]

    def on_validation_start(self):
        if not self.trainer.sanity_checking:
            self.validations.append((self.trainer.global_step, {}))

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        step = self.trainer.global_step
        if dataloader_idx != 2 or step % 4:  # the last task is not validated every time
            score = self.score(dataloader_idx, step)
            self.log("score", score)
            if not self.trainer.sanity_checking:
                self.validations[-1][1][dataloader_idx] = score


class Repeated(Scored):
    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), lr=0.01, max_iter=2)


METRICS = {task: f"score/dataloader_idx_{arm}" for arm, task in enumerate(NAMES)}


def fit(signal, model, *others, draws=1, ckpt_path=None, guard=None, **options):
    torch.manual_seed(0)
    own = CurriculumCallback(Exp3S(eta=0.3), signal, QuantileScaler(window=10, warmup=2), seed=1, guard=guard)
    loader = CurriculumLoader(tasks_of_constants(NAMES), batch_size=8, draws_per_batch=draws, steps_per_epoch=6)
    fitter = trainer(own, *others, **{"max_steps": STEPS, "val_check_interval": 2, **options})
    fitter.fit(model, loader, ckpt_path=ckpt_path)
    return own


def closed_form(model, arms, steps, shape):
    """Return the progress of every draw, by what was logged before its step."""
    found = []
    for arm, step in zip(arms, steps, strict=True):
        scores = [scores[arm] for made, scores in model.validations if made < step and arm in scores]
        found.append(shape(scores[-1] - scores[-2]) if len(scores) > 1 else math.nan)
    return found


@pytest.mark.parametrize(
    ("model", "draws", "options"),
    [
        (Scored, 1, {}),
        (Scored, 1, {"val_check_interval": 1.0, "max_steps": 38, "check_val_every_n_epoch": 2}),
        (Scored, 1, {"accumulate_grad_batches": 2}),
        (Scored, 4, {}),
        (lambda: Scored(by_hand=True), 1, {}),
        (Repeated, 1, {}),
    ],
)
def test_every_draw_has_the_change_between_the_last_two_validations_of_its_task(model, draws, options):
    trained = model()
    own = fit(ValidationProgress(METRICS, mode="max"), trained, draws=draws, **options)
    arms = own.history.column("arm").tolist()
    steps = [1 + row // draws for row in range(len(arms))]
    assert len(trained.validations) > 2
    expected = closed_form(trained, arms, steps, lambda change: change)
    assert str(own.history.column("progress").tolist()) == str(expected)
    assert len({value for value in expected if not math.isnan(value)}) > 1
    assert sum(own.teacher.skipped) == 0


class SaveValidated(pl.Callback):
    """Saves a checkpoint after a validation."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_validation_end(self, trainer, pl_module):
        if trainer.global_step == self.step and not self.path.exists():
            trainer.save_checkpoint(self.path)


SAVED = [(3, Save), (5, Save), (8, SaveValidated)]


@pytest.mark.parametrize("length", [{"max_steps": STEPS}, {"max_epochs": 2, "max_steps": -1}])
def test_a_resumed_run_is_exact(tmp_path, length):
    def run(*others, ckpt_path=None):
        return fit(ValidationProgress(METRICS, absolute=True), Scored(), *others, ckpt_path=ckpt_path, **length)

    whole = run(*(kind(step, tmp_path / f"{step}.ckpt") for step, kind in SAVED))
    assert np.isfinite(whole.history.column("progress")).sum() > 5
    for step, _ in SAVED:
        resumed = run(ckpt_path=tmp_path / f"{step}.ckpt")
        assert resumed.teacher.state_dict() == whole.teacher.state_dict()
        assert str(resumed.history.column("progress").tolist()) == str(whole.history.column("progress").tolist())


# ---------------------------------------------------------------- what counts, by hand


def validate(signal, *logged, tasks=("a", "b")):
    for metrics in logged:
        signal.after_validation(metrics, tasks)
    return signal.progress


def test_a_fall_a_rise_and_the_size_of_a_change():
    logged = [{"val/a": 4.0, "val/b": 1.0}, {"val/a": 1.0, "val/b": 3.0}]
    assert validate(ValidationProgress("val/{task}"), *logged[:1]) == {}
    assert validate(ValidationProgress("val/{task}"), *logged) == {"a": 3.0, "b": -2.0}
    assert validate(ValidationProgress("val/{task}", mode="max"), *logged) == {"a": -3.0, "b": 2.0}
    assert validate(ValidationProgress("val/{task}", absolute=True), *logged) == {"a": 3.0, "b": 2.0}


def test_several_held_out_sets_count_with_their_weights():
    signal = ValidationProgress({"a": {"x": 3.0, "y": 1.0}, "b": "z"})
    logged = [{"x": 8.0, "y": 4.0, "z": 1.0}, {"x": 4.0, "z": 0.5}, {"x": 4.0, "y": 0.0}]
    assert validate(signal, *logged[:2]) == {"b": 0.5}  # of "a" a part is missing
    assert validate(signal, logged[2]) == {"a": 0.75 * 4.0 + 0.25 * 4.0, "b": 0.5}


def test_braces_in_a_name_are_a_name():
    logged = [{"val/{x}": 1.0}, {"val/{x}": 0.0}]
    assert validate(ValidationProgress("val/{task}"), *logged, tasks=["{x}"]) == {"{x}": 1.0}


def test_a_metric_that_is_not_finite_is_counted_and_told_and_never_learned_from(caplog):
    signal = ValidationProgress("val/{task}")
    logged = [{"val/a": value, "val/b": 1.0} for value in (4.0, 3.0, math.nan, math.inf)]
    with caplog.at_level(logging.WARNING, logger="curricula"):
        assert validate(signal, *logged) == {"b": 0.0}
    assert signal.skipped == {"a": 2}
    (message,) = caplog.messages
    assert "the held-out metrics of ['a'] are not finite (['val/a'])" in message
    assert validate(signal, {"val/a": 1.0, "val/b": 1.0}) == {"a": 2.0, "b": 0.0}


def test_a_metric_that_is_never_logged_is_told_once_after_the_second_validation(caplog):
    signal = ValidationProgress({"a": "val_los/a", "b": "val_loss/b"})
    with caplog.at_level(logging.WARNING, logger="curricula"):
        validate(signal, {"val_loss/a": 1.0, "val_loss/b": 1.0})
        assert not caplog.messages
        validate(signal, *[{"val_loss/a": 1.0, "val_loss/b": 1.0}] * 3)
    (message,) = caplog.messages
    assert "never logged: ['val_los/a'] (did you mean 'val_loss/a'?)" in message
    assert "what was logged: ['val_loss/a', 'val_loss/b']" in message


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("metrics", "options", "error", "message"),
    [
        ("val_loss", {}, ValueError, r"metrics='val_loss'\) is the same metric for all tasks: give \"\{task\}\""),
        (["val/a"], {}, TypeError, "must be a pattern such as"),
        ({}, {}, TypeError, "must be a pattern such as"),
        ({"a": 3}, {}, TypeError, "of task 'a' must be the name of a metric"),
        ({"a": {"x": "much"}}, {}, TypeError, "the weight of 'x' .* must be a number"),
        ({"a": {"x": 0.0}}, {}, ValueError, "the weight of 'x' .* must be finite and > 0, got 0: leave it out"),
        ("val/{task}", {"mode": "low"}, ValueError, 'mode must be "min" or "max"'),
        ("val/{task}", {"absolute": "no"}, TypeError, "absolute must be True or False"),
    ],
)
def test_options_are_checked(metrics, options, error, message):
    with pytest.raises(error, match=message):
        ValidationProgress(metrics, **options)


def test_tasks_and_metrics_must_match():
    signal = ValidationProgress({"easy": "x", "hrad": "y"})
    with pytest.raises(ValueError, match=r"names no task 'hrad': did you mean 'hard'\?"):
        signal.check_tasks(["easy", "hard"])
    with pytest.raises(ValueError, match=r"has no metric for \['new'\]: give the name of one for every task, or a pat"):
        signal.check_tasks(["easy", "hrad", "new"])
    with pytest.raises(MisconfigurationException, match=r"has no metric for \['b', 'c'\]"):
        fit(ValidationProgress({"a": "x"}), Scored())
    ValidationProgress("val/{task}").check_tasks(["any"])


@pytest.mark.parametrize(("model", "options"), [(Linear, {}), (Scored, {"limit_val_batches": 0})])
def test_a_training_without_validations_is_refused(model, options):
    with pytest.raises(MisconfigurationException, match="ValidationProgress learns from validations, and this"):
        fit(ValidationProgress(METRICS), model(), val_check_interval=None, **options)


def test_a_validation_outside_of_a_training_teaches_nothing():
    signal, model = ValidationProgress(METRICS), Scored()
    own = fit(signal, model, max_steps=4)
    before = signal.state_dict()
    pl.Trainer(callbacks=[own], logger=False, enable_progress_bar=False, accelerator="cpu").validate(
        model, verbose=False
    )
    assert signal.state_dict() == before


def test_ranks_learn_from_the_mean_over_those_that_logged_a_metric(monkeypatch):
    def gather(everyone, own):
        everyone[:] = [own, {"a": 3.0, "c": math.nan}]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    found = validations._agreed({"a": 1.0, "b": 5.0, "c": 1.0}, 2)
    assert str(found) == "{'a': 2.0, 'b': 5.0, 'c': nan}"
    assert HeldOut("Test", "{task}", "max").read(found, ["a", "b"]) == {"a": 2.0, "b": 5.0}
