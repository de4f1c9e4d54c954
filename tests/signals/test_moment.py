"""A moment is restored to the last bit, in place, and nothing else is touched."""

from __future__ import annotations

import functools
import itertools
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import FixedPolicy
from curricula.signals import PredictionGain, SelfPredictionGain
from curricula.signals import moment as moments
from curricula.signals.moment import Moment
from curricula.signals.probe import Probe
from curricula.signals.surroundings import Surroundings
from tests.models import Linear, noisy_tasks, trainer

BATCH = (torch.ones(8, 4), torch.ones(8, 1))


def fit(model, signal=None, **options):
    callback = CurriculumCallback(FixedPolicy.uniform(), signal or PredictionGain())
    trainer(callback, **{"max_steps": 6, **options}).fit(
        model, CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=10)
    )
    return callback.history.column("progress").tolist()


class Holder(Linear):
    """Linear regression that keeps something."""

    def __init__(self, **kept):
        super().__init__(4)
        for name, value in kept.items():
            setattr(self, name, value)


# ---------------------------------------------------------------- in place


def test_a_graph_that_is_alive_can_still_be_gone_through():
    """Truncated backpropagation through time: what the graph keeps must not seem changed."""
    module = Holder()
    module.register_buffer("scale", torch.ones(4))

    class Writing(Holder):
        def training_step(self, batch, batch_idx):
            self.scale.mul_(2.0)
            self.factor.add_(1.0)
            return super().training_step(batch, batch_idx)

    module = Writing(factor=torch.ones(4))
    module.register_buffer("scale", torch.ones(4))
    inputs = torch.ones(4, requires_grad=True)
    alive = (inputs * module.scale * module.factor).sum()
    Probe(module, nullcontext).loss(BATCH, 0, None)
    alive.backward()
    assert inputs.grad.tolist() == [1.0] * 4


def test_a_write_of_the_training_itself_still_raises_the_version():
    module = Holder()
    module.register_buffer("scale", torch.ones(4))
    start = Moment(Surroundings(module), to_run=True)
    module.scale.mul_(2.0)
    version = module.scale._version
    Probe(module, nullcontext).loss(BATCH, 0, start)
    assert module.scale._version == version
    assert module.scale.tolist() == [2.0] * 4


def test_other_names_of_a_tensor_see_what_was_put_back():
    module = Holder(total=torch.zeros(4))
    view, same = module.total[:2], module.total
    start = Moment(Surroundings(module))
    module.total.add_(1.0)
    module.total = torch.ones(7)
    start.restore()
    assert module.total is same
    assert view.tolist() == [0.0, 0.0]


def test_expanded_sparse_and_empty_tensors_do_no_harm():
    module = Holder(
        wide=torch.zeros(1).expand(5), sparse=torch.eye(2).to_sparse(), empty=torch.empty(0), number=torch.tensor(1)
    )
    start = Moment(Surroundings(module))
    module.number += 1
    start.restore()
    assert int(module.number) == 1
    Probe(module, nullcontext).loss(BATCH, 0, start)


def test_frozen_dataclasses_namespaces_and_objects_that_hold_one_another():
    @dataclass(frozen=True)
    class Frozen:
        counts: list
        total: torch.Tensor

    class Node:
        pass

    one, other = Node(), Node()
    one.other, other.other = other, one
    module = Holder(frozen=Frozen([1], torch.zeros(2)), space=SimpleNamespace(count=1), ring=one)
    start = Moment(Surroundings(module))
    module.frozen.counts.append(2)
    module.frozen.total.add_(1.0)
    module.space.count, module.space.more = 5, 6
    other.count = 7
    start.restore()
    assert (module.frozen.counts, module.frozen.total.tolist()) == ([1], [0.0, 0.0])
    assert vars(module.space) == {"count": 1}
    assert not hasattr(other, "count")


def test_what_is_no_part_of_the_module_is_left_alone():
    class Data(torch.utils.data.Dataset):
        reads = 0

        def __len__(self):
            return 4

        def __getitem__(self, index):
            self.reads += 1
            return index

    data = Data()
    module = Holder(data=data, loader=DataLoader(data), kind=Data, library=torch, function=len)
    start = Moment(Surroundings(module))
    data[0]
    start.restore()
    assert data.reads == 1


def test_views_of_trained_parameters_are_not_put_back():
    module = Holder()
    module.alias = module.layer.weight.detach()
    start = Moment(Surroundings(module))
    with torch.no_grad():
        module.layer.weight.add_(1.0)
    after = module.layer.weight.tolist()
    start.restore()
    assert module.layer.weight.tolist() == after == module.alias.tolist()


# ---------------------------------------------------------------- parameters that are not trained


class Distilled(Linear):
    """A large network beside the trained one, which may be written to."""

    def __init__(self, write):
        super().__init__(4)
        self.teacher = nn.Linear(4, 100).requires_grad_(False)
        self.write = write

    def training_step(self, batch, batch_idx):
        self.write(self.teacher.weight)
        return super().training_step(batch, batch_idx) + self.teacher(batch[0]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.layer.parameters(), lr=0.01)


def no_write(weight):
    pass


def in_place(weight):
    with torch.no_grad():
        weight.mul_(0.9)


def past_version(weight):
    weight.data.mul_(0.9)


def other_values(weight):
    weight.data = weight.data * 0.9


