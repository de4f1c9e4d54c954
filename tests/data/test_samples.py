"""Fresh batches: of the task asked for, in an order of their own, exact on resume."""

from __future__ import annotations

import gc
import json
import multiprocessing
import random
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, TensorDataset

from curricula import CurriculumCallback, CurriculumLoader
from curricula.data.generators import generators_of
from curricula.data.samples import HELD_OUT_TARGET, Samples
from curricula.signals import SelfPredictionGain
from tests.models import Linear, noisy_tasks, trainer


def numbers(count=12):
    return TensorDataset(torch.arange(float(count)))


class Stream(IterableDataset):
    """Yields random numbers from a seed of its own, or one that it takes from the global stream."""

    def __init__(self, seed=None):
        self.seed = seed

    def __iter__(self):
        seed = int(torch.randint(2**31, ())) if self.seed is None else self.seed
        generator = torch.Generator().manual_seed(seed)
        while True:
            yield torch.rand(1, generator=generator)


def loader(task, **options):
    return CurriculumLoader({"a": task, "b": numbers()}, **{"batch_size": 4, "steps_per_epoch": 6, **options})


KINDS = {
    "map": numbers,
    "loader": lambda: DataLoader(numbers(), batch_size=4, shuffle=True),
    "stream": Stream,
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def flat(batch):
    return (batch[0] if isinstance(batch, (list, tuple)) else batch).flatten().tolist()


@every_kind
def test_samples_are_a_stream_of_their_own(kind):
    plain, sampled = loader(kind()), loader(kind())
    expected = [flat(batch) for batch in plain]
    seen = []
    for batch in sampled:
        seen.append(flat(batch))
        sampled.samples.next("a")
    assert seen == expected


@every_kind
def test_samples_are_others_than_those_trained_on(kind):
    data = loader(kind())
    trained = [flat(batch) for batch in data]
    fresh = [flat(data.samples.next("a")) for _ in range(6)]
    assert fresh != trained
    assert fresh[0] not in trained


def test_finite_tasks_are_gone_through_before_a_sample_comes_again():
    data = loader(numbers())
    for _ in range(3):
        rows = sorted(number for _ in range(3) for number in flat(data.samples.next("a")))
        assert rows == list(range(12))


@every_kind
def test_samples_are_resumed_exactly(kind):
    whole = loader(kind())
    for _ in range(5):
        whole.samples.next("a")
    state = json.loads(json.dumps(whole.state_dict()))
    rest = [flat(whole.samples.next("a")) for _ in range(5)]
    resumed = loader(kind())
    resumed.load_state_dict(state)
    assert [flat(resumed.samples.next("a")) for _ in range(5)] == rest


@every_kind
def test_a_position_not_asked_for_again_is_kept(kind):
    first = loader(kind())
    first.samples.next("a")
    second = loader(kind())
    second.load_state_dict(first.state_dict())
    assert second.state_dict()["content"]["samples"] == first.state_dict()["content"]["samples"]


def test_names_are_gone_through_once_for_a_state_whatever_its_size():
    class Counted(dict):
        walks = 0

        def __iter__(self):
            Counted.walks += 1
            return super().__iter__()

        keys = __iter__

    data = CurriculumLoader({str(k): numbers(2) for k in range(50)}, steps_per_epoch=1).samples
    data._tasks = Counted(data._tasks)
    data.load_state([[str(k), [0, 1]] for k in range(50)])
    assert Counted.walks <= 1
    assert len(data.state()) == 50


def test_ranks_share_a_sample():
    parts = []
    for rank in (0, 1):
        data = loader(numbers())
        data.samples.set_rank(rank, 2)
        parts.append(flat(data.samples.next("a")))
    assert len(set(parts[0]) | set(parts[1])) == 8


def test_an_iterable_that_repeats_itself_needs_a_probe_task():
    with pytest.raises(ValueError, match=r"task 'a' gives the same batches every time.*probe_tasks=\{'a'"):
        loader(Stream(seed=3)).samples.next("a")
    data = loader(Stream(seed=3), probe_tasks={"a": Stream(seed=4)})
    assert flat(data.samples.next("a")) != flat(next(iter(DataLoader(Stream(seed=3), batch_size=4))))


def test_a_sampler_with_a_generator_needs_a_probe_task():
    sampler = RandomSampler(numbers(), replacement=True, generator=torch.Generator())
    task = DataLoader(Stream(), batch_size=4)
    task.sampler.generator = torch.Generator()
    with pytest.raises(ValueError, match="the sampler of task 'a' has a generator"):
        loader(task).samples.next("a")
    plain = DataLoader(numbers(), batch_size=4, sampler=sampler)
    assert len(flat(loader(plain).samples.next("a"))) == 4, "a plain sampler is not needed at all"


def test_probe_tasks_of_other_names_are_refused():
    with pytest.raises(ValueError, match=r"probe_tasks has \['x'\], which are no tasks"):
        loader(numbers(), probe_tasks={"x": numbers()})


def test_a_held_out_target_has_a_stream_of_its_own():
    data = loader(numbers())
    data.samples.add_target(TensorDataset(torch.full((4,), 9.0)))
    assert flat(data.samples.next(HELD_OUT_TARGET)) == [9.0] * 4
    with pytest.raises(ValueError, match="empty dataset"):
        data.samples.add_target([])


# ---------------------------------------------------------------- loaders that do something to their batches


class Shifted(DataLoader):
    """Changes its batches, as loaders do that normalise or move them."""

    def __iter__(self):
        for (values,) in super().__iter__():
            yield [values + 1000.0]


class Wrapped:
    """A loader inside of another object, which changes its batches."""

    def __init__(self, inner):
        self.inner = inner

    def __iter__(self):
        for (values,) in self.inner:
            yield [values + 1000.0]


class OtherIterator(DataLoader):
    """Changes what torch asks for an iterator."""

    def _get_iterator(self):
        return ([values + 1000.0] for (values,) in super()._get_iterator())


CHANGING = {
    "subclass": lambda: Shifted(numbers(), batch_size=4),
    "subclass that shuffles": lambda: Shifted(numbers(), batch_size=4, shuffle=True),
    "iterator": lambda: OtherIterator(numbers(), batch_size=4),
    "wrapper": lambda: Wrapped(DataLoader(numbers(), batch_size=4)),
    "persistent workers": lambda: Shifted(numbers(), batch_size=4, num_workers=1, persistent_workers=True),
    "wrapped persistent workers": lambda: Wrapped(
        DataLoader(numbers(), batch_size=4, shuffle=True, num_workers=1, persistent_workers=True)
    ),
}


@pytest.mark.parametrize("make", CHANGING.values(), ids=CHANGING)
def test_fresh_batches_are_changed_as_those_trained_on(make):
    data = loader(make())
    fresh = [flat(data.samples.next("a")) for _ in range(6)]
    assert all(number >= 1000.0 for batch in fresh for number in batch)
    for start in (0, 3):
        assert sorted(number for batch in fresh[start : start + 3] for number in batch) == list(range(1000, 1012))
    data._iterator = None


@pytest.mark.parametrize("kind", ["subclass", "persistent workers", "wrapped persistent workers", "plain"])
def test_fresh_batches_leave_the_loader_that_is_trained_on_alone(kind):
    def make():
        if kind == "plain":
            task = DataLoader(Stream(), batch_size=4, num_workers=1, persistent_workers=True)
        else:
            task = CHANGING[kind]()
        return CurriculumLoader({"a": task}, batch_size=4, steps_per_epoch=9)

    plain, sampled = make(), make()
    expected = [flat(batch) for batch in plain]
    seen = []
    for batch in sampled:
        seen.append(flat(batch))
        sampled.samples.next("a")
    assert seen == expected
    for data in (plain, sampled):
        data._iterator = None
    del plain, sampled, data
    gc.collect()  # nobody else knows of the workers of a loader inside of another object
    assert multiprocessing.active_children() == []


def test_a_signal_is_measured_on_batches_that_were_changed_as_well():
    class Normed(DataLoader):
        def __iter__(self):
            for inputs, targets in super().__iter__():
                yield inputs * 0 + 7.0, targets

    class Watching(Linear):
        seen = ()

        def training_step(self, batch, batch_idx):
            self.seen = {*self.seen, *batch[0].flatten().tolist()}
            return super().training_step(batch, batch_idx)

    tasks = {name: Normed(task, batch_size=8) for name, task in noisy_tasks().items() if name != "a"}
    model = Watching(4)
    trainer(CurriculumCallback(signal=SelfPredictionGain()), max_steps=6).fit(
        model, CurriculumLoader(tasks, steps_per_epoch=6)
    )
    assert model.seen == {7.0}


# ---------------------------------------------------------------- batches of any kind of object


@dataclass
class Pair:
    x: torch.Tensor
    y: Any
    scale: Callable[[], float]


class Held:
    def __init__(self, **parts):
        self.parts = SimpleNamespace(**parts)


class Objects(IterableDataset):
    """Ready batches of some kind of object."""

    def __init__(self, make, seed=None):
        self.make = make
        self.seed = seed

    def __iter__(self):
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())) if self.seed is None else self.seed)
        while True:
            yield self.make(torch.rand(4, generator=generator))


