"""What a step knows of the task in hand, and what it lets go of."""

from __future__ import annotations

import pytest

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import FixedPolicy
from curricula.signals import Signal
from tests.models import Linear, noisy_tasks, trainer


class Asking(Signal):
    """Samples from two tasks and evaluates both batches, and one of its own."""

    needs_probe = True
    needs_samples = True

    def __init__(self):
        self.others = []

    def before_step(self, step):
        first, second = step.sample("a"), step.sample()
        seen.append(("before", step.task, step.task_in_hand))
        for batch in (second, first, [part.clone() for part in first], None):
            step.probe_loss(batch)
        self.others.append(step)

    def after_step(self, step):
        assert step.task_in_hand == step.task
        return 0.0


class Listening(Linear):
    def __init__(self, callback):
        super().__init__(4)
        self.callback = callback

    def on_before_batch_transfer(self, batch, dataloader_idx):
        if self.callback._steps.step is not None and not self.callback._steps.step.closed:
            seen.append(("sampled", self.callback._steps.step.task_in_hand))
        return batch

    def training_step(self, batch, batch_idx):
        seen.append(("run", self.callback._steps.step.task_in_hand))
        if fails:
            raise KeyError("in the middle")
        return super().training_step(batch, batch_idx)


seen: list[tuple[str, ...]] = []
fails: list[bool] = []


@pytest.fixture(autouse=True)
def _anew():
    seen.clear()
    fails.clear()


def fit(steps):
    signal = Asking()
    callback = CurriculumCallback(FixedPolicy.uniform(), signal)
    loader = CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=20)
    trainer(callback, max_steps=steps).fit(Listening(callback), loader)
    return callback, signal


def test_the_task_in_hand_is_that_of_the_batch_also_in_a_probe():
    callback, _ = fit(10)
    tasks = [callback.history.tasks[int(arm)] for arm in callback.history.column("arm")]
    assert len(set(tasks)) > 2
    expected = []
    for task in tasks:
        expected += [("run", task), ("sampled", "a"), ("sampled", task), ("before", task, task)]
        expected += [("run", task), ("run", "a"), ("run", task), ("run", task)]
    assert seen == expected


def test_a_closed_step_holds_no_batches():
    _, signal = fit(2)
    assert [step._sampled for step in signal.others] == [[], []]


def test_after_an_error_in_a_probe_the_task_in_hand_is_that_of_the_step():
    class Failing(Asking):
        def before_step(self, step):
            batch = step.sample("b" if step.task == "a" else "a")
            fails.append(True)
            with pytest.raises(KeyError):
                step.probe_loss(batch)
            fails.clear()
            seen.append(("after", step.task_in_hand, step.task))

    callback = CurriculumCallback(FixedPolicy.uniform(), Failing())
    loader = CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=20)
    trainer(callback, max_steps=2).fit(Listening(callback), loader)
    after = [entry for entry in seen if entry[0] == "after"]
    assert len(after) == 2
    assert all(in_hand == task for _, in_hand, task in after)
