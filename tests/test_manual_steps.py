"""Modules that make their optimiser steps themselves: a reward is for what was trained on."""

from __future__ import annotations

import math

import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.utils.data import TensorDataset

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import FixedPolicy
from curricula.manual_steps import has_gradients
from curricula.signals import FirstOrderPredictionGain, GradientPredictionGain, PredictionGain
from tests.models import trainer

ROWS = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
TASKS = {
    "learn": TensorDataset(ROWS, ROWS.sum(1, keepdim=True) + 5),
    "dead": TensorDataset(torch.zeros(64, 4), torch.zeros(64, 1)),  # gives no gradient, ever
    "far": TensorDataset(ROWS * 2, ROWS.sum(1, keepdim=True) - 5),
}


class Manual(pl.LightningModule):
    """Steps by hand after every so many batches."""

    def __init__(self, every=1, *, zero="after", backward="hook", at_end=False):
        super().__init__()
        self.automatic_optimization = False
        self.layer = nn.Linear(4, 1, bias=False)
        self.every, self.zero, self.how, self.at_end = every, zero, backward, at_end
        self.tasks, self.steps = [], []

    def due(self, batch_idx):
        return (batch_idx + 1) % self.every == 0 or (self.at_end and self.trainer.is_last_batch)

    def loss(self, batch):
        return nn.functional.mse_loss(self.layer(batch[0]), batch[1])

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        self.tasks.append(self.task_of(batch))
        if self.zero == "before" and batch_idx % self.every == 0:
            optimizer.zero_grad()
        loss = self.loss(batch) / self.every
        if self.how == "hook":
            self.manual_backward(loss)
        else:
            loss.backward()
        if self.due(batch_idx):
            optimizer.step()
            self.steps.append(self.tasks)
            self.tasks = []
            if self.zero != "before":
                optimizer.zero_grad(set_to_none=self.zero == "after")

    def task_of(self, batch):
        return next(name for name, task in TASKS.items() if (task.tensors[0] == batch[0][0]).all(dim=1).any())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Losing(Manual):
    """Tells its loss for a probe."""

    def curriculum_loss(self, batch, batch_idx):
        return self.loss(batch)


def fit(model, *, workers=0, epochs=1, steps=60, signal=None, seed=1, tasks=TASKS, **options):
    callback = CurriculumCallback(FixedPolicy.uniform(), signal, seed=seed, **options)
    loader = CurriculumLoader(tasks, batch_size=8, steps_per_epoch=steps, num_workers=workers)
    fitter = trainer(callback, max_epochs=epochs)
    torch.manual_seed(0)
    fitter.fit(model, loader)
    return callback


def credited(callback):
    return [callback.teacher.tasks[int(arm)] for arm in callback.history.column("arm")]


@pytest.mark.parametrize("zero", ["after", "before", "to zero"])
@pytest.mark.parametrize("backward", ["hook", "by itself"])
@pytest.mark.parametrize("every", [1, 3, 4])
def test_without_workers_a_draw_lasts_until_the_module_steps(every, backward, zero):
    told_apart = backward == "hook" or every == 1  # else a gradient of zeros cannot be told from none
    kept = {name: task for name, task in TASKS.items() if told_apart or name != "dead"}
    model = Manual(every, zero=zero, backward=backward)
    callback = fit(model, signal=FirstOrderPredictionGain(), tasks=kept)
    assert len(model.steps) == callback.history.steps == 60 // every
    assert all(len(set(tasks)) == 1 for tasks in model.steps)
    assert credited(callback) == [tasks[0] for tasks in model.steps]
    assert set(credited(callback)) == set(kept)
    for task, gain in zip(credited(callback), callback.history.column("progress"), strict=True):
        assert gain == 0.0 if task == "dead" else gain > 0


def test_gradients_that_are_kept_over_the_end_of_an_epoch_are_of_one_draw():
    model = Manual(4)
    callback = fit(model, epochs=3, steps=10)
    assert all(len(set(tasks)) == 1 for tasks in model.steps)
    assert [len(tasks) for tasks in model.steps] == [4, 4, 6, 4, 6, 4]
    assert credited(callback) == [tasks[0] for tasks in model.steps]


def test_with_workers_the_number_of_batches_must_be_known():
    with pytest.raises(
        MisconfigurationException, match=r"no optimiser step on a batch.*batches_per_draw=<number>.*num_w"
    ):
        fit(Manual(4, backward="by itself"), workers=1)
    with pytest.raises(MisconfigurationException, match=r"gradients that were begun before .*batches_per_draw=N"):
        fit(Manual(4), workers=1)
    model = Manual(4)
    callback = fit(model, workers=1, batches_per_draw=4)
    assert credited(callback) == [tasks[0] for tasks in model.steps]
    assert all(len(set(tasks)) == 1 for tasks in model.steps)
    assert callback.history.steps == 15


