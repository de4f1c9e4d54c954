"""A mixture in real trainings: passes are counted to the sample, schedules follow the cost, nothing is lost."""

from __future__ import annotations

from collections import Counter

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from curricula import CurriculumCallback, CurriculumLoader, Mixture, Schedule, Teacher
from curricula.bandits import FixedPolicy
from curricula.data.faults import TaskError
from curricula.export import learned_schedule
from curricula.signals import PredictionGain
from tests.models import Linear, trainer
from tests.test_several_draws_resumed import PerSample


def numbered(sizes):
    """Tasks whose samples tell which they are."""
    tasks, first = {}, 0
    for name, size in sizes.items():
        numbers = torch.arange(first, first + size, dtype=torch.float32)
        tasks[name] = TensorDataset(torch.stack([numbers, numbers]).T, numbers[:, None] / 50)
        first += size
    return tasks


class Seen(pl.Callback):
    """Writes down which samples were trained on."""

    def __init__(self):
        self.numbers = Counter()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.numbers.update(int(number) for number in batch[0][:, 0])


def fit(sizes, passes, *others, mixture=None, steps=200, checkpoint=None, accumulate=1, validate=None, **options):
    pl.seed_everything(0, verbose=False)
    tasks = numbered(sizes)
    options = {"batch_size": 4, "steps_per_epoch": 24, "seed": 1, **options}
    loader, seen = CurriculumLoader(tasks, **options), Seen()
    callback = CurriculumCallback(
        signal=PredictionGain(), seed=2, mixture=mixture or Mixture(max_passes=passes), horizon=100
    )
    fitter = trainer(callback, seen, *others, max_steps=steps, accumulate_grad_batches=accumulate)
    fitter.fit(PerSample(2), loader, validate, ckpt_path=checkpoint)
    return seen.numbers, callback, fitter


@pytest.mark.parametrize("workers", [0, 1])
def test_every_sample_of_a_task_is_trained_on_as_often_as_its_passes_allow_and_no_more(workers, caplog):
    seen, callback, fitter = fit({"a": 10, "b": 12, "c": 40}, {"a": 2, "b": 1}, steps=60, num_workers=workers)
    assert {seen[number] for number in range(10)} == {2}
    assert {seen[number] for number in range(10, 22)} == {1}
    assert callback.teacher.used_up == ("a", "b")
    assert fitter.global_step == 60  # the third has no limit
    assert caplog.text.count("the passes of ['a'] are used up") == 1
    assert callback.teacher.probabilities().tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("options", [{}, {"draws_per_batch": 2}, {"draws_per_batch": 4, "quotas": True}])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_training_ends_when_all_passes_are_used_up_and_validates_once_more(options, accumulate):
    sizes = {"a": 16, "b": 32, "c": 8}
    validate = DataLoader(TensorDataset(torch.zeros(2, 2), torch.zeros(2, 1)), batch_size=2)
    ends = []

    class Validated(pl.Callback):
        def on_validation_end(self, trainer, pl_module):
            ends.append(trainer.global_step)

    Linear.validation_step = lambda self, batch, batch_idx: None
    try:
        seen, callback, fitter = fit(sizes, 2, Validated(), accumulate=accumulate, validate=validate, **options)
    finally:
        del Linear.validation_step
    assert set(seen.values()) == {2}
    assert len(seen) == 56
    assert callback.teacher.is_over
    assert fitter.global_step == 112 // 4 // accumulate < 200
    assert ends[-1] == fitter.global_step
    assert not callback.teacher.open_draws()
    assert callback.history.draws.sum() == callback.teacher.draws