MAKERS = {
    "dataclass": lambda x: Pair(x, torch.zeros(2), lambda: 1.0),
    "dataclass with one number": lambda x: Pair(x[:1], float("nan"), lambda: 1.0),
    "dataclass with NaN": lambda x: Pair(x[:1], torch.tensor(float("nan")), lambda: 1.0),
    "object": lambda x: Held(x=x, tokens=object()),
    "NaN beside": lambda x: {"x": x, "missing": torch.tensor([float("nan")]), "why": float("nan")},
    "closure": lambda x: (x, lambda: x),
    "array": lambda x: {"x": x.numpy(), "names": ["a"]},
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_same_batches_are_known_and_others_are_taken(make):
    options = {"batch_size": None, "steps_per_epoch": 4}
    with pytest.raises(ValueError, match="task 'a' gives the same batches every time"):
        CurriculumLoader({"a": Objects(make, seed=3)}, **options).samples.next("a")
    assert CurriculumLoader({"a": Objects(make)}, **options).samples.next("a") is not None


class Augmented:
    """Draws from a generator of its own, as augmentations do."""

    def __init__(self, make):
        self.parts = [{"rng": make()}]

    def __len__(self):
        return 32

    def __getitem__(self, index):
        rng = self.parts[0]["rng"]
        if isinstance(rng, torch.Generator):
            noise = float(torch.rand((), generator=rng))
        else:
            noise = rng.random() if hasattr(rng, "random") else rng.rand()
        return torch.tensor([float(index), noise])


@pytest.mark.parametrize(
    "make",
    [lambda: np.random.default_rng(0), lambda: np.random.RandomState(0), lambda: random.Random(0), torch.Generator],
)
def test_fresh_batches_leave_the_generators_of_a_task_where_they_are(make):
    task = Augmented(make)
    samples = Samples({"a": task}, None, batch_size=4, collate_fn=None, seed=0)
    before = generators_of(task)
    assert len(before) == 1
    alone = [sample[1] for sample in map(Augmented(make).__getitem__, range(4))]
    for _ in range(3):
        assert len(samples.next("a")) == 4
    assert [task[index][1] for index in range(4)] == alone
