"""Data that are loaded anew in the course of a training: a reload is not a resume."""

from __future__ import annotations

import logging
import multiprocessing

import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from curricula import CurriculumCallback, CurriculumLoader
from curricula.signals import PredictionGain, SelfPredictionGain
from tests.models import Linear, trainer


def data(number, size=64):
    numbers = torch.Generator().manual_seed(number)
    return TensorDataset(
        torch.randn(size, 4, generator=numbers), number + torch.randn(size, 1, generator=numbers) * (number + 1)
    )


class Seen(pl.Callback):
    """Writes down the batches that are trained on."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append((trainer.current_epoch, batch[0].clone(), batch[1].clone()))

    def digest(self, since=0):
        return [(epoch, float(x.sum()), float(y.sum())) for epoch, x, y in self.batches if epoch >= since]


class Data(pl.LightningDataModule):
    """Makes a loader for every epoch."""

    def __init__(self, make):
        super().__init__()
        self.make = make
        self.epochs = []

    def train_dataloader(self):
        self.epochs.append(self.trainer.current_epoch)
        return self.make(self.trainer.current_epoch)


class Planning(Linear):
    """Looks at the length of the training while it is set up, as every warm-up does."""

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def fit(make, *others, model=Linear, epochs=3, every=1, ckpt_path=None, signal=None, strict=True, **options):
    torch.manual_seed(0)
    own, seen, module = CurriculumCallback(signal=signal, strict=strict), Seen(), model(4)
    options = {"max_epochs": epochs, "reload_dataloaders_every_n_epochs": every, **options}
    datamodule = Data(make)
    options["enable_checkpointing"] = bool(others)
    trainer(own, seen, *others, **options).fit(module, datamodule=datamodule, ckpt_path=ckpt_path)
    return own, seen, module, datamodule


def chunk_loaders(epoch):
    size = [40, 16, 24, 32][epoch % 4]
    return CurriculumLoader(
        {name: DataLoader(data(10 * epoch + k, size), batch_size=4, shuffle=True) for k, name in enumerate("ab")},
        steps_per_epoch=12,
    )


def chunks(epoch):
    size = [40, 16, 24, 32][epoch % 4]
    return CurriculumLoader(
        {name: data(10 * epoch + k, size) for k, name in enumerate("ab")}, batch_size=4, steps_per_epoch=12
    )


def same_data(epoch):
    return CurriculumLoader({name: data(k) for k, name in enumerate("ab")}, batch_size=4, steps_per_epoch=12)


@pytest.mark.parametrize("make", [chunk_loaders, chunks])
def test_every_epoch_trains_on_its_own_chunk(make):
    own, seen, _, _ = fit(make, epochs=4)
    assert own.history.steps == 48
    for epoch, inputs, _ in seen.batches:
        known = torch.cat([data(10 * epoch + k, [40, 16, 24, 32][epoch]).tensors[0] for k in range(2)])
        assert all((known == row).all(dim=1).any() for row in inputs)


def test_of_the_same_data_all_samples_come_before_one_comes_twice():
    _, seen, _, _ = fit(same_data, epochs=4)
    for k in range(2):
        rows = torch.cat([x for _, x, _ in seen.batches])
        mine = [
            int((data(k).tensors[0] == row).all(dim=1).nonzero()) for row in rows if (data(k).tensors[0] == row).any()
        ]
        assert len(mine) > 64
        assert sorted(mine[:64]) == list(range(64))


class Endless(IterableDataset):
    """Counts what is read of it."""

    def __init__(self, number):
        self.number = number
        self.read = 0

    def __iter__(self):
        numbers = torch.Generator().manual_seed(self.number)
        while True:
            self.read += 1
            yield torch.randn(4, generator=numbers), torch.randn(1, generator=numbers)


def test_an_endless_stream_that_stays_goes_on_and_nothing_is_read_twice():
    streams = {name: Endless(k) for k, name in enumerate("ab")}
    _, seen, _, _ = fit(lambda _: CurriculumLoader(streams, batch_size=8, steps_per_epoch=20), epochs=20)
    assert len(seen.batches) == 400
    assert sum(stream.read for stream in streams.values()) == 3200
    rows = torch.cat([inputs for _, inputs, _ in seen.batches])
    assert len(rows.unique(dim=0)) == 3200


def test_a_stream_that_is_made_anew_begins_anew():
    made = []

    def make(_):
        made.append({name: Endless(k) for k, name in enumerate("ab")})
        return CurriculumLoader(made[-1], batch_size=8, steps_per_epoch=20)

    _, seen, _, _ = fit(make, epochs=5)
    assert len(seen.batches) == 100
    assert sum(stream.read for streams in made for stream in streams.values()) == 800


def test_fresh_batches_of_the_signals_go_on_too():
    streams = {name: Endless(k) for k, name in enumerate("ab")}
    probes = {name: Endless(k + 10) for k, name in enumerate("ab")}
    fit(
        lambda _: CurriculumLoader(streams, batch_size=8, steps_per_epoch=20, probe_tasks=probes),
        epochs=5,
        signal=SelfPredictionGain(),
    )
    assert sum(stream.read for stream in probes.values()) == sum(stream.read for stream in streams.values()) == 800


def stages(epoch):
    tasks = {"easy": data(1)} if epoch == 0 else {"hard": data(2), "easy": data(1)} if epoch == 1 else {"hard": data(2)}
    return CurriculumLoader(tasks, batch_size=4, steps_per_epoch=12)


def test_tasks_that_come_and_go_with_a_reload_are_matched_by_name(caplog):
    with caplog.at_level(logging.WARNING, logger="curricula"):
        own, _, _, _ = fit(stages, strict=False)
    told = [message for message in caplog.messages if "the loader before had other tasks" in message]
    assert len(told) == 2
    assert "['easy'] kept the ratios of their weights, ['hard'] are new" in told[0]
    assert (
        "['hard'] kept the ratios of their weights, none are new and got the mean of these, ['easy'] are gone"
        in told[1]
    )
    assert own.teacher.tasks == ("hard",)
    assert own.teacher.updates == own.history.steps == 36
    names = [own.history.tasks[int(arm)] for arm in own.history.column("arm")]
    assert set(names[:12]) == {"easy"}
    assert set(names[12:24]) == {"easy", "hard"}
    assert set(names[24:]) == {"hard"}


def test_other_tasks_are_refused_unless_they_are_meant():
    with pytest.raises(
        MisconfigurationException,
        match=r"the loader before has other tasks \(missing now: none; new: \['hard'\]\).*strict=F",
    ):
        fit(stages)


def test_a_target_that_is_gone_is_told():
    own = CurriculumCallback(target="easy", strict=False)
    with pytest.raises(MisconfigurationException, match="target 'easy' names no task: the tasks are \\['hard'\\]"):
        trainer(own, max_epochs=3, reload_dataloaders_every_n_epochs=1).fit(Linear(4), datamodule=Data(stages))


def test_with_workers_that_read_ahead_every_reward_is_for_its_own_batch():
    def make(_):
        tasks = {name: TensorDataset(torch.full((64, 4), float(k)), torch.zeros(64, 1)) for k, name in enumerate("ab")}
        return CurriculumLoader(tasks, batch_size=4, steps_per_epoch=12, num_workers=2)

    own, seen, _, _ = fit(make, limit_train_batches=5)
    assert [float(inputs[0, 0]) for _, inputs, _ in seen.batches] == own.history.column("arm").tolist()
    assert own.teacher.draws >= 15


def test_workers_of_the_loader_before_are_stopped():
    running = []

    class Count(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            running.append(len(multiprocessing.active_children()))

    def make(_):
        tasks = {"a": data(1), "b": DataLoader(data(2), batch_size=4, num_workers=1, persistent_workers=True)}
        return CurriculumLoader(tasks, batch_size=4, steps_per_epoch=12, num_workers=1, persistent_workers=True)

    fit(make, Count())
    assert max(running) == 2
    assert multiprocessing.active_children() == []


def test_a_second_training_with_other_tasks_goes_on_with_what_was_learned_of_those_that_stay(caplog):
    both, other = {"easy": data(1), "hard": data(2)}, {"hard": data(2), "harder": data(3)}
    for strict in (True, False):
        own = CurriculumCallback(strict=strict)
        fitter = trainer(own, max_steps=12)
        fitter.fit(Linear(4), CurriculumLoader(both, batch_size=4, steps_per_epoch=12))
        fitter.fit_loop.epoch_loop.max_steps = 24
        again = CurriculumLoader(other, batch_size=4, steps_per_epoch=12)
        if strict:
            with pytest.raises(MisconfigurationException, match=r"the training before has other tasks .*strict=False"):
                fitter.fit(Linear(4), again)
        else:
            fitter.fit(Linear(4), again)
            assert own.teacher.tasks == ("hard", "harder")
            assert own.history.steps == 24


streams_that_stay = {name: Endless(k) for k, name in enumerate("ab")}


def endless(epoch):
    return CurriculumLoader(streams_that_stay, batch_size=4, steps_per_epoch=12)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("model", [Linear, Planning])
@pytest.mark.parametrize("make", [chunk_loaders, chunks, same_data, endless, stages])
@pytest.mark.parametrize("signal", [None, PredictionGain])
def test_a_resume_among_reloads_is_exact(make, model, every, signal, tmp_path):
    if every == 2 and make in (chunks, chunk_loaders, stages):
        pytest.skip("Lightning makes such a loader in another epoch when it resumes than the one that it was made in")
    savers = [
        ModelCheckpoint(tmp_path, filename="end-{epoch}", save_top_k=-1),
        ModelCheckpoint(tmp_path, filename="mid-{step}", save_top_k=-1, every_n_train_steps=7),
    ]
    options = {"model": model, "epochs": 4, "every": every, "strict": make is not stages}

    def new():
        return None if signal is None else signal()

    whole, seen, module, _ = fit(make, *savers, signal=new(), **options)
    paths = sorted(tmp_path.glob("*.ckpt"))
    assert len(paths) >= 9
    for path in paths:
        resumed, again, other, _ = fit(make, signal=new(), ckpt_path=path, **options)
        assert seen.digest()[len(seen.batches) - len(again.batches) :] == again.digest(), path.name
        assert resumed.teacher.state_dict() == whole.teacher.state_dict(), path.name
        for ours, theirs in zip(other.parameters(), module.parameters(), strict=True):
            assert torch.equal(ours, theirs), path.name


@pytest.mark.parametrize("model", [Linear, Planning])
@pytest.mark.parametrize("make", [same_data, endless])
def test_a_resume_after_the_last_batch_of_an_epoch_follows_the_reload(make, model, tmp_path):
    # Lightning reloads the data before it goes on, and calls no hook between that and the next batch.
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    whole, seen, _, _ = fit(make, saver, model=model, epochs=3, every=1)
    length = len(seen.batches) // 3
    for step in (length, 2 * length):
        resumed, again, _, _ = fit(make, model=model, epochs=3, every=1, ckpt_path=tmp_path / f"step={step}.ckpt")
        assert again.digest() == seen.digest()[step:]
        assert resumed.teacher.state_dict() == whole.teacher.state_dict()
