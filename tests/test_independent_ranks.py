"""Every rank draws tasks of its own from the one policy: one curriculum still, and every reward at its own draw."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from curricula import CurriculumCallback, signals
from curricula.bandits import Exp3S
from curricula.setups import check_independent
from curricula.signals import PredictionGain
from tests.models import trainer
from tests.ranks import on_ranks
from tests.test_ranks import SIZES, Hashes, Recorder, make_loader, make_trainer


class Kept(PredictionGain):
    """Writes down what this rank measured."""

    def __init__(self):
        self.measured = []

    def after_step(self, step):
        self.measured.append(super().after_step(step))
        return self.measured[-1]


class Gathered(Hashes):
    """Counts what is gathered as well."""

    def on_train_start(self, trainer, pl_module):
        super().on_train_start(trainer, pl_module)
        self.all_gather = torch.distributed.all_gather_into_tensor
        torch.distributed.all_gather_into_tensor = self.counted_gather

    def on_train_end(self, trainer, pl_module):
        super().on_train_end(trainer, pl_module)
        torch.distributed.all_gather_into_tensor = self.all_gather

    def counted_gather(self, received, sent, *args, **options):
        self.reduced.append(-sent.nbytes)
        return self.all_gather(received, sent, *args, **options)


class Broken(Recorder):
    """A loss that is not finite on the second rank, in every fifth batch."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return loss * math.nan if batch_idx % 5 == 4 and self.global_rank == 1 else loss

    def on_before_optimizer_step(self, optimizer):
        for parameter in self.parameters():
            parameter.grad.nan_to_num_()


def train(folder, steps, resume=None, save=None, independent=True, model=Recorder, accumulate=1, **options):
    pl.seed_everything(0, verbose=False)
    signal = Kept()
    callback = CurriculumCallback(Exp3S(eta=0.05, epsilon=0.2), signal, seed=4, independent_ranks=independent)
    hashes = Gathered(callback)
    fitted = model()
    fitter = make_trainer(callback, hashes, max_steps=steps, accumulate_grad_batches=accumulate)
    loader = make_loader(4 * fitter.world_size, fitter.world_size, **options)
    fitter.fit(fitted, loader, ckpt_path=None if resume is None else folder / resume)
    if save is not None:
        fitter.save_checkpoint(folder / save)
    return {
        "arms": callback.history.column("arm").astype(int).tolist(),
        "steps": callback.history.column("step").astype(int).tolist(),
        "progress": callback.history.column("progress").tolist(),
        "measured": signal.measured,
        "digests": hashes.digests,
        "samples": fitted.samples,
        "weights": [value.tolist() for value in fitted.state_dict().values()],
        "sent": hashes.reduced,
        "updates": callback.teacher.updates,
        "skipped": sum(callback.teacher.skipped),
        "open": len(callback.teacher.open_draws()),
        "horizon": callback.teacher.bandit.horizon,
        "draws_per_step": callback.teacher.bandit.draws_per_step,
    }


