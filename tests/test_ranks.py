"""Several processes on the CPU, started as torchrun starts them: one curriculum, whatever happens."""

from __future__ import annotations

import itertools
import os
import warnings
from datetime import timedelta

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy

from curricula import CurriculumCallback, CurriculumLoader
from curricula.agreement import check_agreement
from curricula.bandits import Exp3S
from tests.models import Linear, Rows, StreamedRows, trainer
from tests.ranks import on_ranks

SIZES = {"large": 96, "small": 24, "tiny": 5, "stream": 48}


def collate(rows):
    """Keep task and index of every sample beside what is trained on."""
    numbers = torch.tensor(rows, dtype=torch.float32)
    return torch.cat([numbers / 50, numbers.square() / 2500], dim=1), numbers[:, 1:] / 50, numbers


class Recorder(Linear):
    """Linear regression that writes down the samples of its rank."""

    def __init__(self):
        super().__init__(4)
        self.samples = []

    def training_step(self, batch, batch_idx):
        *pair, rows = batch
        self.samples.append([int(rows[0, 0]), rows[:, 1].int().tolist()])
        return super().training_step(pair, batch_idx)


class Hashes(pl.Callback):
    """Writes down the digest of the curriculum after every step, and the bytes of everything that is reduced."""

    def __init__(self, callback):
        self.callback = callback
        self.digests = []
        self.reduced = []
        self.all_reduce = torch.distributed.all_reduce

    def on_train_start(self, trainer, pl_module):
        torch.distributed.all_reduce = self.counted

    def on_train_end(self, trainer, pl_module):
        torch.distributed.all_reduce = self.all_reduce

    def counted(self, tensor, *args, **options):
        self.reduced.append(tensor.nbytes)
        return self.all_reduce(tensor, *args, **options)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.digests.append(self.callback.teacher.state_dict()["sha256"][:16])


def make_loader(global_batch, world_size, **options):
    tasks = {
        name: (StreamedRows if name == "stream" else Rows)(task, size)
        for task, (name, size) in enumerate(SIZES.items())
    }
    options = {"batch_size": global_batch // world_size, "steps_per_epoch": 30, "seed": 4, **options}
    return CurriculumLoader(tasks, collate_fn=collate, **options)


def make_trainer(*callbacks, **options):
    warnings.filterwarnings("ignore")
    world_size = int(os.environ["WORLD_SIZE"])
    strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=60)) if world_size > 1 else "auto"
    return trainer(*callbacks, devices=world_size, strategy=strategy, **options)


def train(folder, steps, global_batch=8, resume=None, save=None, **options):
    """Train on all ranks and return what this one saw."""
    pl.seed_everything(0, verbose=False)
    callback = CurriculumCallback(Exp3S(eta=0.05, epsilon=0.2), seed=4)
    hashes = Hashes(callback)
    model = Recorder()
    fitter = make_trainer(callback, hashes, max_steps=steps)
    loader = make_loader(global_batch, fitter.world_size, **options)
    fitter.fit(model, loader, ckpt_path=None if resume is None else folder / resume)
    if save is not None:
        fitter.save_checkpoint(folder / save)
    return {
        "arms": callback.history.column("arm").astype(int).tolist(),
        "digests": hashes.digests,
        "samples": model.samples,
        "weights": [value.tolist() for value in model.state_dict().values()],
        "reduced": hashes.reduced,
    }


def check_samples(ranks, steps):
    """Ranks read other samples of the same task, and in every pass over a task each sample once."""
    taken = {}
    for number in range(steps):
        parts = [rank["samples"][number] for rank in ranks]
        (task,) = {task for task, _ in parts}
        assert len({len(rows) for _, rows in parts}) == 1, "ranks have equally many samples"
        taken.setdefault(list(SIZES)[task], []).append([row for _, rows in parts for row in rows])
    for name, batches in taken.items():
        left = list(itertools.chain.from_iterable(batches))
        if name == "tiny":  # a pass of 5 samples is filled up so that the ranks have equally many
            assert all(set(batch) == set(range(5)) for batch in batches)
            continue
        for start in range(0, len(left) - SIZES[name] + 1, SIZES[name]):
            assert sorted(left[start : start + SIZES[name]]) == list(range(SIZES[name])), name


def test_two_ranks_have_one_curriculum_for_two_thousand_steps(tmp_path):
    (ranks,) = on_ranks(train, tmp_path, (2, [2000]))
    first, second = ranks
    assert len(first["digests"]) == 2000
    assert first["digests"] == second["digests"]
    assert first["arms"] == second["arms"]
    assert first["weights"] == second["weights"]
    assert set(first["arms"]) == {0, 1, 2, 3}
    check_samples(ranks, 2000)
    for rank in ranks:
        assert len(rank["reduced"]) == 2000, "one collective per update"
        assert set(rank["reduced"]) == {80}, "of few bytes, whatever happens"


@pytest.mark.parametrize("workers", [0, 1])
def test_four_ranks_have_one_curriculum(workers, tmp_path):
    (ranks,) = on_ranks(train_with_workers, tmp_path, (4, [60, workers]))
    for rank in ranks[1:]:
        assert rank["digests"] == ranks[0]["digests"]
        assert rank["arms"] == ranks[0]["arms"]
        assert rank["weights"] == ranks[0]["weights"]
    check_samples(ranks, 60)


