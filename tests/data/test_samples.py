"""Fresh batches: of the task asked for, in an order of their own, exact on resume."""

from __future__ import annotations

import json

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, TensorDataset

from curricula import CurriculumLoader
from curricula.data.samples import HELD_OUT_TARGET


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
