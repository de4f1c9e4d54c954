"""Progress that the user reports: by the training step, from elsewhere, late, or never."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import Exp3S
from curricula.rewards import QuantileScaler
from curricula.signals import L1ValueLoss, Learnability, PredictionGain, Reported
from curricula.teacher import Draw
from curricula.testing import SignalContract
from curricula.testing.training import Noisy, NoisyPerSample, Save
from tests.models import Linear, tasks_of_constants, trainer

NAMES = "abc"
STEPS = 12


class NoisyReporting(Noisy):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return {"loss": loss, "value": loss.detach()}


class NoisyReportingPerSample(NoisyPerSample):
    def training_step(self, batch, batch_idx):
        found = super().training_step(batch, batch_idx)
        return {**found, "value": found["losses"].detach()}


class TestReported(SignalContract):
    test_under_clipping_it_measures_every_step_and_leaves_no_trace = None  # it has nothing to do with gradients
    test_it_measures_the_same_again = None  # implied by what a second training with the same signal measures

    def make(self):
        return Reported("value")

    def model(self):
        return NoisyReporting()

    def model_of_samples(self):
        return NoisyReportingPerSample()


class Returning(Linear):
    """Returns for every sample the number of its task and that of the step: 10 * step + arm."""

    def __init__(self, form=lambda values: values):
        super().__init__()
        self.form = form

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return {"loss": loss, "value": self.form(batch[0][:, 0] + 10 * self.trainer.global_step)}


class ByHand(Returning):
    """Makes a step after every second batch."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        found = super().training_step(batch, batch_idx)
        self.manual_backward(found["loss"])
        if batch_idx % 2:
            self.optimizers().step()
            self.optimizers().zero_grad()
        return {"value": found["value"]}


class Repeated(Returning):
    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), lr=0.01, max_iter=3)


def fit(signal, model, *others, draws=1, own=None, ckpt_path=None, batches_per_draw=None, **options):
    torch.manual_seed(0)
    scaler = QuantileScaler(window=10, warmup=2)
    callback = own or CurriculumCallback(Exp3S(eta=0.1), signal, scaler, seed=1, batches_per_draw=batches_per_draw)
    loader = CurriculumLoader(tasks_of_constants(NAMES), batch_size=8, draws_per_batch=draws, steps_per_epoch=6)
    fitter = trainer(callback, *others, **{"max_steps": STEPS, **options})
    fitter.fit(model, loader, ckpt_path=ckpt_path)
    return callback


def closed_form(callback, draws=1):
    arms = callback.history.column("arm")
    return arms + 10.0 * (np.arange(len(arms)) // draws)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (Returning, {}),
        (lambda: Returning(lambda values: float(values.mean())), {}),
        (lambda: Returning(lambda values: values.numpy()), {}),
        (Returning, {"accumulate_grad_batches": 2, "max_steps": 6}),
        (ByHand, {"batches_per_draw": 2, "max_steps": 6}),
        (Repeated, {}),
        (Returning, {"draws": 4}),
        (lambda: Returning(lambda values: values.view(8, 1, 1).expand(8, 2, 3)), {"draws": 4}),
        (lambda: Returning(lambda values: values[::2]), {"draws": 4}),
        (lambda: Returning(lambda values: [values[0], values[2:4], [values[4]], values[6].item()]), {"draws": 4}),
    ],
)
def test_every_draw_has_the_value_of_its_own_samples(model, options):
    callback = fit(Reported("value"), model(), **options)
    expected = closed_form(callback, options.get("draws", 1))
    assert callback.history.column("progress").tolist() == expected.tolist()
    assert callback.teacher.updates == options.get("max_steps", STEPS)


@pytest.mark.parametrize(("change", "shape"), [("signed", lambda change: change), ("absolute", abs)])
def test_the_change_is_that_since_the_tasks_last_value(change, shape):
    callback = fit(Reported("value", change=change), Returning(lambda values: (30.0 - values) ** 2))
    last, expected = {}, []
    for step, arm in enumerate(callback.history.column("arm").tolist()):
        value = (30.0 - arm - 10.0 * step) ** 2
        expected.append(shape(value - last[arm]) if arm in last else np.nan)
        last[arm] = value
    assert str(callback.history.column("progress").tolist()) == str(expected)
    assert callback.teacher.skipped == [0, 0, 0]  # the first value of a task is no fault


