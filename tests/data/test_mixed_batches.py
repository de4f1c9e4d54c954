"""Batches of several tasks: every slot is of its own draw, passes are exact, and a resume is too."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import threading
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, Dataset, IterableDataset

from curricula import CurriculumLoader, Teacher
from curricula.bandits import Exp3S, FixedPolicy
from curricula.data import TaskError
from curricula.rewards import QuantileScaler
from tests.models import Counting, Linear, Rows, StreamedRows, noisy_tasks, tasks_of_rows, trainer

SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=20)


class Together(Rows):
    """Rows that are read many at once."""

    def __getitems__(self, indices):
        return [self[index] for index in indices]


KINDS = {
    "map": lambda task, size, slot: Rows(task, size),
    "many": lambda task, size, slot: Together(task, size),
    "list": lambda task, size, slot: [(task, row) for row in range(size)],
    "stream": lambda task, size, slot: StreamedRows(task, size),
    "place": lambda task, size, slot: Counting(task, size),
    "ready": lambda task, size, slot: DataLoader(Rows(task, size * slot), batch_size=slot, shuffle=True),
}


def tasks_of(kinds, sizes, slot):
    return {
        f"{arm} {kind}": KINDS[kind](arm, size, slot)
        for arm, (kind, size) in enumerate(zip(kinds, sizes, strict=False))
    }


def slots_of(loader, batch):
    """Return (draw number, arm, rows) of every slot of this rank, having compared them with their draws."""
    draws = loader.claim()
    own = draws[loader._plan.own_places.start : loader._plan.own_places.stop]
    size = loader.batch_size // loader.draws_per_batch
    tasks, rows = (part.tolist() for part in batch)
    assert len(tasks) == loader.batch_size
    assert tasks == [draw.arm for draw in own for _ in range(size)], "every slot is of its own draw"
    return [(draw.id, draw.arm, rows[k * size : (k + 1) * size]) for k, draw in enumerate(own)]


def epochs(loader, number=1):
    return [slots_of(loader, batch) for _ in range(number) for batch in loader]


def rows_by_task(batches):
    found = {}
    for _, arm, rows in itertools.chain.from_iterable(batches):
        found.setdefault(arm, []).extend(rows)
    return found


def mixture(slot):
    return tasks_of(KINDS, (7, 10, 5, 9, 11, 4), slot)


def teacher_of(loader, seed=0):
    return Teacher(loader.names, bandit=FixedPolicy.uniform(), seed=seed)


# ---------------------------------------------------------------- what is delivered

cases = st.fixed_dictionaries(
    {
        "kinds": st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=5),
        "sizes": st.lists(st.integers(1, 12), min_size=5, max_size=5),
        "draws": st.sampled_from([2, 3, 4]),
        "slot": st.integers(1, 4),
        "ranks": st.integers(1, 3),
        "independent": st.booleans(),
        "micro": st.integers(1, 3),
        "redraw": st.sampled_from(["step", "batch"]),
        "quotas": st.booleans(),
        "stop": st.integers(1, 17),
        "seed": st.integers(0, 2**32),
    }
)


@SETTINGS
@given(cases)
def test_whatever_is_mixed_slots_are_of_their_draws_ranks_share_passes_and_a_resume_is_exact(case):
    steps, runs = 9, []
    for rank in range(case["ranks"]):

        def make(rank=rank):
            loader = CurriculumLoader(
                tasks_of(case["kinds"], case["sizes"], case["slot"]),
                batch_size=case["slot"] * case["draws"],
                draws_per_batch=case["draws"],
                quotas=case["quotas"],
                redraw=case["redraw"],
                steps_per_epoch=steps,
                seed=case["seed"],
            )
            return loader, {
                "rank": rank,
                "world_size": case["ranks"],
                "independent": case["independent"] and case["ranks"] > 1,
                "micro_batches": lambda: case["micro"],
            }

        loader, options = make()
        teacher = teacher_of(loader)
        loader.attach(teacher, **options)
        found, state = [], None
        for batch in itertools.chain(loader, loader):
            found.append(slots_of(loader, batch))
            if len(found) == case["stop"]:
                state = json.dumps([loader.state_dict(), teacher.state_dict()])
        resumed, options = make()
        other = teacher_of(resumed)
        loader_state, teacher_state = json.loads(state)
        resumed.load_state_dict(loader_state)
        other.load_state_dict(teacher_state)
        resumed.attach(other, **options)
        rest = epochs(resumed, 2 if case["stop"] < steps else 1)
        assert rest == found[case["stop"] :], "a resumed loader goes on as one that was not interrupted"
        runs.append(found)
    check_draws(case, runs, steps)
    check_passes(case, runs)


def check_draws(case, runs, steps):
    apart = case["independent"] and case["ranks"] > 1
    for position, batches in enumerate(zip(*runs, strict=True)):
        numbers = [[number for number, _, _ in slots] for slots in batches]
        if apart:
            flat = list(itertools.chain.from_iterable(numbers))
            assert flat == list(range(flat[0], flat[0] + len(flat))), "ranks have draws of their own"
        else:
            assert numbers == [numbers[0]] * len(numbers), "ranks share their draws"
        same_step = position % steps % case["micro"] != 0 and case["redraw"] == "step"
        if position:
            assert (runs[0][position - 1][0][0] == numbers[0][0]) == same_step


def check_passes(case, runs):
    for arm, (kind, size) in enumerate(zip(case["kinds"], case["sizes"], strict=False)):
        size = size * case["slot"] if kind == "ready" else size
        rows = [row for slots in zip(*runs, strict=True) for row in in_order(slots, arm, case)]
        passes = [rows[start : start + size] for start in range(0, len(rows) - size + 1, size)]
        assert all(sorted(one) == list(range(size)) for one in passes), f"every sample once per pass of a {kind}"
        assert len(set(rows[len(passes) * size :])) == len(rows) - len(passes) * size


def in_order(batches, arm, case):
    """Return the rows of a task in the order in which its visits have them, of all ranks."""
    if case["independent"]:
        return [row for slots in batches for _, task, rows in slots if task == arm for row in rows]
    interleaved = case["kinds"][arm] in ("map", "many", "list")
    found = []
    for parts in zip(*batches, strict=True):  # the slots of all ranks
        if parts[0][1] == arm:
            rows = [part[2] for part in parts]
            found += itertools.chain.from_iterable(zip(*rows, strict=True) if interleaved else rows)
    return found


def test_workers_change_nothing_in_the_batches():
    plain, workers = (
        CurriculumLoader(mixture(2), batch_size=8, draws_per_batch=4, steps_per_epoch=12, num_workers=number)
        for number in (0, 2)
    )
    assert epochs(plain, 2) == epochs(workers, 2)


def test_a_resume_is_exact_from_every_position_with_a_policy_that_learns():
    def make():
        loader = CurriculumLoader(mixture(1), batch_size=3, draws_per_batch=3, steps_per_epoch=6, seed=5)
        return loader, Teacher(
            loader.names, bandit=Exp3S(eta=0.05, epsilon=0.2), scaler=QuantileScaler(window=8, warmup=2), seed=4
        )

    def train(loader, teacher, done=0, save=None):
        steps = []
        for _ in range(2 - done // 6):
            for batch in loader:
                draws = loader.arrived
                steps.append((slots_of(loader, batch), [draw.probability for draw in draws]))
                teacher.reward_all([(draw, draw.arm + 0.1 * draw.id, 1.0) for draw in draws])
                if save is not None:
                    save.append(json.dumps([loader.state_dict(), teacher.state_dict()]))
        return steps

    whole, teacher = make()
    whole.attach(teacher)
    states = []
    steps = train(whole, teacher, save=states)
    for done, state in enumerate(states, start=1):
        resumed, other = make()
        loader_state, teacher_state = json.loads(state)
        resumed.load_state_dict(loader_state)
        other.load_state_dict(teacher_state)
        resumed.attach(other)
        assert train(resumed, other, done) == steps[done:], done
        assert other.state_dict() == teacher.state_dict()


def test_with_workers_a_resume_is_exact_and_so_is_what_is_random_in_them():
    class Augmented(Rows):
        def __getitem__(self, index):
            return self.task, int(torch.randint(2**31, ()))

    def make():
        tasks = {"0": Augmented(0, 7), "1": Augmented(1, 5), "2": Rows(2, 9)}
        return CurriculumLoader(tasks, batch_size=6, draws_per_batch=3, steps_per_epoch=10, num_workers=2)

    loader = make()
    iterator = iter(loader)
    found = [slots_of(loader, next(iterator)) for _ in range(4)]
    state = json.loads(json.dumps(loader.state_dict()))
    found += [slots_of(loader, batch) for batch in iterator]
    resumed = make()
    resumed.load_state_dict(state)
    assert epochs(resumed) == found[4:]
    assert len({row for rows in (rows_by_task(found)[0], rows_by_task(found)[1]) for row in rows}) > 20


def test_the_batch_is_what_the_collate_function_made():
    def collate(samples):
        return {"samples": samples}

    for tasks in (tasks_of_rows(4, 4), {"0": Rows(0, 4), "1": StreamedRows(1, 4)}):
        loader = CurriculumLoader(tasks, batch_size=4, draws_per_batch=2, collate_fn=collate, steps_per_epoch=4)
        for batch in loader:
            one, other = loader.claim()
            assert [task for task, _ in batch["samples"]] == [one.arm, one.arm, other.arm, other.arm]


def test_without_a_callback_draws_are_uniform_and_nobody_waits_for_their_reward():
    loader = CurriculumLoader(tasks_of_rows(30, 30, 30), batch_size=16, draws_per_batch=16, steps_per_epoch=100)
    counts = Counter()
    for _ in loader:
        draws = loader.claim()
        assert len(draws) == 16
        counts.update(draw.arm for draw in draws)
        assert {draw.probability for draw in draws} == {1 / 3}
    assert all(abs(count - 1600 / 3) < 100 for count in counts.values())
    assert loader.teacher.open_draws() == []


def test_an_epoch_is_one_pass_over_all_samples_unless_said_otherwise():
    tasks = {"map": Rows(0, 33), "stream": DataLoader(Rows(1, 12), batch_size=4), "other": Rows(2, 7)}
    loader = CurriculumLoader(tasks, batch_size=16, draws_per_batch=4)
    assert len(loader) == -(-(9 + 3 + 2) // 4)


def test_ready_batches_of_datasets_are_put_one_behind_the_other():
    ready = {name: [torch.full((3, 2), arm + row / 10) for row in range(4)] for arm, name in enumerate("ab")}
    loader = CurriculumLoader(ready, batch_size=None, draws_per_batch=2, steps_per_epoch=6)
    for batch in loader:
        assert batch.shape == (6, 2)
        assert [draw.arm for draw in loader.claim() for _ in range(3)] == batch[:, 0].int().tolist()


def test_a_pass_that_fills_no_slot_is_gone_on_with_by_the_next():
    loader = CurriculumLoader({"a": Rows(0, 3)}, batch_size=8, draws_per_batch=2, steps_per_epoch=6, drop_last=True)
    rows = rows_by_task(epochs(loader))[0]
    assert [sorted(rows[k : k + 3]) for k in range(0, 48, 3)] == [[0, 1, 2]] * 16


@pytest.mark.parametrize("workers", [0, 2])
def test_a_limit_repeats_the_first_slots_of_every_task(workers):
    def run(limit):
        tasks = {"0": Rows(0, 90), "1": DataLoader(Rows(1, 90), batch_size=2, shuffle=True), "2": StreamedRows(2, 90)}
        loader = CurriculumLoader(tasks, batch_size=6, draws_per_batch=3, steps_per_epoch=14, num_workers=workers)
        loader.attach(teacher_of(loader), limit=limit)
        return rows_by_task(epochs(loader))

    limited, free = run(2), run(None)
    for task in range(3):
        first = free[task][: 2 * 6]
        assert len(limited[task]) > 15
        assert limited[task] == [first[k % len(first)] for k in range(len(limited[task]))]


def test_a_training_without_a_callback_is_resumed_exactly(tmp_path):
    class Seeing(Linear):
        def __init__(self):
            super().__init__(4)
            self.seen = []

        def training_step(self, batch, batch_idx):
            self.seen.append([part.tolist() for part in batch])
            return super().training_step(batch, batch_idx)

    def fit(**options):
        model = Seeing()
        loader = CurriculumLoader(noisy_tasks(), batch_size=8, draws_per_batch=4, steps_per_epoch=5)
        saving = ModelCheckpoint(tmp_path, every_n_train_steps=3, save_top_k=-1, filename="{step}")
        trainer(saving, max_epochs=2, enable_checkpointing=True).fit(model, loader, **options)
        return model.seen

    whole = fit()
    assert len(whole) == 10
    assert fit(ckpt_path=tmp_path / "step=3.ckpt") == whole[3:]


# ---------------------------------------------------------------- when draws are made


def test_the_batches_of_a_step_share_their_draws_or_have_their_own():
    def numbers(redraw, workers=0):
        loader = CurriculumLoader(
            tasks_of_rows(9, 9), batch_size=4, draws_per_batch=2, redraw=redraw, steps_per_epoch=5, num_workers=workers
        )
        loader.attach(teacher_of(loader), micro_batches=lambda: 2)
        assert loader.redraws == (redraw == "batch")
        return [slots[0][0] for slots in epochs(loader)]

    for workers in (0, 1):
        assert numbers("step", workers) == [0, 0, 2, 2, 4]
        assert numbers("batch", workers) == [0, 2, 4, 6, 8]


def test_redrawing_takes_no_heed_of_a_step_that_goes_on():
    loader = CurriculumLoader(tasks_of_rows(9, 9), batch_size=4, draws_per_batch=2, redraw="batch", steps_per_epoch=3)
    loader.attach(teacher_of(loader), goes_on=lambda: True)
    assert [slots[0][0] for slots in epochs(loader)] == [0, 2, 4]


@pytest.mark.parametrize(("redraw", "open_draws"), [("step", [0, 1]), ("batch", [2, 3])])
def test_draws_of_a_step_that_was_interrupted_are_closed_where_no_batch_of_them_follows(redraw, open_draws):
    def make(redraw):
        loader = CurriculumLoader(
            tasks_of_rows(9, 9), batch_size=4, draws_per_batch=2, redraw=redraw, steps_per_epoch=6
        )
        return loader, teacher_of(loader)

    loader, teacher = make(redraw)
    loader.attach(teacher, micro_batches=lambda: 2)
    next(iter(loader))
    resumed, other = make(redraw)
    resumed.load_state_dict(loader.state_dict())
    other.load_state_dict(teacher.state_dict())
    resumed.attach(other, micro_batches=lambda: 2)
    next(iter(resumed))
    assert [draw.id for draw in resumed.claim()] == open_draws
    assert [draw.id for draw in other.open_draws()] == open_draws


def test_draws_of_a_removed_task_are_neither_trained_on_nor_kept_open():
    for workers in (0, 2):
        loader = CurriculumLoader(
            tasks_of_rows(9, 9, 9), batch_size=4, draws_per_batch=4, steps_per_epoch=30, num_workers=workers
        )
        teacher = teacher_of(loader)
        loader.attach(teacher)
        arms = []
        for step, batch in enumerate(loader):
            slots = slots_of(loader, batch)
            arms.append({arm for _, arm, _ in slots})
            numbers = {number for number, _, _ in slots}
            teacher.reward_all([(draw, 0.0, 1.0) for draw in teacher.open_draws() if draw.id in numbers])
            if step == 9:
                teacher.remove_task("1")
        assert 1 in set().union(*arms[:10])
        assert 1 not in set().union(*arms[10:])
        assert teacher.open_draws() == []


def test_a_task_that_is_added_fills_slots_from_then_on():
    for workers in (0, 2):
        loader = CurriculumLoader(mixture(1), batch_size=4, draws_per_batch=4, steps_per_epoch=30, num_workers=workers)
        arms = []
        for step, batch in enumerate(loader):
            arms.append({arm for _, arm, _ in slots_of(loader, batch)})
            if step == 9:
                loader.add_task("new", StreamedRows(6, 5))
        assert 6 in set().union(*arms[15:])


# ---------------------------------------------------------------- other batches, other loaders


@pytest.mark.parametrize(("before", "after"), [((4, 1), (4, 4)), ((4, 4), (4, 1)), ((4, 2), (8, 2)), ((6, 3), (4, 2))])
def test_other_batches_go_on_at_the_same_samples(before, after, caplog):
    def make(size, draws):
        return CurriculumLoader(
            {"0": Rows(0, 50), "1": StreamedRows(1, 50)}, batch_size=size, draws_per_batch=draws, steps_per_epoch=5
        )

    loader = make(*before)
    first = rows_by_task(epochs(loader)) if before[1] > 1 else whole_batches(loader)
    resumed = make(*after)
    resumed.load_state_dict(loader.state_dict())
    second = rows_by_task(epochs(resumed)) if after[1] > 1 else whole_batches(resumed)
    size = after[0] // after[1]
    for task in (0, 1):
        again = set(first.get(task, ())) & set(second.get(task, ()))
        assert len(again) < size, "nothing is left out, and less than a slot comes twice"
    assert "goes on where it was" in caplog.text


def whole_batches(loader):
    found = {}
    for tasks, rows in loader:
        found.setdefault(int(tasks[0]), []).extend(rows.tolist())
    return found


def test_a_loader_that_takes_over_goes_on():
    def make(**options):
        return CurriculumLoader(tasks, batch_size=4, draws_per_batch=2, steps_per_epoch=6, **options)

    tasks = {"0": Rows(0, 40), "1": StreamedRows(1, 40)}
    whole, first, second = make(), make(), make()
    whole.attach(teacher_of(whole))
    first.attach(teacher_of(first))
    found = epochs(first)
    second.take_over(first)
    second.attach(first.teacher)
    assert found + epochs(second) == epochs(whole, 2)


def test_what_a_task_has_more_is_read_from_the_next_epoch_on():
    task = [(0, row) for row in range(5)]
    loader = CurriculumLoader({"0": task}, batch_size=4, draws_per_batch=2, steps_per_epoch=3)
    first = rows_by_task(epochs(loader))[0]  # two passes and two rows
    task += [(0, 5), (0, 6)]
    state = json.loads(json.dumps(loader.state_dict()))
    second = epochs(loader, 7)
    rows = rows_by_task(second)[0]
    assert [sorted(first[:5]), sorted(first[5:10])] == [[0, 1, 2, 3, 4]] * 2
    assert [sorted(rows[k : k + 7]) for k in range(0, 84, 7)] == [list(range(7))] * 12
    resumed = CurriculumLoader({"0": task}, batch_size=4, draws_per_batch=2, steps_per_epoch=3)
    resumed.load_state_dict(state)
    assert epochs(resumed, 7) == second


def test_streams_that_split_themselves_are_read_whole_by_every_rank():
    for independent in (False, True):
        for rank in (0, 1):
            tasks = {"0": StreamedRows(0, 30), "1": Rows(1, 30)}
            loader = CurriculumLoader(tasks, batch_size=4, draws_per_batch=4, steps_per_epoch=6, presharded=["0"])
            loader.attach(teacher_of(loader), rank=rank, world_size=2, independent=independent)
            rows = rows_by_task(epochs(loader))[0]
            if independent:  # it reads past what the other takes, so that all are at one place
                assert rows == sorted(rows)
            else:
                assert rows == [row % 30 for row in range(len(rows))]


def test_with_the_same_global_batch_another_number_of_ranks_has_the_same_samples():
    def global_batches(ranks, size):
        found = []
        for rank in range(ranks):
            loader = CurriculumLoader(tasks_of_rows(11, 13), batch_size=size, draws_per_batch=2, steps_per_epoch=20)
            loader.attach(teacher_of(loader), rank=rank, world_size=ranks)
            found.append(epochs(loader))
        return [
            [(parts[0][0], sorted(row for part in parts for row in part[2])) for parts in zip(*slots, strict=True)]
            for slots in zip(*found, strict=True)
        ]

    assert global_batches(1, 12) == global_batches(2, 6) == global_batches(3, 4)


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws_per_batch": 3}, r"must divide batch_size=8.* got 3: give one of \[1, 2, 4, 8\]"),
        ({"draws_per_batch": 0}, "draws_per_batch must be at least 1, got 0"),
        ({"draws_per_batch": 16}, "must divide batch_size=8"),
        ({"redraw": "epoch"}, 'redraw must be "step" or "batch", got \'epoch\''),
    ],
)
def test_numbers_of_draws_that_fill_no_batch_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CurriculumLoader(tasks_of_rows(4), batch_size=8, **options)


@pytest.mark.parametrize("options", [{"draws_per_batch": 2.0}, {"draws_per_batch": None}, {"quotas": 1}])
def test_options_of_another_kind_are_refused(options):
    with pytest.raises(TypeError, match=next(iter(options))):
        CurriculumLoader(tasks_of_rows(4), batch_size=8, **options)


def test_ready_batches_that_fill_no_slot_are_refused_when_the_loader_is_made():
    with pytest.raises(ValueError, match=r"task 'a' is a DataLoader with batches of 3 samples.*with batch_size=2"):
        CurriculumLoader({"a": DataLoader(Rows(0, 9), batch_size=3)}, batch_size=4, draws_per_batch=2)
    with pytest.raises(ValueError, match=r"task 'a' is a DataLoader whose last batch has 1 samples.*drop_last=True"):
        CurriculumLoader({"a": DataLoader(Rows(0, 9), batch_size=2)}, batch_size=4, draws_per_batch=2)


def test_a_task_that_fills_no_slot_is_not_added_and_nothing_has_changed():
    loader = CurriculumLoader(tasks_of_rows(9), batch_size=4, draws_per_batch=2, steps_per_epoch=4)
    with pytest.raises(ValueError, match="task 'new' is a DataLoader with batches of 3 samples"):
        loader.add_task("new", DataLoader(Rows(1, 9), batch_size=3))
    assert loader.names == loader.teacher.tasks == ("0",)
    assert rows_by_task(epochs(loader)).keys() == {0}


class Wide(Dataset):
    def __init__(self, shape):
        self.shape = shape

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"x": torch.zeros(self.shape), "y": index}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("streamed", [False, True])
def test_samples_that_do_not_fit_together_name_both_tasks_and_what_differs(workers, streamed):
    tasks = {"narrow": Wide((2,)), "wide": Wide((3,)), **({"s": StreamedRows(0, 3)} if streamed else {})}
    loader = CurriculumLoader(tasks, batch_size=4, draws_per_batch=4, steps_per_epoch=9, num_workers=workers)
    with pytest.raises(ValueError, match=r"the tasks '(\w+)' and '(\w+)' do not make one batch \(.*draws_per_batch=1"):
        list(loader)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [0, 1])
def test_rows_that_are_read_at_once_must_be_a_list_of_samples(workers):
    class Table(Rows):
        def __getitems__(self, indices):
            return {"rows": indices}

    loader = CurriculumLoader({"t": Table(0, 9)}, batch_size=4, draws_per_batch=2, num_workers=workers)
    with pytest.raises(
        TaskError, match=r"task 't' raised TypeError .*must return a list of 2 samples.*returned a dict"
    ):
        list(loader)


# ---------------------------------------------------------------- tasks that fail


class Broken(Rows):
    """Some rows of which cannot be read."""

    def __init__(self, task, size, broken):
        super().__init__(task, size)
        self.broken = broken

    def __getitem__(self, index):
        if index in self.broken:
            raise OSError(f"row {index} is lost")
        return super().__getitem__(index)


class BrokenStream(IterableDataset):
    def __iter__(self):
        raise OSError("no connection")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_names_the_task_the_samples_and_the_draw(workers):
    tasks = {"good": Rows(0, 9), "bad": Broken(1, 9, range(9))}
    loader = CurriculumLoader(tasks, batch_size=4, draws_per_batch=2, steps_per_epoch=9, num_workers=workers)
    message = r"task 'bad' raised OSError while reading the samples \[\d, \d\]: row \d is lost \(draw \d\)"
    with pytest.raises(TaskError, match=message) as caught:
        list(loader)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("workers", [0, 1])
def test_samples_that_cannot_be_read_are_replaced_by_those_that_follow(workers, caplog):
    tasks = {"good": Rows(0, 9), "bad": Broken(1, 9, [3])}
    loader = CurriculumLoader(
        tasks, batch_size=4, draws_per_batch=2, steps_per_epoch=15, num_workers=workers, on_error="retry"
    )
    rows = rows_by_task(epochs(loader))[1]
    assert 3 not in rows
    assert set(rows) == set(range(9)) - {3}
    assert len([record for record in caplog.records if "other data of the task are taken" in record.message]) == 1


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("bad", [Broken(1, 9, range(9)), BrokenStream()], ids=["map", "stream"])
def test_a_task_that_cannot_be_read_is_dropped_and_no_sample_of_the_others_is_lost(workers, bad, caplog):
    def run(tasks):
        loader = CurriculumLoader(
            tasks, batch_size=4, draws_per_batch=4, steps_per_epoch=20, num_workers=workers, on_error="drop"
        )
        teacher = teacher_of(loader)
        loader.attach(teacher)
        return loader, rows_by_task(epochs(loader))

    loader, rows = run({"good": Rows(0, 9), "bad": bad, "stream": StreamedRows(2, 7), "place": Counting(3, 8)})
    assert loader.teacher.removed == ("bad",)
    assert rows[2] == [k % 7 for k in range(len(rows[2]))], "nothing of the streams is left out"
    assert rows[3] == [k % 8 for k in range(len(rows[3]))]
    assert [sorted(rows[0][k : k + 9]) for k in (0, 9)] == [list(range(9))] * 2
    assert len([record for record in caplog.records if "the task is dropped" in record.message]) == 1


def test_samples_that_nothing_can_be_made_of_are_the_fault_of_their_task(caplog):
    def collate(samples):
        if any(task == 1 for task, _ in samples):
            raise ValueError("of no use")
        return torch.utils.data.default_collate(samples)

    def run(tasks, **options):
        loader = CurriculumLoader(
            tasks, batch_size=4, draws_per_batch=4, collate_fn=collate, steps_per_epoch=9, **options
        )
        loader.attach(teacher_of(loader))
        epochs(loader)
        return loader.teacher.removed

    for bad in (Rows(1, 9), StreamedRows(1, 9)):
        tasks = {"good": Rows(0, 9), "bad": bad}
        with pytest.raises(TaskError, match=r"task 'bad' raised ValueError .*of no use"):
            run(tasks)
        assert run(tasks, on_error="drop") == ("bad",)


@pytest.mark.parametrize("nothing", [1, 2])
def test_a_draw_of_which_nothing_is_left_is_replaced(nothing):
    def collate(samples):
        return torch.utils.data.default_collate(samples) if any(row % 3 for _, row in samples) else None

    tasks = {"map": Rows(0, 9)} if nothing == 1 else {"stream": StreamedRows(0, 9)}
    loader = CurriculumLoader(
        tasks, batch_size=2, draws_per_batch=2, collate_fn=collate, steps_per_epoch=30, on_error="retry"
    )
    assert all(any(row % 3 for row in rows.tolist()) for _, rows in loader)


class Hanging(Rows):
    def __getitem__(self, index):
        if torch.utils.data.get_worker_info() is not None:
            threading.Event().wait()
        return super().__getitem__(index)


@pytest.mark.parametrize("on_error", ["raise", "drop"])
def test_a_task_that_hangs_among_others_is_named_or_dropped(on_error, caplog):
    tasks = {"good": Rows(0, 9), "hangs": Hanging(1, 9), "other": Rows(2, 9)}
    loader = CurriculumLoader(
        tasks, batch_size=6, draws_per_batch=6, steps_per_epoch=5, num_workers=1, timeout=0.5, on_error=on_error
    )
    loader.attach(teacher_of(loader))
    if on_error == "raise":
        with pytest.raises(TaskError, match="task 'hangs' gave no batch in time"):
            list(loader)
    else:
        assert len(list(loader)) == 5
        assert loader.teacher.removed == ("hangs",)
    assert multiprocessing.active_children() == []


class Deadly(Rows):
    def __getitem__(self, index):
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_worker_that_dies_is_told_with_the_task_that_it_was_reading():
    tasks = {"good": Rows(0, 9), "deadly": Deadly(1, 9), "other": Rows(2, 9)}
    loader = CurriculumLoader(tasks, batch_size=8, draws_per_batch=8, steps_per_epoch=9, num_workers=1)
    with pytest.raises(TaskError, match=r"^a worker process died .* at the tasks \['deadly'\]: "):
        list(loader)
    assert multiprocessing.active_children() == []
