"""The loader by itself: what it delivers, in which order, to which rank, and how it goes on after a stop."""

from __future__ import annotations

import copy
import io
import itertools
import json
import multiprocessing
import os
import pickle
import random
import traceback
from collections import Counter

import numpy as np
import pytest
import torch
from pytorch_lightning.utilities import CombinedLoader
from torch.utils.data import DataLoader

from curricula import CurriculumCallback, CurriculumLoader, Teacher
from curricula.bandits import Exp3S, FixedPolicy
from curricula.data import TaskError
from curricula.data.sources.map_order import MapSource
from curricula.rewards import QuantileScaler
from tests.models import Linear, Rows, StreamedRows, noisy_tasks, rows_of, tasks_of_rows, trainer

SIZES = (7, 10, 5, 8)


def mixture():
    """Two map-style tasks, a shuffling DataLoader and an IterableDataset."""
    return {
        "map": Rows(0, SIZES[0]),
        "other map": Rows(1, SIZES[1]),
        "ready batches": DataLoader(Rows(2, SIZES[2]), batch_size=2, shuffle=True),
        "stream": StreamedRows(3, SIZES[3]),
    }


def epochs(loader, number):
    """Return (draw id, task, rows) of every batch of some epochs."""
    return [step(loader, batch) for _ in range(number) for batch in loader]


def step(loader, batch):
    (draw,) = loader.claim()
    task, rows = rows_of(batch)
    assert task == draw.arm, "the batch is of the task that was drawn"
    return draw.id, task, rows


def rows_by_task(steps):
    found = {}
    for _, task, rows in steps:
        found.setdefault(task, []).extend(rows)
    return found


def teacher_of(loader, seed=0):
    return Teacher(loader.names, bandit=FixedPolicy.uniform(), seed=seed)


# ---------------------------------------------------------------- what is delivered


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_has_as_many_batches_as_the_loader_says(workers):
    loader = CurriculumLoader(tasks_of_rows(4, 9), batch_size=2, steps_per_epoch=11, num_workers=workers)
    assert len(loader) == 11
    assert [len(list(loader)) for _ in range(2)] == [11, 11]


def test_an_epoch_is_one_pass_over_all_tasks_unless_said_otherwise():
    tasks = {**tasks_of_rows(4, 9), "stream": DataLoader(Rows(2, 7), batch_size=3)}
    assert len(CurriculumLoader(tasks, batch_size=2)) == 2 + 5 + 3
    assert len(CurriculumLoader(tasks, batch_size=2, drop_last=True)) == 2 + 4 + 3


def test_the_lengths_of_all_tasks_are_added_up_once_per_epoch(monkeypatch):
    asked = []
    of_one_task = MapSource.batches_per_pass
    monkeypatch.setattr(
        MapSource, "batches_per_pass", lambda self, ranks: asked.append(self.name) or of_one_task(self, ranks)
    )
    loader = CurriculumLoader(tasks_of_rows(*[20] * 10), batch_size=2)
    assert len(loader) == 100
    asked.clear()
    for _ in loader:
        pass
    assert len(asked) < 200, "and not at every batch"


@pytest.mark.parametrize("workers", [0, 2])
def test_every_batch_is_of_one_task_and_every_task_comes(workers):
    loader = CurriculumLoader(mixture(), batch_size=3, steps_per_epoch=40, num_workers=workers)
    assert {task for _, task, _ in epochs(loader, 1)} == {0, 1, 2, 3}


def test_without_a_callback_draws_are_uniform():
    loader = CurriculumLoader(tasks_of_rows(3, 300, 30000), steps_per_epoch=3000)
    counts, probabilities = Counter(), set()
    for _ in loader:
        (draw,) = loader.claim()
        counts[draw.arm] += 1
        probabilities.add(draw.probability)
    assert probabilities == {1 / 3}
    # Hoeffding: further off than this once in 10^6 seeds; the seed is fixed
    assert all(abs(count - 1000) < 3000 * np.sqrt(np.log(2e6) / 6000) for count in counts.values())