@pytest.mark.parametrize("options", [{}, {"draws_per_batch": 4}, {"num_workers": 1}])
def test_passes_go_on_where_a_run_was_interrupted(options, tmp_path):
    class Save(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 11:
                trainer.save_checkpoint(tmp_path / "11.ckpt")

    sizes, passes = {"a": 16, "b": 28, "c": 400}, {"a": 1.5, "b": 1}
    whole, one, _ = fit(sizes, passes, Save(), steps=30, **options)
    rest, other, _ = fit(sizes, passes, steps=30, checkpoint=tmp_path / "11.ckpt", **options)
    until, *_ = fit(sizes, passes, steps=11, **options)
    assert until + rest == whole
    assert one.teacher.used_up == other.teacher.used_up == ("a", "b")
    assert one.history.column("probability").tolist() == other.history.column("probability").tolist()
    assert sum(whole[number] for number in range(16)) == 24


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(torch.ones(9, 2), torch.ones(9, 1), strict=True)


def test_streams_with_a_length_have_passes_and_those_without_are_refused():
    ready = DataLoader(TensorDataset(torch.ones(12, 2), torch.ones(12, 1)), batch_size=4)
    loader = CurriculumLoader({"ready": ready, "other": TensorDataset(torch.zeros(8, 2))}, steps_per_epoch=50)
    loader.attach(Teacher(loader.names, mixture=Mixture(max_passes={"ready": 2})))
    assert sum(len(batch) == 2 for batch in loader) == 6
    stream = CurriculumLoader({"stream": Stream(), "other": ready}, steps_per_epoch=50)
    with pytest.raises(ValueError, match="task 'stream' has no length"):
        stream.attach(Teacher(stream.names, mixture=Mixture(max_passes={"stream": 2})))
    little = CurriculumLoader({"a": [1.0] * 10, "b": [2.0] * 10}, batch_size=8, steps_per_epoch=5, drop_last=True)
    with pytest.raises(ValueError, match=r"max_passes=0\.5 of task 'a' has no room for a single draw"):
        little.attach(Teacher(little.names, mixture=Mixture(max_passes=0.5)))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_schedule_in_cost_follows_what_was_trained_on_also_after_a_resume(workers, tmp_path):
    class Save(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 7:
                trainer.save_checkpoint(tmp_path / "7.ckpt")

    only = [{"a": float(name == "a"), "b": float(name == "b")} for name in "ab"]
    mixture = Mixture(prior=Schedule([(0, only[0]), (40, only[1])], unit="cost"), strength=0.0)
    sizes, options = {"a": 100, "b": 100}, {"mixture": mixture, "steps": 20, "num_workers": workers}
    _, whole, _ = fit(sizes, None, Save(), **options)
    arms = whole.history.column("arm").tolist()
    assert arms.index(1) == 10 + 2 * workers  # of four samples each; workers are told two batches before
    assert sorted(arms) == arms
    assert whole.teacher.spent == 80.0
    _, resumed, _ = fit(sizes, None, checkpoint=tmp_path / "7.ckpt", **options)
    assert resumed.history.column("arm").tolist() == arms


def test_a_finished_run_ends_at_once_when_it_is_resumed_and_goes_on_where_the_limit_is_lifted(tmp_path):
    class Save(pl.Callback):
        def on_train_end(self, trainer, *_):
            trainer.save_checkpoint(tmp_path / "end.ckpt")

    sizes, options = {"a": 16, "b": 8}, {"steps": 12, "checkpoint": tmp_path / "end.ckpt"}
    fit(sizes, 1, Save())
    seen, callback, fitter = fit(sizes, 1, **options)
    assert not seen
    assert fitter.global_step == 6
    _, callback, fitter = fit(sizes, None, **options)
    assert fitter.global_step == 12
    assert callback.teacher.used_up == ()
    assert min(callback.history.draws.tolist()) > 2
    assert learned_schedule(callback.history, points=12).shares(5, ["a", "b"]).sum() == pytest.approx(1.0)


def test_a_task_that_is_added_has_its_passes_too():
    loader = CurriculumLoader(numbered({"a": 400}), batch_size=4, steps_per_epoch=40)
    loader.attach(Teacher(loader.names, mixture=Mixture(max_passes=1)))
    batches = iter(loader)
    next(batches)
    loader.add_task("new", numbered({"new": 12})["new"])
    assert len(list(batches)) == 39
    assert loader.teacher.used_up == ("new",)
    assert loader._plan.cursor.visits == [37, 3]


class Broken(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        raise OSError("unreadable")


def test_a_task_that_the_caps_do_not_let_go_is_not_dropped():
    tasks = {"broken": Broken(), "other": TensorDataset(torch.zeros(8, 2))}
    loader = CurriculumLoader(tasks, batch_size=4, steps_per_epoch=20, on_error="drop")
    loader.attach(Teacher(loader.names, mixture=Mixture(cap={"other": 0.6})))
    with pytest.raises(TaskError, match="it cannot be dropped, since the caps of 1 task sum to 0"):
        list(loader)


def test_an_own_loop_ends_with_the_passes_and_a_further_epoch_is_refused():
    loader = CurriculumLoader(numbered({"a": 8, "b": 12}), batch_size=4, steps_per_epoch=4)
    loader.attach(Teacher(loader.names, bandit=FixedPolicy.uniform(), mixture=Mixture(max_passes=1)))
    first = [batch[0][:, 0].tolist() for batch in loader]
    second = [batch[0][:, 0].tolist() for batch in loader]
    assert (len(first), len(second)) == (4, 1)
    assert sorted(number for batch in first + second for number in batch) == list(range(20))
    assert loader.is_over
    with pytest.raises(RuntimeError, match=r"all have used up their passes .* after 5 draws"):
        next(iter(loader))


def test_two_ranks_use_the_passes_up_together():
    loaders = []
    for rank in range(2):
        loader = CurriculumLoader(numbered({"a": 16, "b": 24}), batch_size=4, steps_per_epoch=50)
        teacher = Teacher(loader.names, bandit=FixedPolicy.uniform(), seed=4, mixture=Mixture(max_passes=2))
        loader.attach(teacher, rank=rank, world_size=2)
        loaders.append(loader)
    seen = Counter(int(number) for loader in loaders for batch in loader for number in batch[0][:, 0])
    assert set(seen.values()) == {2}
    assert len(seen) == 40