@pytest.mark.parametrize("workers", [0, 1])
def test_a_draw_may_have_several_steps(workers):
    model = Manual(2)
    callback = fit(model, workers=workers, batches_per_draw=6)
    assert callback.history.steps == 10
    assert len(model.steps) == 30
    assert credited(callback) == [model.steps[3 * k][0] for k in range(10)]


@pytest.mark.parametrize(("every", "number"), [(4, 3), (4, 6), (2, 1)])
def test_a_number_that_does_not_fit_is_refused(every, number):
    with pytest.raises(MisconfigurationException, match=rf"after {number} batches of task '.*as a multiple"):
        fit(Manual(every, backward="by itself"), batches_per_draw=number)
    with pytest.raises(MisconfigurationException, match=r"gradients that were begun before .*batches_per_draw=N"):
        fit(Manual(every), batches_per_draw=number)


def test_the_end_of_an_epoch_ends_a_draw_where_the_module_steps_there():
    model = Manual(4, at_end=True)
    callback = fit(model, epochs=2, steps=10, batches_per_draw=4)
    assert [len(tasks) for tasks in model.steps] == [4, 4, 2, 4, 4, 2]
    assert credited(callback) == [tasks[0] for tasks in model.steps]
    with pytest.raises(MisconfigurationException, match=r"after 2 batches .*at the end of an epoch.*is_last_batch"):
        fit(Manual(4, backward="by itself"), steps=10, batches_per_draw=4)
    with pytest.raises(MisconfigurationException, match=r"gradients that were begun before"):
        fit(Manual(4), steps=10, epochs=2, batches_per_draw=4)


def test_the_loss_is_measured_over_all_batches_of_the_draw():
    model = Losing(3)
    callback = fit(model, signal=PredictionGain())
    assert callback.history.steps == 20
    for task, gain in zip(credited(callback), callback.history.column("progress"), strict=True):
        assert gain == 0.0 if task == "dead" else gain > 0


class Skipping(Manual):
    """Leaves some batches out."""

    def training_step(self, batch, batch_idx):
        if batch_idx % 5 == 2:
            return
        super().training_step(batch, batch_idx)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_that_is_left_out_teaches_nothing_and_nobody_is_told_off(workers, caplog):
    callback = fit(Skipping(), workers=workers)
    assert callback.history.steps == 48
    assert callback.teacher.draws == 60
    assert not callback.teacher.open_draws()
    assert not [message for message in caplog.messages if "finite" in message]


class Spikes(Manual):
    """Leaves some steps out once the gradients are there, as where a loss has a spike."""

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        if batch_idx % 7 != 3:
            optimizer.step()


@pytest.mark.parametrize(("workers", "options"), [(0, {"batches_per_draw": 1}), (1, {}), (1, {"batches_per_draw": 1})])
def test_steps_that_are_left_out_and_cleared_are_not_refused(workers, options):
    callback = fit(Spikes(), workers=workers, **options)
    assert callback.history.steps == 51
    assert not callback.teacher.open_draws()


class Raw(Manual):
    """Steps an optimiser past the trainer."""

    def __init__(self, way):
        super().__init__()
        self.way = way

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers(use_pl_optimizer=False) if self.way == "option" else self.optimizers().optimizer
        optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        optimizer.step()


@pytest.mark.parametrize("way", ["option", "attribute"])
@pytest.mark.parametrize("workers", [0, 1])
def test_steps_past_the_trainer_are_refused(way, workers):
    with pytest.raises(MisconfigurationException, match=r"Raw steps SGD past the trainer.*self.optimizers\(\) returns"):
        fit(Raw(way), workers=workers)


class OfItsOwn(Manual):
    """Has an optimiser that nobody knows of."""

    def training_step(self, batch, batch_idx):
        own = torch.optim.SGD(self.parameters(), lr=0.01)
        self.manual_backward(self.loss(batch))
        own.step()
        own.zero_grad()


def test_a_training_without_a_step_is_told(caplog):
    fit(OfItsOwn(), steps=150)
    assert sum("in 100 batches training_step made no optimiser step" in message for message in caplog.messages) == 1


class Clipping(Manual):
    """Clips by hand, as Lightning's page on manual optimisation says."""

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        self.clip_gradients(optimizer, gradient_clip_val=0.1, gradient_clip_algorithm="norm")
        optimizer.step()


class Clipped(Manual):
    """The same by the trainer."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = True

    def training_step(self, batch, batch_idx):
        return self.loss(batch)


@pytest.mark.parametrize("signal", [FirstOrderPredictionGain, GradientPredictionGain])
def test_gains_are_of_the_gradients_before_they_are_clipped_by_hand(signal):
    torch.manual_seed(0)
    by_hand = fit(Clipping(), signal=signal())
    callback = CurriculumCallback(FixedPolicy.uniform(), signal(), seed=1)
    loader = CurriculumLoader(TASKS, batch_size=8, steps_per_epoch=60)
    fitter = trainer(callback, max_epochs=1, gradient_clip_val=0.1)
    torch.manual_seed(0)
    fitter.fit(Clipped(), loader)
    torch.testing.assert_close(by_hand.history.column("progress"), callback.history.column("progress"))
    assert len(set(callback.history.column("progress").tolist())) > 30
    assert "clip_gradients" not in vars(fitter.precision_plugin)


class Cleared(Clipped):
    """Accumulates by Lightning's hooks, as its page on them says."""

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
        if (batch_idx + 1) % 2 == 0:
            optimizer.step(closure=optimizer_closure)
        else:
            optimizer_closure()

    def optimizer_zero_grad(self, epoch, batch_idx, optimizer):
        if batch_idx % 2 == 0:
            optimizer.zero_grad()