@pytest.mark.parametrize("nothing", [None, torch.empty(0), []])
def test_a_draw_without_a_value_is_closed_without_a_reward_and_is_no_fault(nothing):
    class Sometimes(Returning):
        def training_step(self, batch, batch_idx):
            found = super().training_step(batch, batch_idx)
            return found if batch_idx % 3 else {"loss": found["loss"], "value": nothing}

    callback = fit(Reported("value"), Sometimes())
    known = np.isfinite(callback.history.column("progress"))
    assert known.tolist() == [step % 3 > 0 for step in range(STEPS)]
    assert np.isfinite(callback.history.column("reward")).tolist() == known.tolist()
    assert (callback.teacher.updates, sum(callback.teacher.skipped)) == (8, 0)
    assert callback.teacher.open_draws() == []


class Late(pl.Callback):
    """Reports at the end of some steps, when their draws are closed."""

    def __init__(self, own, at):
        self.own, self.at = own, at

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        for task, value in self.at.get(trainer.global_step, ()):
            self.own.report(value, task=task)


def test_a_late_value_counts_for_the_next_draw_of_its_task():
    own = CurriculumCallback(Exp3S(), Reported("value"), seed=1)
    at = {1: [("a", 3.0)], 2: [("b", 5.0), ("b", [6.0, 8.0])], 4: [("c", None), ("c", torch.empty(0))]}
    fit(None, Linear(), Late(own, at), own=own)
    arms = own.history.column("arm").tolist()
    expected = [np.nan] * STEPS
    expected[1 + arms[1:].index(0)] = 3.0
    expected[2 + arms[2:].index(1)] = 6.0  # the mean of two
    assert str(own.history.column("progress").tolist()) == str(expected)


@pytest.mark.parametrize("length", [{"max_steps": STEPS}, {"max_epochs": 2, "max_steps": -1}])
def test_a_resumed_run_is_exact_with_values_that_wait(tmp_path, length):
    def run(*others, **options):
        own = CurriculumCallback(Exp3S(eta=0.3), Reported("value", change="absolute"), QuantileScaler(warmup=2), seed=1)
        at = {step: [(NAMES[step % 3], 1.0 + step)] for step in range(1, STEPS)}
        model = Returning(lambda values: values if values[0] % 3 else None)
        return fit(None, model, Late(own, at), *others, own=own, **options, **length)

    whole = run(Save(5, tmp_path / "5.ckpt"), Save(8, tmp_path / "8.ckpt"))
    assert np.isfinite(whole.history.column("progress")).sum() > 5
    for step in (5, 8):
        resumed = run(ckpt_path=tmp_path / f"{step}.ckpt")
        assert resumed.teacher.state_dict() == whole.teacher.state_dict()
        assert str(resumed.history.column("progress").tolist()) == str(whole.history.column("progress").tolist())


def test_what_is_reported_in_the_step_is_of_its_draws():
    class Asks(Linear):
        def training_step(self, batch, batch_idx):
            own.report(batch[0][:, 0])
            own.report(batch[0][:, 0] + 2.0)
            return super().training_step(batch, batch_idx)

    own = CurriculumCallback(Exp3S(), Reported("value"), seed=1)
    fit(None, Asks(), own=own, draws=2)
    assert own.history.column("progress").tolist() == (own.history.column("arm") + 1.0).tolist()


# ---------------------------------------------------------------- bad input