@pytest.mark.parametrize("write", [in_place, past_version, other_values])
def test_what_is_too_large_to_be_copied_must_not_be_written_to(write, monkeypatch):
    assert len(fit(Distilled(write))) == 6, "it is small enough for a copy"
    monkeypatch.setattr(moments, "_FEW_BYTES", 0)
    with pytest.raises(RuntimeError, match=r"`training_step` writes to parameters.*define `curriculum_loss"):
        fit(Distilled(write))
    assert len(fit(Distilled(no_write))) == 6


def test_a_large_frozen_network_is_not_copied(monkeypatch):
    monkeypatch.setattr(moments, "_FEW_BYTES", 0)
    module = Distilled(no_write)
    moment = Moment(Surroundings(module))
    assert [parameter.shape for parameter, *_ in moment.watched] == [(100, 4), (100,)] or len(moment.watched) == 2
    assert not any(storage.numel() >= 100 for storage in moment._tensors._values)


# ---------------------------------------------------------------- what cannot be run again


def stream():
    while True:
        yield torch.randn(8, 4)


class Reading(Holder):
    """Takes more data from an iterator of its own."""

    def more(self):
        return next(self.iterator)

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) + self.layer(self.more()).square().mean()


class ReadingFrom(Reading):
    def more(self):
        return next(self.places[0]["more"])


@pytest.mark.parametrize("signal", [PredictionGain, SelfPredictionGain])
@pytest.mark.parametrize(
    "make",
    [
        lambda: Reading(iterator=stream()),
        lambda: Reading(iterator=iter(DataLoader(torch.ones(64, 4), batch_size=8))),
        lambda: Reading(iterator=itertools.cycle([torch.ones(8, 4)])),
        lambda: Reading(iterator=map(torch.ones, itertools.repeat((8, 4)))),
        lambda: ReadingFrom(places=[{"more": stream()}]),
    ],
    ids=["generator", "data loader", "itertools", "map", "in containers"],
)
def test_a_step_that_reads_from_an_iterator_is_refused_with_the_way_out(make, signal):
    message = r"`training_step` reads from an iterator that the module keeps \(\w+\).*define `curriculum_loss"
    with pytest.raises(RuntimeError, match=message):
        fit(make(), signal())


def test_an_iterator_that_is_not_read_in_the_step_does_no_harm():
    iterator = iter([1, 2])
    with Path(__file__).open(encoding="utf-8") as file:
        model = Holder(iterator=iterator, places=[iterator], file=file)
        assert len(fit(model)) == 6
    assert model.iterator is iterator
    assert model.places[0] is iterator
    assert next(iterator) == 1


def test_a_step_that_differentiates_is_told_all_ways_out():
    class Penalised(Linear):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            (slope,) = torch.autograd.grad(loss, self.layer.weight, create_graph=True)
            return loss + slope.square().sum()

    with pytest.raises(RuntimeError, match=r"differentiates by itself.*torch.func.grad.*enable_grad.*`curriculum_loss"):
        fit(Penalised(4))


# ---------------------------------------------------------------- the function that keeps the start


def test_training_step_is_the_modules_own_again_as_soon_as_it_was_called():
    class Looking(Linear):
        def training_step(self, batch, batch_idx):
            seen.append("training_step" in vars(self))
            return super().training_step(batch, batch_idx)

    seen = []
    model = Looking(4)
    fit(model)
    assert seen == [False] * 12
    assert "training_step" not in vars(model)


def test_a_batch_that_is_left_out_leaves_no_function_behind():
    class Choosy(Linear):
        def on_train_batch_start(self, batch, batch_idx):
            return -1 if batch_idx == 3 else None

    model = Choosy(4)
    assert len(fit(model, max_epochs=2, max_steps=-1)) == 6
    assert "training_step" not in vars(model)


def only_batch(self, batch):
    return Linear.training_step(self, batch, 0)


def anything(self, *args):
    return Linear.training_step(self, *args)


@functools.wraps(only_batch)
def wrapped(*args):
    return only_batch(*args)


@pytest.mark.parametrize("step", [only_batch, anything, wrapped])
def test_lightning_gives_the_step_what_it_takes(step):
    assert len(fit(type("Module", (Linear,), {"training_step": step})(4))) == 6


def test_a_step_that_was_set_on_the_module_is_there_again():
    model = Linear(4)
    model.training_step = own = lambda batch, batch_idx: Linear.training_step(model, batch, batch_idx)
    fit(model)
    assert vars(model)["training_step"] is own


def test_groups_that_are_added_to_the_optimiser_are_trained_from_then_on():
    class Growing(pl.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer, self.late = nn.Linear(4, 1), nn.Linear(4, 1).requires_grad_(False)

        def on_train_batch_start(self, batch, batch_idx):
            if batch_idx == 3:
                self.late.requires_grad_(True)
                self.optimizers().optimizer.add_param_group({"params": self.late.parameters(), "lr": 0.0})
                self.optimizers().optimizer.param_groups[0]["lr"] = 0.0
            if batch_idx == 4:
                self.optimizers().optimizer.param_groups[1]["lr"] = 0.01

        def training_step(self, batch, batch_idx):
            return (self.layer(batch[0]) + self.late(batch[0]) - batch[1]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.layer.parameters(), lr=0.01)

    progress = fit(Growing())
    assert [value == 0.0 for value in progress] == [False, False, False, True, False, False]