def check_samples(ranks, steps, micro=1):
    """Every rank trains on the tasks it drew, and in every pass over a task each sample comes once."""
    taken = {}
    for number in range(steps * micro):
        for place, rank in enumerate(ranks):
            task, rows = rank["samples"][number]
            assert task == rank["arms"][number // micro * len(ranks) + place]
            taken.setdefault(list(SIZES)[task], []).extend(rows)
    for name, rows in taken.items():
        for start in range(0, len(rows) - SIZES[name] + 1, SIZES[name]):
            assert sorted(rows[start : start + SIZES[name]]) == list(range(SIZES[name])), name


@pytest.mark.parametrize("workers", [0, 1])
def test_ranks_draw_tasks_of_their_own_and_have_one_curriculum(workers, tmp_path):
    (ranks,) = on_ranks(train_with_workers, tmp_path, (3, [150, workers]))
    first = ranks[0]
    for place, rank in enumerate(ranks):
        assert rank["digests"] == first["digests"]
        assert rank["arms"] == first["arms"]
        assert rank["weights"] == first["weights"]
        assert rank["updates"] == rank["horizon"] == 150, "a step is one update, whatever the number of its draws"
        assert rank["draws_per_step"] == 3
        assert rank["open"] == 0
        assert rank["steps"] == [step for step in range(150) for _ in range(3)]
        assert rank["progress"][place::3] == rank["measured"], "every draw has the progress of the rank that made it"
        assert rank["sent"] == [-80] * 150, "one collective per step, of few bytes"
    by_step = [set(first["arms"][start : start + 3]) for start in range(0, 450, 3)]
    assert sum(len(arms) > 1 for arms in by_step) > 75
    check_samples(ranks, 150)


def train_with_workers(folder, steps, workers):
    return train(folder, steps, num_workers=workers)


def test_a_resumed_run_is_exact_and_another_number_of_ranks_goes_on(tmp_path):
    whole, part, rest, alone, together = on_ranks(
        train_part,
        tmp_path,
        (2, [40, None, None, True]),
        (2, [17, None, "17.ckpt", True]),
        (2, [40, "17.ckpt", None, True]),
        (1, [40, "17.ckpt", None, True]),
        (2, [40, "17.ckpt", None, False]),
    )
    assert part[0]["arms"] == whole[0]["arms"][:34]
    for ours, theirs in zip(rest, whole, strict=True):
        assert ours["arms"] == theirs["arms"]
        assert ours["progress"] == theirs["progress"]
        assert ours["samples"] == theirs["samples"][34:]
        assert ours["weights"] == theirs["weights"]
    for ranks in (alone, together):
        for rank in ranks:
            assert rank["arms"][:34] == whole[0]["arms"][:34]
            assert rank["updates"] == 40
            assert rank["open"] == 0
    assert together[0]["digests"] == together[1]["digests"]


def train_part(folder, steps, resume, save, independent):
    return train(folder, steps, resume, save, independent, accumulate=2)


def test_progress_that_is_not_finite_on_one_rank_costs_that_rank_s_draws_alone(tmp_path):
    (ranks,) = on_ranks(train_broken, tmp_path, (2, []))
    for rank in ranks:
        assert rank["skipped"] == 6
        assert rank["updates"] == 30, "the other rank's draw of the step is learned from"
        assert np.isnan(rank["progress"]).nonzero()[0].tolist() == list(range(9, 60, 10))
        assert rank["digests"] == ranks[0]["digests"]


def train_broken(folder):
    return train(folder, 30, model=Broken)


def test_with_one_process_it_is_as_without(tmp_path):
    runs = []
    for independent in (False, True):
        pl.seed_everything(0, verbose=False)
        callback = CurriculumCallback(signal=PredictionGain(), independent_ranks=independent)
        model = Recorder()
        trainer(callback, max_steps=20).fit(model, make_loader(8, 1))
        runs.append((model.samples, callback.teacher.state_dict()))
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    "name", ["FirstOrderPredictionGain", "GradientPredictionGain", "SelfPredictionGain", "L2Gain", "GradientL2Gain"]
)
def test_signals_that_cannot_tell_the_ranks_apart_are_refused(name):
    with pytest.raises(
        MisconfigurationException,
        match=rf"needs a signal of each rank's own batch, got {name}.* Use PredictionGain\(\)",
    ):
        trainer(CurriculumCallback(signal=getattr(signals, name)(), independent_ranks=True), max_steps=1).fit(
            Recorder(), make_loader(8, 1)
        )


def test_strategies_other_than_ddp_are_refused():
    class Fake:
        world_size = 2
        strategy = object()

    with pytest.raises(MisconfigurationException, match="independent_ranks=True is for DDPStrategy, got object"):
        check_independent(Fake(), PredictionGain())


def test_anything_but_true_and_false_is_refused():
    with pytest.raises(TypeError, match="independent_ranks must be True or False, got 'yes'"):
        CurriculumCallback(independent_ranks="yes")
