"""The number of processes changes at a resume, and the data go on."""

from __future__ import annotations

import json
import logging

import pytest
from torch.utils.data import DataLoader

from curricula import CurriculumLoader, Teacher
from curricula.bandits import Exp3S, FixedPolicy
from tests.models import Rows, StreamedRows, rows_of

GLOBAL_BATCH = 8
SIZES = (40, 24, 56)


def tasks(kind, batch_size):
    if kind == "map":
        return {str(task): Rows(task, size) for task, size in enumerate(SIZES)}
    if kind == "stream":
        return {str(task): StreamedRows(task, size) for task, size in enumerate(SIZES)}
    return {
        str(task): DataLoader(Rows(task, size), batch_size=batch_size, shuffle=True, drop_last=True)
        for task, size in enumerate(SIZES)
    }


def stretch(kind, world_size, steps, states):
    """Run all ranks of a world from the state of rank 0; return (task, rows of all ranks) per step, and the state."""
    batch_size = GLOBAL_BATCH // world_size
    ranks, saved = [], []
    for rank in range(world_size):
        loader = CurriculumLoader(tasks(kind, batch_size), batch_size=batch_size, steps_per_epoch=25, seed=5)
        teacher = Teacher(loader.names, bandit=Exp3S(eta=0.05, epsilon=0.2), seed=5)
        if states:
            loader.load_state_dict(states[0])
            teacher.load_state_dict(states[1])
        loader.attach(teacher, rank=rank, world_size=world_size)
        found, probes, iterator = [], [], iter(loader)
        for _ in range(steps):
            found.append(rows_of(next(iterator)))
            (draw,) = loader.claim()
            teacher.reward(draw, float(draw.arm))
            probes.append(rows_of(loader.samples.next(draw.task)) if kind == "map" else None)
        ranks.append((found, probes))
        saved.append(json.loads(json.dumps([loader.state_dict(), teacher.state_dict()])))
    assert all(state == saved[0] for state in saved), "nothing in the state is of one rank alone"
    steps_of_all = []
    for step in range(steps):
        parts = [[rank[which][step] for rank in ranks] for which in (0, 1)]
        steps_of_all.append([_joined(part) for part in parts])
    return steps_of_all, saved[0]


def _joined(parts):
    if parts[0] is None:
        return None
    (task,) = {task for task, _ in parts}
    rows = [row for _, part in parts for row in part]
    assert len(rows) == GLOBAL_BATCH
    return task, sorted(rows)


@pytest.mark.parametrize("kind", ["map", "stream", "loader"])
def test_with_the_same_global_batch_every_step_has_the_same_samples(kind):
    expected, _ = stretch(kind, 1, 24, None)
    found, states = [], None
    for world_size, steps in ((4, 7), (2, 5), (1, 4), (4, 8)):
        part, states = stretch(kind, world_size, steps, states)
        found += part
    if kind == "loader":  # the user's own loaders shuffle in batches of their own
        assert [task for (task, _), _ in found] == [task for (task, _), _ in expected]
        return
    assert found == expected


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_no_sample_comes_twice_in_a_pass(world_size):
    batch_size, size = 2, 12 * world_size
    seen = []
    for rank in range(world_size):
        loader = CurriculumLoader({"one": Rows(0, size)}, batch_size=batch_size, steps_per_epoch=6)
        loader.attach(Teacher(["one"], bandit=FixedPolicy.uniform()), rank=rank, world_size=world_size)
        seen += [row for batch in loader for row in rows_of(batch)[1]]
    assert sorted(seen) == list(range(size))


def test_another_global_batch_goes_on_at_the_same_place_and_is_told(caplog):
    def loader(batch_size):
        return CurriculumLoader({"0": Rows(0, 40)}, batch_size=batch_size, steps_per_epoch=100, seed=2)

    first = loader(8)
    iterator = iter(first)
    seen = [row for _ in range(3) for row in rows_of(next(iterator))[1]]
    second = loader(5)
    second.load_state_dict(first.state_dict())
    with caplog.at_level(logging.WARNING, logger="curricula"):
        iterator = iter(second)
        rows = [row for _ in range(4) for row in rows_of(next(iterator))[1]]
    assert "batches had 8 samples over all ranks when the state was saved and have 5 now" in caplog.text
    assert rows[:4] == seen[20:24], "what does not fit begins somewhat before the place"
    assert set(seen) | set(rows) == set(range(40)), "and nothing of the pass is left out"


def test_a_stream_goes_on_at_the_same_sample():
    def loader(batch_size):
        return CurriculumLoader({"0": StreamedRows(0, 40)}, batch_size=batch_size, steps_per_epoch=100)

    first = loader(8)
    iterator = iter(first)
    for _ in range(3):
        next(iterator)
    second = loader(4)
    second.load_state_dict(first.state_dict())
    assert rows_of(next(iter(second))) == (0, [24, 25, 26, 27])
