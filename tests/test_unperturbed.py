"""With uniform draws the training is the same, bit by bit, with the callback or without."""

from __future__ import annotations

import random

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger

from curricula import CurriculumCallback, CurriculumLoader, Teacher
from curricula.bandits import FixedPolicy
from curricula.signals import FirstOrderPredictionGain, GradientPredictionGain, MeanPredictionGain, PredictionGain
from tests.models import Noisy, noisy_tasks, trainer

OPTIONS = [
    {},
    {"num_workers": 2},
    {"accumulate_grad_batches": 3},
    {"precision": "bf16-mixed"},
    {"limit_train_batches": 7, "gradient_clip_val": 0.5},
]


class Everything(Noisy):
    """Draws from every global stream, and keeps state that a second forward pass would change."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.losses = []
        self.register_buffer("running", torch.zeros(()))

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        noise = random.random() + float(np.random.rand())  # noqa: NPY002 - the global stream is the point
        loss = super().training_step((inputs + 0.01 * noise, targets), batch_idx)
        self.calls += 1
        self.losses.append(float(loss.detach()))
        self.running += loss.detach()
        self.log_dict({"noise": noise, "calls": float(self.calls)})
        return loss


def run(callbacks, folder, **options):
    pl.seed_everything(3, verbose=False)
    loader = CurriculumLoader(
        noisy_tasks(), batch_size=8, steps_per_epoch=10, num_workers=options.pop("num_workers", 0)
    )
    if not callbacks:  # without the callback the loader cannot know how many batches make a step
        teacher = Teacher(loader.names, bandit=FixedPolicy.uniform())
        loader.attach(teacher, micro_batches=lambda: options.get("accumulate_grad_batches", 1))
    model = Everything()
    logger = CSVLogger(folder)
    fitter = trainer(*callbacks, max_epochs=3, log_every_n_steps=1, **{**options, "logger": logger})
    fitter.fit(model, loader)
    fitter.save_checkpoint(folder / "last.ckpt")
    streams = (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    metrics = {key: float(value) for key, value in fitter.callback_metrics.items()}
    rows = [{k: v for k, v in row.items() if not k.startswith("curriculum/")} for row in logger.experiment.metrics]
    checkpoint = torch.load(folder / "last.ckpt", weights_only=True)
    return model, streams, metrics, [row for row in rows if len(row) > 1], checkpoint


@pytest.mark.parametrize(
    "signal", [PredictionGain, GradientPredictionGain, FirstOrderPredictionGain, MeanPredictionGain]
)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_callback_leaves_no_trace_in_the_training(signal, options, tmp_path):
    model, streams, metrics, rows, checkpoint = run([], tmp_path / "without", **options)
    callback = CurriculumCallback(FixedPolicy.uniform(), signal())
    own_model, own_streams, own_metrics, own_rows, own_checkpoint = run([callback], tmp_path / "with", **options)

    assert callback.history.steps > 0
    for name, value in model.state_dict().items():
        assert torch.equal(value, own_model.state_dict()[name]), name
    assert own_streams == streams
    assert own_metrics == metrics
    assert own_rows == rows
    assert (own_model.calls, own_model.losses) == (model.calls, model.losses)
    assert own_checkpoint["callbacks"].keys() - checkpoint["callbacks"].keys() == {"CurriculumCallback"}
    assert own_checkpoint.keys() == checkpoint.keys()
    assert str(own_checkpoint["optimizer_states"]) == str(checkpoint["optimizer_states"])
    assert own_checkpoint["lr_schedulers"] == checkpoint["lr_schedulers"]
    progress = {key: value for key, value in checkpoint["loops"]["fit_loop"].items() if key != "state_dict"}
    own_progress = {key: value for key, value in own_checkpoint["loops"]["fit_loop"].items() if key != "state_dict"}
    assert own_progress == progress


def test_the_check_can_fail(tmp_path):
    class Careless(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            with torch.no_grad():
                pl_module.training_step(batch, batch_idx)

    model, streams, *_ = run([], tmp_path / "without")
    other, other_streams, *_ = run([Careless()], tmp_path / "with")
    assert other_streams != streams
    assert not torch.equal(other.network[1].running_mean, model.network[1].running_mean)