@pytest.mark.parametrize("workers", [0, 2])
def test_the_seed_decides_everything(workers):
    def run(seed):
        loader = CurriculumLoader(mixture(), batch_size=3, steps_per_epoch=30, num_workers=workers, seed=seed)
        torch.manual_seed(random.randrange(1000))  # of no consequence
        return epochs(loader, 2)

    assert run(5) == run(5)
    other = run(6)
    assert [task for _, task, _ in run(5)] != [task for _, task, _ in other]
    assert rows_by_task(run(5))[0][:7] != rows_by_task(other)[0][:7]
    assert rows_by_task(run(5))[2][:5] != rows_by_task(other)[2][:5]


@pytest.mark.parametrize("draws", [1, 4])
def test_without_workers_nothing_of_a_dataloader_is_between_a_task_and_its_batch(draws, monkeypatch):
    loader = CurriculumLoader(tasks_of_rows(9, 9), batch_size=4, draws_per_batch=draws, steps_per_epoch=3)
    before = copy.deepcopy(loader)
    monkeypatch.setattr(DataLoader, "__iter__", lambda loader: pytest.fail("a DataLoader was iterated"))
    batches = [torch.stack(batch).tolist() for batch in loader]
    monkeypatch.undo()
    before._pool.num_workers = -1  # by the DataLoader all the same
    assert batches == [torch.stack(batch).tolist() for batch in before]


def test_workers_change_nothing_in_the_batches():
    plain, workers = (
        CurriculumLoader(mixture(), batch_size=3, steps_per_epoch=20, num_workers=number) for number in (0, 2)
    )
    assert epochs(plain, 2) == epochs(workers, 2)


class ReadyBatches:
    """Re-iterable, of no known class and without a length."""

    def __iter__(self):
        yield from ("first", "second")


def list_of_samples():
    return [(0, index) for index in range(4)]


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (Rows(0, 4), {0: 2, 1: 2, 2: 2, 3: 2}),
        (list_of_samples(), {0: 2, 1: 2, 2: 2, 3: 2}),
        (tuple(list_of_samples()), {0: 2, 1: 2, 2: 2, 3: 2}),
        (StreamedRows(0, 4), {0: 2, 1: 2, 2: 2, 3: 2}),
        (DataLoader(Rows(0, 4), batch_size=2), {0: 2, 1: 2, 2: 2, 3: 2}),
    ],
    ids=["Dataset", "list", "tuple", "IterableDataset", "DataLoader"],
)
def test_every_kind_of_task_is_read_from_end_to_end(task, expected):
    loader = CurriculumLoader({"only": task}, batch_size=2, steps_per_epoch=4)
    assert Counter(rows_by_task(epochs(loader, 1))[0]) == expected


def test_any_iterable_of_ready_batches_is_a_task():
    loader = CurriculumLoader({"only": ReadyBatches()}, steps_per_epoch=5)
    assert list(loader) == ["first", "second", "first", "second", "first"]


def test_an_iterable_dataset_that_knows_its_length_is_still_a_stream():
    class Sized(StreamedRows):
        def __len__(self):
            return len(self.rows)

    loader = CurriculumLoader({"only": Sized(0, 5)}, batch_size=2)
    assert len(loader) == 3
    assert loader.sizes == [5.0]
    assert [rows for _, _, rows in epochs(loader, 1)] == [[0, 1], [2, 3], [4]]


def test_iterable_datasets_of_ready_batches_are_left_as_they_are():
    loader = CurriculumLoader({"only": StreamedRows(0, 3)}, batch_size=None, steps_per_epoch=4)
    assert [tuple(int(part) for part in batch) for batch in loader] == [(0, 0), (0, 1), (0, 2), (0, 0)]


def test_the_last_batch_of_a_stream_may_be_left_out_too():
    def lengths(drop_last):
        loader = CurriculumLoader({"only": StreamedRows(0, 5)}, batch_size=2, steps_per_epoch=4, drop_last=drop_last)
        return [len(rows) for _, _, rows in epochs(loader, 1)]

    assert lengths(False) == [2, 2, 1, 2]
    assert lengths(True) == [2, 2, 2, 2]


