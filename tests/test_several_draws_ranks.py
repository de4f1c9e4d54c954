"""Several processes with several draws per step: one curriculum, one collective, every reward at its own draw."""

from __future__ import annotations

import math

import numpy as np
import pytorch_lightning as pl
import torch

from curricula import CurriculumCallback
from curricula.bandits import Exp3S
from curricula.signals import PredictionGain
from tests.ranks import on_ranks
from tests.test_independent_ranks import Gathered
from tests.test_ranks import Recorder, make_loader, make_trainer

STEPS = 24


class Kept(PredictionGain):
    """Writes down what this rank measured."""

    def __init__(self):
        self.measured = []

    def after_step_per_draw(self, step):
        gains = super().after_step_per_draw(step)
        self.measured.append(gains)
        return gains


class PerSample(Recorder):
    """A loss for every sample; in every fifth batch that of the second rank's first slot is not finite."""

    def training_step(self, batch, batch_idx):
        inputs, targets, rows = batch
        losses = (self.layer(inputs) - targets).square().mean(dim=1)
        if torch.is_grad_enabled():
            self.samples.append(rows[:, 0].int().tolist())
        told = losses.clone()
        if batch_idx % 5 == 4 and self.global_rank == 1:
            told[0] = math.nan
        return {"loss": losses.mean(), "losses": told}


def train(folder, independent, redraw):
    pl.seed_everything(0, verbose=False)
    signal = Kept()
    callback = CurriculumCallback(Exp3S(eta=0.05, epsilon=0.2), signal, seed=4, independent_ranks=independent)
    hashes, model = Gathered(callback), PerSample()
    batches = 2 if redraw == "batch" else 1
    fitter = make_trainer(callback, hashes, max_steps=STEPS, accumulate_grad_batches=batches)
    loader = make_loader(8 * fitter.world_size, fitter.world_size, draws_per_batch=2, redraw=redraw)
    fitter.fit(model, loader)
    history = callback.history
    return {
        "arms": history.column("arm").astype(int).tolist(),
        "progress": history.column("progress").tolist(),
        "measured": signal.measured,
        "samples": model.samples,
        "digests": hashes.digests,
        "sent": [number for number in hashes.reduced if abs(number) == 40 + 40 * 2 * batches],
        "skipped": sum(callback.teacher.skipped),
        "updates": callback.teacher.updates,
        "open": len(callback.teacher.open_draws()),
        "draws_per_step": callback.teacher.bandit.draws_per_step,
    }


def test_ranks_agree_on_every_draw_of_a_step(tmp_path):
    shared, apart = on_ranks(train, tmp_path, (2, [False, "step"]), (2, [True, "batch"]))
    for ranks, draws, size in ((shared, 2, 120), (apart, 8, 200)):
        for rank in ranks:
            assert rank["digests"] == ranks[0]["digests"], "one curriculum after every batch"
            assert rank["arms"] == ranks[0]["arms"]
            assert (rank["updates"], rank["open"], rank["draws_per_step"]) == (STEPS, 0, draws)
            assert len(rank["arms"]) == STEPS * draws
            assert [abs(number) for number in rank["sent"]] == [size] * STEPS, "one collective per step"
    check_shared(shared)
    check_apart(apart)


def check_shared(ranks):
    """The progress of a shared draw is the mean over the ranks; not finite on one, it is so for all."""
    first, second = (np.array(rank["measured"]) for rank in ranks)
    expected = ((first + second) / 2).ravel()
    assert np.isnan(expected).nonzero()[0].tolist() == [8, 18, 28, 38]
    assert np.array_equal(np.array(ranks[0]["progress"]), expected, equal_nan=True)
    assert ranks[0]["skipped"] == 4
    for rank in ranks:
        assert rank["samples"] == [
            [rank["arms"][2 * step + slot] for slot in (0, 1) for _ in range(4)] for step in range(STEPS)
        ]


def check_apart(ranks):
    """Every draw has the progress of its own rank and batch, in the order in which the draws were made."""
    progress = np.array(ranks[0]["progress"]).reshape(STEPS, 2, 2, 2)  # step, batch, rank, slot
    arms = np.array(ranks[0]["arms"]).reshape(STEPS, 2, 2, 2)
    for place, rank in enumerate(ranks):
        measured = np.array(rank["measured"]).reshape(STEPS, 2, 2)
        assert np.array_equal(progress[:, :, place], measured, equal_nan=True)
        expected = arms[:, :, place].reshape(2 * STEPS, 2).repeat(4, axis=1)
        assert rank["samples"] == expected.tolist()
    assert ranks[0]["skipped"] == np.isnan(progress[:, :, 1, 0]).sum() > 0
    assert not np.isnan(progress[:, :, 0]).any()
