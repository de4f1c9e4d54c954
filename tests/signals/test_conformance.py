"""What every signal must do. One exported from ``curricula.signals`` is tested here from the moment it exists."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

import curricula.signals
from curricula import CurriculumCallback, CurriculumLoader, Teacher
from curricula.bandits import FixedPolicy
from curricula.signals import Signal
from tests.models import Noisy, noisy_tasks, trainer
from tests.variational.models import VariationalNoisy

STEPS = 20


class FallOfTheLossElsewhere(Signal):
    """A signal of the user's own: how much the loss on a batch kept aside fell by the step."""

    needs_gradients = True

    def __init__(self):
        inputs = torch.linspace(-1.0, 1.0, 32).reshape(8, 4)
        self.held_out = inputs, inputs.sum(dim=1, keepdim=True)

    def before_step(self, step):
        step.notes["old"] = step.probe_loss(self.held_out)

    def after_step(self, step):
        return step.notes["old"] - step.probe_loss(self.held_out)


class Loss(Signal):
    """The smallest one."""

    needs_loss = True

    def after_step(self, step):
        return step.loss


def signal_classes():
    exported = [getattr(curricula.signals, name) for name in curricula.signals.__all__]
    return [
        kind
        for kind in exported
        if isinstance(kind, type) and issubclass(kind, Signal) and not inspect.isabstract(kind)
    ]


every_signal = pytest.mark.parametrize("kind", [*signal_classes(), FallOfTheLossElsewhere, Loss])


def model_for(kind):
    """A model that the signal can work with."""
    return VariationalNoisy if "Variational" in kind.__name__ else Noisy


def least_options(kind):
    """What the trainer must have for the signal."""
    return {"accumulate_grad_batches": 2} if kind.needs_micro_batches else {}


def fit(kind=None, model=Noisy, **options):
    """Train under uniform draws, with a signal or without; return what was measured and all that was trained."""
    pl.seed_everything(7, verbose=False)
    loader = CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=10)
    callbacks = []
    if kind is None:
        micro_batches = options.get("accumulate_grad_batches", 1)
        loader.attach(Teacher(loader.names, bandit=FixedPolicy.uniform()), micro_batches=lambda: micro_batches)
    else:
        target = "b" if kind.needs_target else None
        callbacks = [CurriculumCallback(FixedPolicy.uniform(), kind(), target=target)]
    model = model()
    fitter = trainer(*callbacks, max_steps=STEPS, **options)
    fitter.fit(model, loader)
    optimizer = str(fitter.optimizers[0].state_dict()["state"])
    progress = callbacks[0].history.column("progress") if callbacks else None
    return progress, {**model.state_dict(), "random": torch.get_rng_state()}, optimizer


def test_the_known_signals_are_found():
    assert {"PredictionGain", "GradientPredictionGain"} <= {kind.__name__ for kind in signal_classes()}


@every_signal
@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}, {"gradient_clip_val": 0.1}], ids=str)
def test_it_measures_every_step_and_leaves_the_training_as_it_is(kind, options):
    options = {**least_options(kind), **options}
    model = model_for(kind)
    _, expected, optimizer = fit(model=model, **options)
    progress, trained, own_optimizer = fit(kind, model, **options)
    assert len(progress) == STEPS
    assert np.isfinite(progress).all()
    assert len(set(progress.tolist())) > STEPS // 2, "it measures something"
    for name, value in expected.items():
        assert torch.equal(trained[name], value), name
    assert own_optimizer == optimizer


@every_signal
def test_it_measures_the_same_again(kind):
    first, second = (fit(kind, model_for(kind), **least_options(kind))[0] for _ in range(2))
    assert first.tolist() == second.tolist()


@every_signal
def test_it_keeps_nothing_of_a_run_that_would_disturb_the_next(kind):
    signal = kind()
    target = "b" if kind.needs_target else None
    columns = []
    for _ in range(2):
        pl.seed_everything(7, verbose=False)
        callback = CurriculumCallback(FixedPolicy.uniform(), signal, target=target)
        loader = CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=10)
        trainer(callback, max_steps=STEPS, **least_options(kind)).fit(model_for(kind)(), loader)
        columns.append(callback.history.column("progress").tolist())
    assert columns[0] == columns[1]