# ---------------------------------------------------------------- passes over a task


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exhausted_task_starts_over_in_another_order(workers):
    loader = CurriculumLoader(tasks_of_rows(7), batch_size=3, steps_per_epoch=4, num_workers=workers)
    rows = rows_by_task(epochs(loader, 6))[0]  # 24 batches: 8 passes
    passes = [tuple(rows[start : start + 7]) for start in range(0, 56, 7)]
    assert [sorted(one) for one in passes] == [list(range(7))] * 8
    assert len(set(passes)) == 8


def test_the_length_of_an_epoch_does_not_cut_a_pass():
    short, long = (CurriculumLoader(tasks_of_rows(9, 4), batch_size=2, steps_per_epoch=n) for n in (3, 18))
    assert epochs(short, 6) == epochs(long, 1)


def test_tasks_of_one_size_have_orders_of_their_own():
    loader = CurriculumLoader(tasks_of_rows(20, 20), batch_size=20, steps_per_epoch=10)
    first = rows_by_task(epochs(loader, 1))
    assert first[0][:20] != first[1][:20]


def test_without_shuffling_the_order_is_that_of_the_dataset():
    loader = CurriculumLoader(tasks_of_rows(5), batch_size=2, steps_per_epoch=6, shuffle=False)
    assert [rows for _, _, rows in epochs(loader, 1)] == [[0, 1], [2, 3], [4]] * 2


def test_the_incomplete_last_batch_of_a_pass_may_be_left_out():
    loader = CurriculumLoader(tasks_of_rows(5), batch_size=2, steps_per_epoch=20, drop_last=True)
    steps = epochs(loader, 1)
    assert {len(rows) for _, _, rows in steps} == {2}
    passes = [steps[k][2] + steps[k + 1][2] for k in range(0, 20, 2)]
    assert all(len(set(one)) == 4 for one in passes)
    assert {row for one in passes for row in one} == set(range(5)), "another sample is left out every time"


# ---------------------------------------------------------------- when tasks are drawn


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_is_drawn_before_the_first_batch_is_asked_for(workers):
    loader = CurriculumLoader(tasks_of_rows(4, 4), steps_per_epoch=20, num_workers=workers)
    teacher = teacher_of(loader)
    loader.attach(teacher)
    iterator = iter(loader)
    assert teacher.draws == 0
    next(iterator)
    assert teacher.draws > 0


def test_without_workers_a_task_is_drawn_when_its_batch_is_asked_for():
    loader = CurriculumLoader(mixture(), batch_size=2, steps_per_epoch=12)
    teacher = teacher_of(loader)
    loader.attach(teacher)
    assert [teacher.draws for _ in loader] == list(range(1, 13))


@pytest.mark.parametrize("prefetch", [1, 3])
def test_with_workers_draws_run_ahead_by_what_the_workers_have_in_hand(prefetch):
    loader = CurriculumLoader(mixture(), batch_size=2, steps_per_epoch=20, num_workers=2, prefetch_factor=prefetch)
    teacher = teacher_of(loader)
    loader.attach(teacher)
    ahead = [teacher.draws - delivered for delivered, _ in enumerate(loader, start=1)]
    assert ahead == [min(2 * prefetch, 20 - delivered) for delivered in range(1, 21)]


@pytest.mark.parametrize("workers", [0, 2])
def test_each_batch_meets_its_own_draw(workers):
    loader = CurriculumLoader(mixture(), batch_size=2, steps_per_epoch=30, num_workers=workers)
    teacher = Teacher(loader.names, bandit=Exp3S(eta=0.5, epsilon=0.3), scaler=QuantileScaler(warmup=1))
    loader.attach(teacher)
    seen = []
    for _, batch in zip(range(3), itertools.repeat(loader), strict=False):
        for rows in batch:
            (draw,) = loader.claim()
            seen.append((draw.id, draw.arm == rows_of(rows)[0]))
            teacher.reward(draw, float(draw.arm))
    assert seen == [(number, True) for number in range(90)]


def test_a_batch_can_be_claimed_once():
    loader = CurriculumLoader(tasks_of_rows(4))
    with pytest.raises(RuntimeError, match="no batch of the CurriculumLoader was delivered since the last claim"):
        loader.claim()
    next(iter(loader))
    loader.claim()
    with pytest.raises(RuntimeError, match="since the last claim"):
        loader.claim()


