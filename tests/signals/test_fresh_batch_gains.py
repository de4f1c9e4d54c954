"""Self, target and mean prediction gain: the fall of the loss on a batch that was not trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch.utils.data import TensorDataset

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import FixedPolicy
from curricula.signals import MeanPredictionGain, SelfPredictionGain, TargetPredictionGain
from tests.models import Linear, Noisy, noisy_tasks, tasks_of_constants, trainer
from tests.signals.gains import STEPS, Exact

SIGNALS = {"self": SelfPredictionGain, "target": TargetPredictionGain, "mean": MeanPredictionGain}
every_signal = pytest.mark.parametrize("signal", SIGNALS.values(), ids=SIGNALS.keys())


def noting(signal):
    """The signal, with a list of the fresh batches and tasks it was measured on."""

    class Noting(signal):
        def __init__(self):
            self.batches, self.steps = [], []

        def after_step(self, step):
            fresh = step.notes.get("fresh", {}).values()
            self.batches += [batch for _, batch, _ in fresh] or [step.notes["batch"]]
            self.steps.append(step.task)
            return super().after_step(step)

    return Noting()


def fit(model, signal, tasks=None, target="c", seed=0, **options):
    callback = CurriculumCallback(FixedPolicy.uniform(), signal, target=target, seed=seed)
    loader = CurriculumLoader(tasks or noisy_tasks(), batch_size=8, steps_per_epoch=STEPS)
    trainer(callback, **{"max_epochs": 1, **options}).fit(model, loader)
    return callback


@every_signal
@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 3}], ids=str)
def test_it_is_the_fall_of_the_loss_on_the_fresh_batch(signal, options):
    model, own = Exact(0.05), noting(signal)
    callback = fit(model, own, **options)

    def loss(flat, batch):
        inputs, targets = (part.double() for part in batch)
        return float((inputs @ flat[:4, None] + flat[4] - targets).square().mean())

    by_hand = [
        loss(old, batch) - loss(new, batch)
        for old, new, batch in zip(model.before, model.after, own.batches, strict=True)
    ]
    assert callback.history.column("progress").tolist() == pytest.approx(by_hand, rel=1e-9)


@every_signal
def test_the_fresh_batch_is_of_the_task_it_should_be_of(signal):
    names = ["a", "b", "c", "d"]
    own = noting(signal)
    fit(Linear(), own, tasks_of_constants(names), target="c")
    sampled = [names[int(batch[0].mean())] for batch in own.batches]
    if signal is SelfPredictionGain:
        assert sampled == own.steps
    elif signal is TargetPredictionGain:
        assert set(sampled) == {"c"}
    else:
        assert len(set(sampled)) == 4
        assert sampled != own.steps


def test_mean_gain_asks_every_task_equally_often(any_seed):
    counts = np.zeros(4)
    own = noting(MeanPredictionGain)
    fit(Linear(), own, tasks_of_constants("abcd"), seed=any_seed, max_epochs=40)
    for batch in own.batches:
        counts[int(batch[0].mean())] += 1
    # Hoeffding: four frequencies of 480 draws, all within .16 of 1/4 but for a chance of 4 * 2 exp(-2 * 480 * .16**2)
    assert np.abs(counts / counts.sum() - 0.25).max() < 0.16


@every_signal
def test_the_training_stream_is_the_same_as_without(signal):
    def run(own):
        seen = []

        class Model(Noisy):
            def training_step(self, batch, batch_idx):
                if torch.is_grad_enabled():
                    seen.append(batch[0].tolist())
                return super().training_step(batch, batch_idx)

        torch.manual_seed(0)
        model = Model()
        callback = None if own is None else CurriculumCallback(FixedPolicy.uniform(), own, target="c")
        loader = CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=STEPS)
        trainer(*([callback] if callback else []), max_epochs=3).fit(model, loader)
        return seen, model.state_dict()

    seen, state = run(None)
    own_seen, own_state = run(signal())
    assert own_seen == seen
    assert all(torch.equal(own_state[name], value) for name, value in state.items())


def test_with_dropout_and_no_step_there_is_no_gain():
    class Still(Noisy):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.0)

    progress = fit(Still(), SelfPredictionGain()).history.column("progress")
    assert progress.tolist() == [0.0] * STEPS


@pytest.mark.parametrize("held_out", [TensorDataset(torch.full((16, 2), 7.0), torch.zeros(16, 1)), "loader"])
def test_the_target_may_be_held_out_data(held_out):
    if held_out == "loader":
        data = TensorDataset(torch.full((16, 2), 7.0), torch.zeros(16, 1))
        held_out = torch.utils.data.DataLoader(data, batch_size=4)
    own = noting(TargetPredictionGain)
    callback = fit(Linear(), own, tasks_of_constants("ab"), target=held_out)
    assert all((batch[0] == 7.0).all() for batch in own.batches)
    assert callback.history.target is None


def test_a_target_is_needed_at_set_up():
    with pytest.raises(MisconfigurationException, match="TargetPredictionGain needs a target task"):
        fit(Linear(), TargetPredictionGain(), tasks_of_constants("ab"), target=None)


@every_signal
def test_manual_optimisation_needs_a_loss_of_its_own(signal):
    class Manual(Linear):
        automatic_optimization = False

    with pytest.raises(MisconfigurationException, match="define `curriculum_loss"):
        fit(Manual(), signal(), tasks_of_constants("abc"))
