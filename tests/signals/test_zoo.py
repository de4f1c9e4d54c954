"""What is run again starts from what the step started from, whatever the module keeps, draws or writes to."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch

from curricula.signals import MeanPredictionGain, PredictionGain, SelfPredictionGain, TargetPredictionGain
from curricula.testing.training import regressions, train
from tests.signals.zoo import ZOO

STEPS = 6
SIGNALS = [PredictionGain, SelfPredictionGain, TargetPredictionGain, MeanPredictionGain]


class Memory(pl.Callback):
    """Writes down what the module keeps, and the generators, after every batch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        options = [
            {name: value for name, value in group.items() if name != "params"}
            for optimizer in trainer.optimizers
            for group in optimizer.param_groups
        ]
        self.seen.append(str((pl_module.memory(), options, trainer.global_step, outputs)))


def run(name, signal, lr=0.05):
    memory = Memory()
    options = getattr(ZOO[name], "options", {})
    training = train(
        signal,
        lambda: ZOO[name](lr=lr),
        regressions(),
        memory,
        target="b" if signal is not None and signal.needs_target else None,
        steps=STEPS,
        **options,
    )
    return training, memory.seen


@pytest.fixture(autouse=True)
def _compile_anew():
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ZOO)
def test_where_nothing_is_learned_every_gain_is_nought(name):
    for kind in SIGNALS:
        training, _ = run(name, kind(), lr=0.0)
        assert training.progress == [0.0] * STEPS, kind.__name__


@pytest.mark.parametrize("name", ZOO)
def test_nothing_of_the_users_differs_with_the_probe(name):
    without, memory = run(name, None)
    for kind in (PredictionGain, SelfPredictionGain):
        own, own_memory = run(name, kind())
        assert own.traces == without.traces, kind.__name__
        assert own_memory == memory, kind.__name__
        assert 0.0 not in own.progress, "the gains can differ from nought"
