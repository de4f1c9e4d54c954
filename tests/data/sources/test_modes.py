"""The modes that a task's code leaves are its own: the training has those that it had, and the task finds its own."""

from __future__ import annotations

import contextlib
import gc
from functools import partial

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from curricula import CurriculumCallback, CurriculumLoader
from curricula.data.sources.modes import OwnModes, grad_modes, restore_grad_modes
from curricula.signals import SelfPredictionGain
from tests.models import Linear, trainer


def autocast():
    return torch.autocast("cpu", dtype=torch.bfloat16)


@contextlib.contextmanager
def several():
    with torch.no_grad(), autocast(), torch.inference_mode():
        yield


CONTEXTS = {
    "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad,
    "inference_mode": torch.inference_mode,
    "autocast": autocast,
    "several": several,
}


def modes():
    return *grad_modes(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")


def nesting():
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()


def walk(context, found):
    """Note the modes inside a context, before and after yields there, and yield once outside of it."""
    while True:
        with context():
            for _ in range(2):
                found.append(modes())
                yield
                found.append(modes())
        yield


every_context = pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)


@every_context
@pytest.mark.parametrize("outer", CONTEXTS.values(), ids=CONTEXTS)
def test_both_find_the_modes_that_they_left(context, outer):
    found, own = [], OwnModes()
    iterator = walk(context, found)
    with outer():
        before = modes(), nesting()
        for _ in range(9):
            own.run(lambda: next(iterator))
            assert (modes(), nesting()) == before
        with context():
            inside = modes()
    assert set(found) == {inside}, "the iterator finds what it left"
    own.run(iterator.close)


@every_context
def test_two_iterators_take_turns(context):
    found, other = [], []
    one, two = walk(context, found), walk(torch.enable_grad, other)
    modes_of_one, modes_of_two = OwnModes(), OwnModes()
    before = modes(), nesting()
    for _ in range(8):
        modes_of_one.run(lambda: next(one))
        modes_of_two.run(lambda: next(two))
        assert (modes(), nesting()) == before
    assert len(set(found)) == len(set(other)) == 1
    for own, iterator in ((modes_of_one, one), (modes_of_two, two)):
        own.run(iterator.close)
    assert (modes(), nesting()) == before


def test_an_iterator_that_raises_or_ends_leaves_the_modes_as_they_were():
    def ends():
        with torch.no_grad():
            yield
        torch.set_grad_enabled(False)

    def raises():
        torch.set_grad_enabled(False)
        yield from ()
        raise KeyError

    for make in (ends, raises):
        iterator, own = make(), OwnModes()
        for _ in range(2):
            with contextlib.suppress(KeyError):
                own.run(lambda iterator=iterator: next(iterator, None))
            assert torch.is_grad_enabled()


def test_modes_do_not_come_back_when_an_iterator_is_collected():
    iterator, own = walk(torch.inference_mode, []), OwnModes()
    own.run(partial(next, iterator))
    del iterator, own
    gc.collect()
    assert grad_modes() == (True, False)


def test_the_quick_way_for_samples_puts_them_back_as_well():
    before = grad_modes()
    torch.set_grad_enabled(False)
    restore_grad_modes(before)
    assert grad_modes() == before
    context = torch.inference_mode()
    context.__enter__()
    restore_grad_modes(before)
    assert grad_modes() == before


# ---------------------------------------------------------------- in a training


class Stream(IterableDataset):
    def __init__(self, context):
        self.context = context

    def __iter__(self):
        with self.context():
            while True:
                assert torch.is_grad_enabled() is (self.context is autocast)
                yield torch.randn(2), torch.randn(1)


class Samples(Dataset):
    """Leaves gradients switched off."""

    def __len__(self):
        return 16

    def __getitem__(self, index):
        torch.set_grad_enabled(False)
        return torch.full((2,), float(index)), torch.zeros(1)


class Ready:
    def __iter__(self):
        with torch.no_grad():
            yield from DataLoader(Samples(), batch_size=4, shuffle=True)


class Watching(Linear):
    """Sees whether a step would be recorded, and in which precision."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.seen.append((loss.requires_grad, torch.is_autocast_enabled("cpu")))
        return loss


TASKS = {
    "no_grad": lambda: Stream(torch.no_grad),
    "autocast": lambda: Stream(autocast),
    "samples": Samples,
    "ready": Ready,
    "loader": lambda: DataLoader(Samples(), batch_size=4, shuffle=True),
}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("kind", TASKS)
def test_a_task_that_leaves_its_modes_is_trained_on_with_the_trainers(kind, precision):
    tasks = {"a": TASKS[kind](), "b": TASKS[kind]()}
    loader = CurriculumLoader(tasks, batch_size=4, steps_per_epoch=6)
    model = Watching()
    before = model.layer.weight.detach().clone()
    trainer(CurriculumCallback(), max_steps=10, precision=precision).fit(model, loader)
    del loader, tasks
    gc.collect()
    assert set(model.seen) == {(True, precision == "bf16-mixed")}
    assert not torch.equal(model.layer.weight, before)
    assert torch.is_grad_enabled()
    assert nesting() == 0


@pytest.mark.parametrize("kind", ["no_grad", "samples", "ready"])
def test_fresh_batches_leave_the_modes_as_they_were_too(kind):
    loader = CurriculumLoader({"a": TASKS[kind]()}, batch_size=4, steps_per_epoch=6)
    model = Watching()
    trainer(CurriculumCallback(signal=SelfPredictionGain()), max_steps=4).fit(model, loader)
    assert (True, False) in model.seen
    assert torch.is_grad_enabled()