@pytest.mark.parametrize("persistent", [False, True])
def test_draws_left_undelivered_are_the_first_of_the_next_epoch(persistent):
    loader = CurriculumLoader(mixture(), batch_size=2, steps_per_epoch=20, num_workers=2, persistent_workers=persistent)
    reference = CurriculumLoader(mixture(), batch_size=2, steps_per_epoch=20)
    loader.attach(teacher_of(loader))
    reference.attach(teacher_of(reference))
    steps = []
    for stop in (7, 3, 20):  # the trainer's limit_train_batches
        for _, batch in zip(range(stop), loader, strict=False):
            steps.append(step(loader, batch))
    assert [number for number, _, _ in steps] == list(range(30))
    assert steps == epochs(reference, 2)[:30], "and they bring the samples that they would have brought"
    CombinedLoader(loader).reset()  # as the trainer does when it is done


def test_persistent_workers_stay_until_the_trainer_is_done():
    loader = CurriculumLoader(noisy_tasks(), batch_size=8, num_workers=2, persistent_workers=True)
    seen = []

    class Watching(Linear):
        def on_train_batch_start(self, batch, batch_idx):
            seen.append({child.pid for child in multiprocessing.active_children()})

    trainer(max_epochs=2, limit_train_batches=2).fit(Watching(4), loader)
    assert seen == [seen[0]] * 4
    assert len(seen[0]) == 2
    assert not seen[0] & {child.pid for child in multiprocessing.active_children()}


def test_undelivered_draws_keep_their_order_when_accumulation_grows():
    loader = CurriculumLoader(tasks_of_rows(6, 6, 6), steps_per_epoch=20, num_workers=2)
    size = 1
    loader.attach(teacher_of(loader), micro_batches=lambda: size)
    next(iter(loader))  # draw 0; the draws 1 to 4 are left, of one batch each
    size = 2
    next(iter(loader))  # draw 1; the workers have 1, 2 and 3 in hand, and 4 still waits
    assert [number for number, _, _ in epochs(loader, 1)] == [number for number in range(2, 12) for _ in range(2)]


def test_a_draw_whose_step_ended_with_the_epoch_is_not_delivered_again():
    loader = CurriculumLoader(tasks_of_rows(6, 6, 6), steps_per_epoch=6, num_workers=2)
    loader.attach(teacher_of(loader), micro_batches=lambda: 2)
    numbers = [step(loader, batch)[0] for _, batch in zip(range(3), loader, strict=False)]
    assert numbers == [0, 0, 1], "the trainer's limit cuts the second step short"
    assert [number for number, _, _ in epochs(loader, 1)] == [2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_that_end_in_the_middle_of_a_step_cost_no_reward(workers):
    callback = CurriculumCallback()
    loader = CurriculumLoader(noisy_tasks(), batch_size=4, steps_per_epoch=20, num_workers=workers)
    trainer(callback, max_epochs=3, limit_train_batches=5, accumulate_grad_batches=3).fit(Linear(4), loader)
    assert callback.teacher.updates == 6, "two steps per epoch, of three batches and of two"
    assert callback.history.column("arm").size == 6


# ---------------------------------------------------------------- the batch


@pytest.mark.parametrize("workers", [0, 2])
def test_the_batch_is_what_the_collate_function_made(workers):
    def collate(samples):
        return {"samples": samples, "kind": "mine"}

    loader = CurriculumLoader(tasks_of_rows(4), batch_size=2, collate_fn=collate, shuffle=False, num_workers=workers)
    assert list(loader) == [{"samples": [(0, k), (0, k + 1)], "kind": "mine"} for k in (0, 2)]


def test_iterable_datasets_are_collated_alike():
    loader = CurriculumLoader({"stream": StreamedRows(0, 2)}, batch_size=2, collate_fn=tuple, steps_per_epoch=1)
    assert list(loader) == [((0, 0), (0, 1))]


def test_batches_of_dicts_stay_dicts():
    samples = [{"x": torch.tensor([float(k)]), "name": str(k)} for k in range(2)]
    (batch,) = CurriculumLoader({"only": samples}, batch_size=2, shuffle=False)
    assert batch["x"].tolist() == [[0.0], [1.0]]
    assert batch["name"] == ["0", "1"]


def test_datasets_that_read_many_samples_at_once_may():
    class Many(Rows):
        def __getitems__(self, indices):
            return [(7, index) for index in indices]

    (batch,) = CurriculumLoader({"only": Many(0, 3)}, batch_size=3)
    assert rows_of(batch)[0] == 7


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_that_is_none_is_refused(workers):
    loader = CurriculumLoader(tasks_of_rows(4), collate_fn=lambda samples: None, num_workers=workers)
    with pytest.raises(TaskError, match="task '0' got None instead of a batch from collate_fn while") as caught:
        next(iter(loader))
    traceback.clear_frames(caught.tb)  # frees the workers


def test_workers_are_those_that_were_asked_for():
    class Where(Rows):
        def __getitem__(self, index):
            return self.task, torch.utils.data.get_worker_info().id + 10 * int(os.environ["GREETING"])

    def greet(worker):
        os.environ["GREETING"] = str(worker + 1)

    loader = CurriculumLoader(
        {"0": Where(0, 8)},
        batch_size=2,
        num_workers=2,
        worker_init_fn=greet,
        multiprocessing_context="fork",
        timeout=30,
    )
    assert set(rows_by_task(epochs(loader, 1))[0]) == {10, 21}


# ---------------------------------------------------------------- gradient accumulation


@pytest.mark.parametrize("workers", [0, 2])
def test_the_batches_of_one_optimiser_step_share_one_draw(workers):
    loader = CurriculumLoader(mixture(), batch_size=2, steps_per_epoch=8, num_workers=workers)
    loader.attach(teacher_of(loader), micro_batches=lambda: 3)
    numbers = [number for number, _, _ in epochs(loader, 2)]
    assert numbers == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5], "the last step of an epoch may be short"