def test_what_cannot_be_reported_is_refused():
    own = CurriculumCallback(signal=PredictionGain())
    with pytest.raises(RuntimeError, match=r"PredictionGain measures progress by itself .* give .*Reported"):
        own.report(1.0)
    own = CurriculumCallback(signal=Reported("value"))
    with pytest.raises(RuntimeError, match="before training starts"):
        own.report(1.0, task="a")

    class Asks(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            with pytest.raises(RuntimeError, match=r"no draw is open: .* report\(value, task=...\)"):
                own.report(1.0)
            with pytest.raises(ValueError, match=r"report\(\) names no task 'bb': did you mean 'b'\?"):
                own.report(1.0, task="bb")

    fit(None, Linear(), Asks(), own=own, max_steps=1)


def step_of(draws, outputs=None):
    drawn = tuple(Draw(number, 0, "a", 0.5, 0) for number in range(draws))
    batches = SimpleNamespace(last=SimpleNamespace(draws=drawn))
    return SimpleNamespace(micro_batches=batches, draws=drawn, notes={}, batch_size=8, outputs=outputs)


@pytest.mark.parametrize(
    ("value", "draws", "error", "message"),
    [
        ("high", 1, TypeError, "the value 'value' must be a number or a tensor of them, got 'high'"),
        ({"a": 1.0}, 1, TypeError, "must be a number"),
        (1j, 1, TypeError, "must be real"),
        (
            1.0,
            4,
            ValueError,
            r"tell the 4 draws .* shape \(8, \.\.\.\), or per slot, shape \(4, \.\.\.\); got shape \(\)",
        ),
        (torch.zeros(7), 4, ValueError, r"got shape \(7,\)"),
        ([1.0, 2.0, "x", 3.0], 4, TypeError, "must be a number"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(value, draws, error, message):
    with pytest.raises(error, match=message):
        Reported("value").report(step_of(draws), value)


def test_options_are_checked():
    with pytest.raises(TypeError, match="name must be the key"):
        Reported(3)
    with pytest.raises(ValueError, match='change must be "signed", "absolute" or None'):
        Reported("value", change="relative")
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\)"):
        Learnability(decay=1.0)


@pytest.mark.parametrize("comes_after", [99, 101])
def test_a_value_that_never_comes_is_told_once_with_the_name_that_may_be_meant(comes_after, caplog):
    signal = Reported("return")
    with caplog.at_level(logging.WARNING, logger="curricula"):
        for number in range(250):
            key = "return" if number == comes_after else "retrun"
            step = step_of(1, {"loss": 0.0, key: 1.0})
            signal.after_batch(step)
            signal.after_step(step)
    assert len(caplog.messages) == (comes_after > 100)
    for message in caplog.messages:
        assert "no value 'return' was reported" in message
        assert "['loss', 'retrun'] (did you mean 'retrun'?)" in message


# ---------------------------------------------------------------- for reinforcement learning


def test_learnability_is_the_variance_of_the_average_success():
    signal = Learnability("success", decay=0.75)
    step = step_of(2)
    signal.report(step, [torch.tensor([True, False]), [1, 1, 1, 0]])
    assert signal.after_step_per_draw(step) == [0.5, 0.75]
    rates = {"a": [1.0, 0.0, 0.5], "b": [0.5]}
    found = [signal.compare("a", rate) for rate in rates["a"]] + [signal.compare("b", 0.5)]
    averages = [1.0, 0.75, 0.6875, 0.5]
    assert found == [rate * (1.0 - rate) for rate in averages]
    other = Learnability("success", decay=0.75)
    other.load_state_dict(signal.state_dict())
    assert other.compare("a", 0.25) == signal.compare("a", 0.25)


@pytest.mark.parametrize("value", [1.5, -0.1, [0.5, 2.0]])
def test_learnability_refuses_what_is_no_success(value):
    with pytest.raises(ValueError, match=r"the value 'success' is a success, in \[0, 1\], got"):
        Learnability().report_for("a", value)


def test_l1_value_loss_is_the_mean_magnitude_of_the_advantages():
    signal = L1ValueLoss()
    step = step_of(2)
    advantages = torch.tensor([[-1.0, 2.0], [3.0, -4.0]]).repeat_interleave(4, dim=0)
    signal.report(step, advantages)
    assert signal.after_step_per_draw(step) == [1.5, 3.5]
