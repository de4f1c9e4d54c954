"""First-order prediction gain of each draw of a step, from the gradients of its samples."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import nn

from curricula import CurriculumCallback
from curricula.bandits import Exp3S, FixedPolicy
from curricula.signals import FirstOrderPredictionGain
from tests.models import trainer
from tests.test_several_draws import Quadratic, loader, rows


class Layer(pl.LightningModule):
    """The losses of the tasks, by one weight each, in a layer; it writes down the weights between steps."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1, bias=False, dtype=torch.float64)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[1.0, -2.0, 3.0, 0.5]]))
        self.weights = [self.weight()]

    def weight(self):
        return self.layer.weight.detach().flatten().tolist()

    def losses(self, batch):
        return 0.5 * self.layer(batch).flatten().square()

    def training_step(self, batch, batch_idx):
        return self.losses(batch).mean()

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if self.weight() != self.weights[-1]:
            self.weights.append(self.weight())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.1)


class ByHand(Layer):
    """Optimises manually, so often in every batch."""

    def __init__(self, steps=1):
        super().__init__()
        self.automatic_optimization = False
        self.steps = steps

    def training_step(self, batch, batch_idx):
        for _ in range(self.steps):
            self.optimizers().zero_grad()
            self.manual_backward(super().training_step(batch, batch_idx))
            self.optimizers().step()


def fit(model, data, **options):
    callback = CurriculumCallback(Exp3S(eta=0.1, epsilon=0.2), FirstOrderPredictionGain(), seed=5)
    trainer(callback, **{"max_epochs": 1, **options}).fit(model, data)
    return callback


def check(callback, model, rel=1e-9):
    """A draw's gain is the inner product of its task's gradient and the step that was made."""
    steps = rows(callback)
    assert len(model.weights) == len(steps) + 1
    for draws, before, after in zip(steps, model.weights, model.weights[1:], strict=False):
        for arm, progress, *_ in draws:
            old, new = before[int(arm)], after[int(arm)]
            assert progress == pytest.approx(-old * (new - old), rel=rel, abs=1e-12)


@pytest.mark.parametrize("draws", [2, 4, 8])
def test_every_draw_has_the_gain_of_its_own_samples(draws):
    model = Layer()
    check(fit(model, loader(draws)), model)


@pytest.mark.parametrize("redraw", ["step", "batch"])
@pytest.mark.parametrize("draws", [1, 4])
def test_under_accumulation_too(draws, redraw):
    model = Layer()
    callback = fit(model, loader(draws, redraw=redraw), accumulate_grad_batches=3)
    assert {len(draws) for draws in rows(callback)} == {draws * (3 if redraw == "batch" else 1)}
    check(callback, model)


def test_under_manual_optimisation_too():
    model = ByHand()
    check(fit(model, loader(4)), model)


def test_under_clipping_it_is_the_step_that_was_made():
    model = Layer()
    check(fit(model, loader(4), gradient_clip_val=0.01), model)


def test_under_mixed_precision_gradients_are_unscaled():
    model = Layer()
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**10))
    callback = fit(model, loader(4), plugins=[plugin], accumulate_grad_batches=2)
    check(callback, model, rel=0.01)


def test_several_optimiser_steps_in_a_batch_are_refused():
    with pytest.raises(RuntimeError, match="where it has one optimiser step, and this one has several: use Prediction"):
        fit(ByHand(2), loader(4))


def test_parameters_without_gradients_of_samples_are_told_once(caplog):
    class Half(Layer):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4, dtype=torch.float64))

        def losses(self, batch):
            return super().losses(batch * self.scale)

    with caplog.at_level(logging.WARNING, logger="curricula"):
        callback = fit(Half(), loader(4))
    (message,) = [text for text in caplog.messages if "gains of the draws" in text]
    assert message.startswith("the gains of the draws are those by 50 % of the parameters")
    assert "scale: Half is none of the covered layers" in message
    assert np.isfinite(callback.history.column("progress")).all()
    with pytest.raises(
        RuntimeError, match=r"none for any parameter \(weight: Quadratic is none.*use PredictionGain\(\)"
    ):
        fit(Quadratic(), loader(4))


def test_training_is_the_same_bit_by_bit_and_no_hook_stays():
    weights = []
    for own in ([], [CurriculumCallback(FixedPolicy.uniform(), FirstOrderPredictionGain())]):
        pl.seed_everything(0, verbose=False)
        model = Layer()
        trainer(*own, max_epochs=2, accumulate_grad_batches=2).fit(model, loader(4, redraw="batch"))
        weights.append((model.weights, torch.rand(2).tolist()))
        assert not hooks_of(model)
    assert weights[0] == weights[1]


def hooks_of(model):
    return [hook for part in model.modules() for hook in (*part._forward_hooks, *part._forward_pre_hooks)]


def test_after_an_error_no_hook_stays():
    class Failing(Layer):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            assert hooks_of(self)
            if batch_idx == 2:
                raise KeyError("in the middle")
            return loss

        def on_train_batch_end(self, outputs, batch, batch_idx):
            assert not hooks_of(self), "only while it watches"

    model = Failing()
    with pytest.raises(KeyError):
        fit(model, loader(4), accumulate_grad_batches=2)
    assert not hooks_of(model)


def test_a_batch_that_tells_no_number_of_samples_is_refused():
    class Odd(Layer):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch["inputs"], batch_idx)

    def collate(samples):
        return {"inputs": torch.stack(samples), "step": torch.zeros(3)}

    with pytest.raises(RuntimeError, match=r"the number of samples in a batch cannot be told from what it holds \(d"):
        fit(Odd(), loader(1, redraw="batch", collate_fn=collate), accumulate_grad_batches=2)
    callback = fit(Odd(), loader(4, collate_fn=collate))
    assert np.isfinite(callback.history.column("progress")).all(), "the loader knows how many there are"