def test_accumulation_by_hooks_is_refused():
    with pytest.raises(MisconfigurationException, match=r"gradients that were begun before.*accumulate_grad_batches=N"):
        fit(Cleared())


class Thorough(Clipped):
    """Clears its gradients in another way."""

    def optimizer_zero_grad(self, epoch, batch_idx, optimizer):
        optimizer.zero_grad(set_to_none=False)


def test_gradients_that_are_cleared_in_another_way_are_as_good():
    assert fit(Thorough()).history.steps == 60


class Adversarial(pl.LightningModule):
    """A generator that steps every so many batches and a discriminator that steps at every one."""

    def __init__(self, every, *, accumulates):
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator = nn.Linear(4, 4), nn.Linear(4, 1)
        self.every, self.accumulates = every, accumulates

    def training_step(self, batch, batch_idx):
        ours, theirs = self.optimizers()
        real, softplus = batch[0], nn.functional.softplus
        theirs.zero_grad()
        fake = self.generator(real)  # not detached: gradients that are thrown away reach the generator
        self.manual_backward((softplus(self.discriminator(fake)) + softplus(-self.discriminator(real))).mean())
        theirs.step()
        due = (batch_idx + 1) % self.every == 0
        if due or self.accumulates:
            if not self.accumulates or batch_idx % self.every == 0:
                ours.zero_grad()
            self.manual_backward(softplus(-self.discriminator(self.generator(real))).mean())
        if due:
            ours.step()

    def configure_optimizers(self):
        return torch.optim.SGD(self.generator.parameters(), 0.05), torch.optim.SGD(
            self.discriminator.parameters(), 0.05
        )


@pytest.mark.parametrize("signal", [FirstOrderPredictionGain, GradientPredictionGain])
def test_optimisers_that_step_at_different_times_have_a_draw_per_batch(signal):
    callback = fit(Adversarial(5, accumulates=False), signal=signal())
    assert callback.history.steps == 60
    assert all(map(math.isfinite, callback.history.column("progress")))


def test_gradients_of_one_optimiser_that_span_draws_are_refused_and_a_number_mends_it():
    with pytest.raises(
        MisconfigurationException,
        match=r"SGD \(number 0 of the module\) makes a step on gradients that were begun before",
    ):
        fit(Adversarial(4, accumulates=True))
    callback = fit(Adversarial(4, accumulates=True), batches_per_draw=4)
    assert callback.history.steps == 15


def test_gradients_that_are_never_cleared_are_refused():
    class Careless(Manual):
        def training_step(self, batch, batch_idx):
            self.manual_backward(self.loss(batch))
            self.optimizers().step()

    with pytest.raises(MisconfigurationException, match=r"left over from an earlier step, call zero_grad\(\)"):
        fit(Careless())


def test_the_option_is_for_manual_optimisation():
    from tests.models import Linear

    with pytest.raises(
        MisconfigurationException, match=r"batches_per_draw=2 is for manual optimisation.*accumulate_grad"
    ):
        fit(Linear(4), batches_per_draw=2)


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("batches_per_draw", 0, ValueError),
        ("batches_per_draw", 2.0, TypeError),
        ("horizon", 0, ValueError),
        ("horizon", "many", TypeError),
    ],
)
def test_options_that_cannot_be_right_are_refused_at_once(option, value, error):
    with pytest.raises(error, match=option):
        CurriculumCallback(**{option: value})


def test_the_horizon_is_the_number_of_draws():
    def horizon(model, **options):
        callback = CurriculumCallback(**options)
        loader = CurriculumLoader(TASKS, batch_size=8, steps_per_epoch=14)
        trainer(callback, max_steps=42).fit(model, loader)
        return callback.teacher.bandit.horizon, callback.history.steps

    class Thrice(Manual):
        def training_step(self, batch, batch_idx):
            for _ in range(3):
                super().training_step(batch, batch_idx)

    assert horizon(Thrice()) == (42, 14)
    assert horizon(Thrice(), horizon=14) == (14, 14)


def test_gradients_of_zeros_are_none():
    layer = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    assert not has_gradients(optimizer)
    layer(torch.ones(1, 2)).sum().backward()
    assert has_gradients(optimizer)
    optimizer.zero_grad(set_to_none=False)
    assert not has_gradients(optimizer)
