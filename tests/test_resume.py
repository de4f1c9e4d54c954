"""A run that was interrupted goes on as if it had not been."""

from __future__ import annotations

import logging

import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import ModelCheckpoint

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import Exp3, Exp3S
from curricula.rewards import QuantileScaler
from curricula.signals import MeanPredictionGain, PredictionGain
from tests.models import Linear, noisy_tasks, tasks_of_constants, trainer

STEPS = 24


def loader(workers=0, **options):
    return CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=10, num_workers=workers, **options)


def callback(signal=None):
    return CurriculumCallback(Exp3S(beta=0.05), signal, QuantileScaler(window=15, warmup=3))


def fit(own, data, *others, ckpt_path=None, **options):
    pl.seed_everything(0, verbose=False)
    model = Linear(4)
    fitter = trainer(own, *others, max_steps=STEPS, **options)
    fitter.fit(model, data, ckpt_path=ckpt_path)
    return model


@pytest.mark.parametrize(
    "options", [{}, {"workers": 2}, {"accumulate_grad_batches": 2}, {"signal": MeanPredictionGain}], ids=str
)
def test_a_resumed_run_is_exact_from_every_step(options, tmp_path):
    options = dict(options)
    workers, signal = options.pop("workers", 0), options.pop("signal", PredictionGain)
    saver = ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=1, filename="{step}")
    whole = callback(signal())
    model = fit(whole, loader(workers), saver, enable_checkpointing=True, **options)
    points = range(1, STEPS, 5 if workers else 1)
    for step in points:
        resumed = callback(signal())
        other = fit(resumed, loader(workers), ckpt_path=tmp_path / f"step={step}.ckpt", **options)
        assert resumed.history.column("arm").tolist() == whole.history.column("arm").tolist(), step
        assert resumed.history.column("progress").tolist() == whole.history.column("progress").tolist(), step
        assert resumed.teacher.state_dict() == whole.teacher.state_dict(), step
        assert torch.equal(other.layer.weight, model.layer.weight), step


@pytest.fixture
def checkpoint(tmp_path):
    fitter = trainer(callback(), max_steps=13)
    fitter.fit(Linear(4), loader())
    fitter.save_checkpoint(tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_the_checkpoint_loads_without_pickled_code(checkpoint):
    assert "CurriculumCallback" in torch.load(checkpoint, weights_only=True)["callbacks"]


def test_a_checkpoint_of_other_tasks_is_refused(checkpoint):
    other = CurriculumLoader(tasks_of_constants(["a", "b", "x"], width=4), batch_size=8, steps_per_epoch=10)
    with pytest.raises(
        Exception, match=r"the checkpoint's curriculum has other tasks \(missing now: \['c', 'd'\]; new: \['x'\]\)"
    ):
        fit(callback(), other, ckpt_path=checkpoint)


def test_a_checkpoint_of_another_bandit_is_refused(checkpoint):
    with pytest.raises(MisconfigurationException, match="the state is of the bandit 'Exp3S', this one is 'Exp3'"):
        fit(CurriculumCallback(Exp3()), loader(), ckpt_path=checkpoint)


def test_a_damaged_checkpoint_is_refused(checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    bandit = content["callbacks"]["CurriculumCallback"]["teacher"]["content"]["bandit"]
    bandit["updates"] ^= 1
    torch.save(content, checkpoint)
    with pytest.raises(MisconfigurationException, match="the teacher state is damaged"):
        fit(callback(), loader(), ckpt_path=checkpoint)


def test_a_checkpoint_without_a_curriculum_is_told(tmp_path, caplog):
    fitter = trainer(max_steps=13)
    fitter.fit(Linear(4), loader())
    fitter.save_checkpoint(tmp_path / "plain.ckpt")
    own = callback()
    with caplog.at_level(logging.WARNING, logger="curricula"):
        fit(own, loader(), ckpt_path=tmp_path / "plain.ckpt")
    assert any("has no curriculum state" in message for message in caplog.messages)
    assert own.teacher.updates == STEPS - 13