def train_with_workers(folder, steps, workers):
    return train(folder, steps, num_workers=workers)


def test_the_number_of_ranks_may_change_at_every_resume(tmp_path):
    stages = [(4, 40), (2, 80), (1, 120), (4, 160)]
    files = [None, *(f"{steps}.ckpt" for _, steps in stages)]
    whole, *parts = on_ranks(
        train_part,
        tmp_path,
        (1, [160, None, None]),
        *((size, [steps, files[k], files[k + 1]]) for k, (size, steps) in enumerate(stages)),
    )
    assert len(whole[0]["arms"]) == 160
    for ranks, (_, steps) in zip(parts, stages, strict=True):
        for rank in ranks:
            assert rank["arms"] == whole[0]["arms"][:steps]
    for ranks, (_, steps) in zip(parts, stages, strict=True):
        for step in range(40):
            rows = sorted(row for rank in ranks for row in rank["samples"][step][1])
            expected = sorted(whole[0]["samples"][steps - 40 + step][1])
            assert set(rows) == set(expected), "the same samples in every step, shared in another way"
    for ours, theirs in zip(parts[-1][0]["weights"], whole[0]["weights"], strict=True):
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=1e-4, atol=1e-5)


def train_part(folder, steps, resume, save):
    return train(folder, steps, resume=resume, save=save)


class Planting(pl.Callback):
    """Moves a weight on one rank by next to nothing."""

    def __init__(self, callback):
        self.callback = callback

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 137 and trainer.global_rank == 1:
            self.callback.teacher.bandit._weights.offset += 1e-9


def train_with_a_difference(folder):
    callback = CurriculumCallback(Exp3S(eta=0.05, epsilon=0.2), seed=4)
    fitter = make_trainer(callback, Planting(callback), max_steps=400)
    try:
        fitter.fit(Recorder(), make_loader(8, 2))
    except RuntimeError as error:
        return {"error": str(error), "updates": callback.teacher.updates}
    return None


def test_a_difference_of_a_billionth_on_one_rank_is_reported_on_all_at_the_next_check(tmp_path):
    (ranks,) = on_ranks(train_with_a_difference, tmp_path, (2, []))
    for rank in ranks:
        assert rank["error"].startswith("after 200 updates the curriculum is not the same on all 2 ranks")
        assert "Do on every rank what you do on one, and go on from the checkpoint before" in rank["error"]


def train_with_other_seeds(folder):
    callback = CurriculumCallback(seed=int(os.environ["RANK"]))
    try:
        make_trainer(callback, max_steps=5).fit(Recorder(), make_loader(8, 2))
    except RuntimeError as error:
        return str(error)
    return None


def test_other_seeds_are_reported_at_the_first_step(tmp_path):
    (ranks,) = on_ranks(train_with_other_seeds, tmp_path, (2, []))
    assert all(error.startswith("after 0 updates the curriculum is not the same on all 2 ranks") for error in ranks)


class Dying(Recorder):
    """A model whose second rank is gone in the middle of a step."""

    def training_step(self, batch, batch_idx):
        if self.global_step == 20 and self.global_rank == 1:
            os._exit(7)
        return super().training_step(batch, batch_idx)


def train_until_one_dies(folder):
    callback = CurriculumCallback()
    try:
        make_trainer(callback, max_steps=100).fit(Dying(), make_loader(8, 2))
    except Exception as error:  # noqa: BLE001 - gloo has several
        return {"error": type(error).__name__, "steps": callback.history.steps}
    return None


def test_a_rank_that_dies_ends_the_others_with_an_error(tmp_path):
    ((first, second),) = on_ranks(train_until_one_dies, tmp_path, (2, []), timeout=120)
    assert second == {"exit": 7}
    assert first["steps"] == 20
    assert first["error"]


def train_without_the_callback(folder):
    pl.seed_everything(0, verbose=False)
    loader = CurriculumLoader({"one": Rows(0, 96), "two": Rows(1, 24)}, batch_size=4, collate_fn=collate, seed=4)
    lengths = [len(loader)]
    model = Recorder()
    make_trainer(max_epochs=1).fit(model, loader)
    return {"samples": model.samples, "lengths": [*lengths, len(loader)]}


def test_a_loader_made_before_the_processes_know_of_one_another_shares_its_samples(tmp_path):
    (ranks,) = on_ranks(train_without_the_callback, tmp_path, (2, []))
    for rank in ranks:
        assert rank["lengths"] == [30, 15]
        assert len(rank["samples"]) == 15
    check = {}
    for ours, theirs in zip(*(rank["samples"] for rank in ranks), strict=True):
        assert ours[0] == theirs[0]
        check.setdefault(ours[0], []).extend([*ours[1], *theirs[1]])
    for task, rows in check.items():
        size = (96, 24)[task]
        assert len(set(rows[:size])) == min(size, len(rows))


@pytest.mark.parametrize("ranks", [2, 3, 64, 8192])
def test_fingerprints_that_differ_in_one_bit_on_one_rank_are_told(ranks):
    equal = [float(2**20 - 1)] * ranks
    check_agreement([sum(equal), sum(number * number for number in equal)], ranks, 1)
    other = [*equal[:-1], equal[-1] - 1.0]
    with pytest.raises(RuntimeError, match=f"not the same on all {ranks} ranks"):
        check_agreement([sum(other), sum(number * number for number in other)], ranks, 1)