def test_the_number_of_micro_batches_is_asked_anew_in_every_epoch():
    loader = CurriculumLoader(tasks_of_rows(4, 4), steps_per_epoch=4)
    schedule = iter([1, 2, 4])
    loader.attach(teacher_of(loader), micro_batches=lambda: next(schedule))
    assert [number for number, _, _ in epochs(loader, 3)] == [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6]


# ---------------------------------------------------------------- ranks


def on_all_ranks(world_size, make, number=1, **options):
    found = []
    for rank in range(world_size):
        loader = make()
        loader.attach(teacher_of(loader), rank=rank, world_size=world_size, **options)
        found.append(epochs(loader, number))
    return found


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_draws_and_no_sample(world_size, workers):
    tasks = tasks_of_rows(36, 24)
    ranks = on_all_ranks(
        world_size, lambda: CurriculumLoader(tasks, batch_size=2, steps_per_epoch=30, num_workers=workers)
    )
    for steps in zip(*ranks, strict=True):
        assert len({number for number, _, _ in steps}) == len({task for _, task, _ in steps}) == 1
    for task, size in enumerate((36, 24)):
        parts = [rows_by_task(steps)[task] for steps in ranks]
        first_pass = [row for part in parts for row in part[: size // world_size]]
        assert sorted(first_pass) == list(range(size)), "every sample once in a pass, whichever rank reads it"


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("drop_last", [False, True])
def test_uneven_tasks_give_every_rank_equally_many_samples(world_size, drop_last):
    sizes = (31, 7, 13)
    ranks = on_all_ranks(
        world_size,
        lambda: CurriculumLoader(tasks_of_rows(*sizes), batch_size=2, steps_per_epoch=40, drop_last=drop_last),
    )
    lengths = [[(task, len(rows)) for _, task, rows in steps] for steps in ranks]
    assert lengths == [lengths[0]] * world_size
    for task, size in enumerate(sizes):
        total = 2 * world_size
        batches = size // total if drop_last else -(-size // total)
        parts = [[rows for _, other, rows in steps if other == task][:batches] for steps in ranks]
        counts = Counter(itertools.chain.from_iterable(itertools.chain.from_iterable(parts)))
        if drop_last:
            assert set(counts.values()) == {1}
        else:
            assert counts.keys() == set(range(size))
            assert counts.total() - size == -size % world_size, "filled up to a multiple of the ranks and no further"


def test_ranks_take_turns_at_the_batches_of_a_stream():
    ranks = on_all_ranks(3, lambda: CurriculumLoader({"0": StreamedRows(0, 7)}, batch_size=1, steps_per_epoch=5))
    taken = [rows_by_task(steps)[0] for steps in ranks]
    assert taken == [[0, 3, 6, 2, 5], [1, 4, 0, 3, 6], [2, 5, 1, 4, 0]]


def test_the_default_length_of_an_epoch_is_one_pass_of_all_ranks_together(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    tasks = {**tasks_of_rows(9, 4), "stream": DataLoader(Rows(2, 6), batch_size=2)}
    assert len(CurriculumLoader(tasks, batch_size=2)) == 3 + 1 + 2


def test_a_pass_too_short_for_all_ranks_is_refused_when_the_ranks_are_known():
    loader = CurriculumLoader(tasks_of_rows(10, 5), batch_size=2, drop_last=True)
    with pytest.raises(ValueError, match=r"task '1' has 5 samples, fewer than one batch of 2 x 3 ranks"):
        loader.attach(teacher_of(loader), rank=0, world_size=3)


# ---------------------------------------------------------------- options of the trainer


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 2])
def test_a_limit_repeats_the_first_batches_of_every_task(workers, world_size):
    def run(limit, number):
        return on_all_ranks(
            world_size,
            lambda: CurriculumLoader(
                {"0": Rows(0, 40), "1": DataLoader(Rows(1, 40), batch_size=2, shuffle=True), "2": StreamedRows(2, 40)},
                batch_size=2,
                steps_per_epoch=30,
                num_workers=workers,
            ),
            number,
            limit=limit,
        )

    for limited, free in zip(run(2, 2), run(None, 1), strict=True):
        for task in range(3):
            ours = [rows for _, other, rows in limited if other == task]
            first = [rows for _, other, rows in free if other == task][:2]
            assert len(ours) > 6
            assert ours == [first[k % 2] for k in range(len(ours))]


def test_an_epoch_that_the_trainer_had_ended_is_not_gone_on_with():
    def attached(teacher):
        loader = CurriculumLoader(tasks_of_rows(8, 8), steps_per_epoch=10)
        loader.attach(teacher, epoch_length=lambda: 4)
        return loader

    loader = attached(Teacher(["0", "1"]))
    for _ in zip(range(4), loader, strict=False):
        pass
    resumed = CurriculumLoader(tasks_of_rows(8, 8), steps_per_epoch=10)
    resumed.load_state_dict(loader.state_dict())
    resumed.attach(Teacher(["0", "1"]), epoch_length=lambda: 4)
    assert len(list(resumed)) == 10, "a new epoch, not the six batches that the trainer never asks for"


def test_another_teacher_begins_with_the_first_batch_of_every_task():
    def fresh():
        return CurriculumLoader(mixture(), batch_size=2, steps_per_epoch=9)

    used, new = fresh(), fresh()
    epochs(used, 1)
    next(iter(used))
    for loader in (used, new):
        loader.attach(teacher_of(loader, seed=3))
    assert epochs(used, 2) == epochs(new, 2)


def test_a_teacher_that_is_attached_again_goes_on():
    loader = CurriculumLoader(tasks_of_rows(50), steps_per_epoch=5)
    teacher = teacher_of(loader)
    loader.attach(teacher)
    first = epochs(loader, 1)
    loader.attach(teacher)
    assert not set(rows_by_task(first)[0]) & set(rows_by_task(epochs(loader, 1))[0])


def test_a_teacher_of_other_tasks_is_refused():
    loader = CurriculumLoader(tasks_of_rows(4, 4))
    with pytest.raises(ValueError, match=r"the teacher's tasks \('1', '0'\) are not the loader's \('0', '1'\)"):
        loader.attach(Teacher(["1", "0"]))


def test_one_iterator_runs_at_a_time():
    loader = CurriculumLoader(tasks_of_rows(8))
    first = iter(loader)
    next(first)
    second = iter(loader)
    next(second)
    with pytest.raises(RuntimeError, match=r"one running iterator at a time.*finish one epoch before the next"):
        next(first)
    assert len(list(second)) == 7, "the newer one is unharmed"


def test_sizes_are_the_numbers_of_samples():
    tasks = {"map": Rows(0, 7), "loader": DataLoader(Rows(1, 6), batch_size=2)}
    assert CurriculumLoader(tasks, batch_size=2).sizes == [7.0, 6.0]


def test_tasks_without_a_length_have_no_size():
    loader = CurriculumLoader({"endless": ReadyBatches()}, steps_per_epoch=2)
    with pytest.raises(ValueError, match="task 'endless' has no length: give sizes by hand"):
        loader.sizes  # noqa: B018 - it raises


# ---------------------------------------------------------------- the user's random streams


@pytest.mark.parametrize("workers", [0, 2])
def test_iterating_draws_nothing_from_the_users_random_streams(workers):
    def streams():
        return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002

    before = streams()
    loader = CurriculumLoader(mixture(), batch_size=2, steps_per_epoch=20, num_workers=workers)
    epochs(loader, 2)
    CurriculumLoader(mixture(), batch_size=2, steps_per_epoch=20).load_state_dict(loader.state_dict())
    assert streams() == before


# ---------------------------------------------------------------- state

STEPS, BATCH, EPOCHS = 7, 2, 2


def learner(loader):
    return Teacher(loader.names, bandit=Exp3S(eta=0.05, epsilon=0.2), scaler=QuantileScaler(window=8, warmup=2), seed=4)


def make(workers):
    return CurriculumLoader(mixture(), batch_size=BATCH, steps_per_epoch=STEPS, num_workers=workers, seed=9)


def train(loader, teacher=None, micro=1, done=0, save=None):
    """Train to the end of the last epoch, having done some steps; reward every draw after its last batch."""
    steps = []
    for _ in range(EPOCHS - done // STEPS):
        for batch in loader:
            (draw,) = loader.claim()
            steps.append((draw.id, draw.probability, *rows_of(batch)))
            assert draw.arm == steps[-1][2]
            done += 1
            position = (done - 1) % STEPS + 1
            if teacher is not None and (position % micro == 0 or position == STEPS):
                teacher.reward(draw, progress=draw.arm + 0.1 * done)
            if save is not None:
                save.append(json.dumps([loader.state_dict(), teacher and teacher.state_dict()]))
    return steps


@pytest.mark.parametrize("workers", [0, 2])
def test_uniform_draws_are_resumed_exactly_from_every_position(workers):
    states = []
    steps = train(make(workers), save=states)
    assert len(states) == len(steps) == STEPS * EPOCHS
    for done, state in enumerate(states, start=1):
        resumed = make(workers)
        resumed.load_state_dict(json.loads(state)[0])
        assert train(resumed, done=done) == steps[done:], done


@pytest.mark.parametrize("micro", [1, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_learning_teacher_is_resumed_exactly_from_every_position(workers, micro):
    whole, states = make(workers), []
    teacher = learner(whole)
    whole.attach(teacher, micro_batches=lambda: micro)
    steps = train(whole, teacher, micro, save=states)
    assert len({probability for _, probability, *_ in steps}) > 1, "it learns"
    for done, state in enumerate(states, start=1):
        resumed = make(workers)
        other = learner(resumed)
        loader_state, teacher_state = json.loads(state)
        resumed.load_state_dict(loader_state)
        other.load_state_dict(teacher_state)
        resumed.attach(other, micro_batches=lambda: micro)
        assert train(resumed, other, micro, done) == steps[done:], done
        assert other.state_dict() == teacher.state_dict(), done


def test_what_is_random_in_the_workers_is_of_the_seed_and_the_epoch():
    class Augmented(Rows):
        def __getitem__(self, index):
            return self.task, int(torch.randint(2**31, ()))

    def fresh(seed=1):
        return CurriculumLoader({"0": Augmented(0, 4)}, num_workers=1, seed=seed)

    loader = fresh()
    first, second = epochs(loader, 1), epochs(loader, 1)
    assert rows_by_task(first) != rows_by_task(second)
    assert epochs(fresh(), 2) == first + second
    assert rows_by_task(epochs(fresh(seed=2), 1)) != rows_by_task(first)
    resumed, one_epoch = fresh(), fresh()
    epochs(one_epoch, 1)
    resumed.load_state_dict(one_epoch.state_dict())
    assert epochs(resumed, 1) == second


def test_a_run_is_resumed_with_another_number_of_workers():
    loader = make(2)
    iterator = iter(loader)
    before = [step(loader, next(iterator)) for _ in range(3)]
    resumed = make(0)
    resumed.load_state_dict(loader.state_dict())
    assert before + epochs(resumed, 2) == epochs(make(0), 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_taking_the_state_changes_nothing(workers):
    loader, watched = make(workers), make(workers)
    steps = []
    for _ in range(2):
        for batch in watched:
            watched.state_dict()
            steps.append(step(watched, batch))
    assert steps == epochs(loader, 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_state_is_plain(workers):
    loader = make(workers)
    loader.attach(learner(loader), micro_batches=lambda: 2)
    next(iter(loader))
    state = loader.state_dict()
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == state
    assert json.loads(json.dumps(state, allow_nan=False)) == state


def test_ranks_have_one_state():
    states = []
    for rank in (0, 1):
        loader = make(0)
        loader.attach(learner(loader), rank=rank, world_size=2)
        for _ in zip(range(5), loader, strict=False):
            loader.claim()
        states.append(loader.state_dict())
    assert states[0] == states[1]


def test_every_rank_is_resumed_exactly():
    for rank in (0, 1):
        loader, resumed = make(0), make(0)
        loader.attach(teacher_of(loader), rank=rank, world_size=2)
        epochs(loader, 1)
        iterator = iter(loader)
        for _ in range(3):
            step(loader, next(iterator))
        resumed.load_state_dict(loader.state_dict())
        resumed.attach(loader.teacher, rank=rank, world_size=2)
        teacher = copy.deepcopy(loader.teacher)
        rest = [step(loader, batch) for batch in iterator]
        resumed.attach(teacher, rank=rank, world_size=2)
        assert epochs(resumed, 1) == rest


def test_a_damaged_state_is_refused_and_changes_nothing():
    loader = make(0)
    next(iter(loader))
    state = loader.state_dict()
    damaged = copy.deepcopy(state)
    damaged["content"]["visits"][0] ^= 4
    with pytest.raises(ValueError, match="the loader state is damaged"):
        loader.load_state_dict(damaged)
    assert loader.state_dict() == state


def test_the_state_of_other_tasks_is_refused():
    state = CurriculumLoader(tasks_of_rows(4, 4)).state_dict()
    other = CurriculumLoader({"0": Rows(0, 4), "x": Rows(1, 4)})
    other.load_state_dict(state)
    refusal = r"the checkpoint's loader has other tasks \(missing now: \['1'\]; new: \['x'\]\): give the same tasks"
    with pytest.raises(ValueError, match=refusal):
        next(iter(other))
    with pytest.raises(ValueError, match=refusal):
        other.attach(Teacher(other.names))


def test_a_draw_that_was_delivered_but_never_rewarded_is_discarded_on_resume():
    loader = make(2)
    teacher = learner(loader)
    loader.attach(teacher)
    iterator = iter(loader)
    next(iterator)
    next(iterator)  # draws 0 and 1 were delivered, 2 to 5 are with the workers
    resumed, restored = make(0), learner(loader)
    restored.load_state_dict(teacher.state_dict())
    resumed.load_state_dict(loader.state_dict())
    resumed.attach(restored)
    assert [draw.id for draw in restored.open_draws()] == [1, 2, 3, 4, 5], "the current draw may still have a batch"
    assert next(number for number, *_ in epochs(resumed, 1)) == 2
    assert next(draw.id for draw in restored.open_draws()) == 2, "it had none"


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda loader: pickle.loads(pickle.dumps(loader))])
def test_a_copy_is_a_loader_of_its_own(duplicate):
    loader = CurriculumLoader(mixture(), batch_size=2, steps_per_epoch=9)
    twin = duplicate(loader)
    expected = epochs(make_again := CurriculumLoader(mixture(), batch_size=2, steps_per_epoch=9), 1)
    assert epochs(twin, 1) == expected
    assert epochs(loader, 1) == expected
    third = duplicate(CurriculumLoader(mixture(), batch_size=2, steps_per_epoch=9))
    third.load_state_dict(make_again.state_dict())
    assert epochs(third, 1) == epochs(make_again, 1)
