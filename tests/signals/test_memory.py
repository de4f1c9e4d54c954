"""Signals that remember something, and progress that is not known yet."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from curricula import CurriculumCallback, CurriculumLoader, validations
from curricula.agreement import Outcome, Ranks
from curricula.bandits import Exp3S
from curricula.encoding import decoded
from curricula.rewards import QuantileScaler
from curricula.signals import GradientPredictionGain, PredictionGain, Signal
from curricula.teacher import Teacher
from curricula.testing import SignalContract
from curricula.testing.training import Save
from tests.models import Linear, noisy_tasks, trainer
from tests.ranks import on_ranks


class SinceLastVisit(Signal):
    """The fall of the training loss since the task was visited last."""

    needs_loss = True

    def __init__(self):
        self.losses = {}

    def after_step(self, step):
        before = self.losses.get(step.task)
        self.losses[step.task] = torch.tensor(step.loss, dtype=torch.float64)
        return None if before is None else float(before) - step.loss

    def reset(self):
        self.losses.clear()

    def state_dict(self):
        return {"losses": dict(self.losses)}

    def load_state_dict(self, state):
        self.losses = dict(state["losses"])


class Forgetful(SinceLastVisit):
    """Does not put its memory into checkpoints."""

    def state_dict(self):
        return {}


class TestSinceLastVisit(SignalContract):
    """A signal with a memory keeps the contract, but for the first visit to a task."""

    def make(self):
        return SinceLastVisit()

    def unknown_steps(self):
        return 4


class TestForgetful(SignalContract):
    """What is not in a checkpoint is noticed by the contract."""

    def make(self):
        return Forgetful()

    def unknown_steps(self):
        return 4

    def test_a_resumed_run_is_exact(self):
        with pytest.raises(AssertionError, match=r"what a signal remembers .* must be in its state_dict"):
            super().test_a_resumed_run_is_exact()


def fit(signal, steps, *others, ckpt_path=None, strict=True, tasks=None, model=None):
    torch.manual_seed(0)
    own = CurriculumCallback(Exp3S(), signal, QuantileScaler(window=15, warmup=3), seed=3, strict=strict)
    loader = CurriculumLoader(tasks or noisy_tasks(), batch_size=8, steps_per_epoch=10)
    fitter = trainer(own, *others, max_steps=steps)
    fitter.fit(model or Linear(4), loader, ckpt_path=ckpt_path)
    return own, fitter


@pytest.fixture
def checkpoint(tmp_path):
    fit(SinceLastVisit(), 24, Save(13, tmp_path / "last.ckpt"))
    return tmp_path / "last.ckpt"


def test_the_memory_is_in_the_checkpoint_and_loads_without_pickled_code(checkpoint):
    state = torch.load(checkpoint, weights_only=True)["callbacks"]["CurriculumCallback"]
    assert state["signal"]["content"]["name"] == "SinceLastVisit"
    assert set(decoded(state["signal"]["content"]["memory"])["losses"]) <= set("abcd")
    whole, _ = fit(SinceLastVisit(), 24)
    resumed, _ = fit(SinceLastVisit(), 24, ckpt_path=checkpoint)
    assert resumed.teacher.state_dict() == whole.teacher.state_dict()
    assert str(resumed.history.column("progress").tolist()) == str(whole.history.column("progress").tolist())


def test_damage_to_the_memory_is_told(checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    ((_, losses),) = content["callbacks"]["CurriculumCallback"]["signal"]["content"]["memory"]["dict"]
    losses["dict"][0][1] += 1e-9
    torch.save(content, checkpoint)
    with pytest.raises(MisconfigurationException, match="the signal state is damaged"):
        fit(SinceLastVisit(), 24, ckpt_path=checkpoint)


class Best(SinceLastVisit):
    """Remembers what checkpoints do not hold as it is."""

    def state_dict(self):
        return {"best": -math.inf, ("pair", 1): b"raw", 2: (1.0, [np.float32(0.5)])}

    def load_state_dict(self, state):
        assert state == self.state_dict()
        assert type(state[2]) is tuple


def test_a_memory_may_hold_infinities_tuples_and_bytes(tmp_path):
    fit(Best(), 24, Save(13, tmp_path / "best.ckpt"))
    fit(Best(), 24, ckpt_path=tmp_path / "best.ckpt")


class Arrays(SinceLastVisit):
    """Remembers an array."""

    def state_dict(self):
        return {"means": [np.zeros(3)]}


def test_what_a_checkpoint_cannot_hold_is_named_with_the_signal(tmp_path):
    with pytest.raises(
        TypeError, match=r"signal Arrays has a numpy.ndarray at state_dict\(\)\['means'\]\[0\], which a check"
    ):
        fit(Arrays(), 24, Save(13, tmp_path / "arrays.ckpt"))


def test_another_signal_begins_without_a_memory_and_says_so(checkpoint, caplog):
    with caplog.at_level(logging.WARNING, logger="curricula"):
        fit(PredictionGain(), 24, ckpt_path=checkpoint)
    assert any("what SinceLastVisit remembered, and the signal is PredictionGain now" in m for m in caplog.messages)


def test_a_memory_that_the_class_no_longer_has_is_told():
    with pytest.raises(ValueError, match=r"a memory of the signal PredictionGain \(\['mean'\]\), which has none now"):
        PredictionGain().load_state_dict({"mean": 1.0})


def test_a_new_training_begins_without_the_memory_of_the_one_before():
    signal = SinceLastVisit()
    fit(signal, 13)
    own, _ = fit(signal, 13)
    assert sum(map(math.isnan, own.history.column("progress"))) == len(set(own.history.column("arm")))


def test_progress_that_is_not_known_yet_is_no_fault(caplog):
    with caplog.at_level(logging.WARNING, logger="curricula"):
        own, _ = fit(SinceLastVisit(), 24)
    visited = len(set(own.history.column("arm")))
    assert visited > 1
    assert own.history.steps == own.history.draws.sum() == 24
    assert own.teacher.updates == 24 - visited
    assert own.teacher.skipped == [0, 0, 0, 0]
    assert not own.teacher.open_draws()
    assert not caplog.messages


class Spoiled(SinceLastVisit):
    """Gives NaN where it is not known."""

    def after_step(self, step):
        progress = super().after_step(step)
        return math.nan if progress is None else progress


def test_nan_is_still_a_fault(caplog):
    with caplog.at_level(logging.WARNING, logger="curricula"):
        own, _ = fit(Spoiled(), 24)
    assert sum(own.teacher.skipped) == len(set(own.history.column("arm")))
    assert sum("was not finite" in message for message in caplog.messages) == 1


class Nameless(Signal):
    """Returns what is no number."""

    def after_step(self, step):
        return "much"


def test_text_is_no_progress():
    with pytest.raises(TypeError, match="after_step\\(\\) of the signal must be a number, got 'much'"):
        fit(Nameless(), 3)


class Refusing(Linear):
    """Returns nothing for some batches, so that they are not trained on."""

    def __init__(self, refuses):
        super().__init__(4)
        self.refuses = refuses

    def training_step(self, batch, batch_idx):
        return None if self.refuses(batch, self.trainer.global_step) else super().training_step(batch, batch_idx)


def is_of(name):
    first = noisy_tasks()[name].tensors[0]
    return lambda batch, _: bool((first == batch[0][0]).all(dim=1).any())


@pytest.mark.parametrize("signal", [None, GradientPredictionGain, PredictionGain])
def test_a_training_step_that_returns_nothing_is_told_as_that(signal, caplog):
    model = Refusing(is_of("b"))
    with caplog.at_level(logging.WARNING, logger="curricula"):
        own, _ = fit(None if signal is None else signal(), 200, model=model)
    first, second = caplog.messages
    assert first.startswith("training_step returned None for a batch of task 'b' at step ")
    assert second.startswith("training_step returned None 20 times in a row for task 'b'")
    assert "remove_task('b')" in second
    assert own.teacher.skipped[1] == own.history.draws[1] > 20
    assert own.teacher.updates == 200 - own.teacher.skipped[1]


def test_a_training_step_that_returns_nothing_any_more_is_told(caplog):
    with caplog.at_level(logging.WARNING, logger="curricula"):
        fit(None, 100, model=Refusing(lambda _, step: step > 10))
    assert any("returned None 20 times in a row, for the tasks [" in message for message in caplog.messages)
    assert not any("finite" in message for message in caplog.messages)


@pytest.mark.parametrize("signal", [None, GradientPredictionGain, PredictionGain])
@pytest.mark.parametrize("left_out", [0, 1])
def test_a_step_is_measured_on_the_micro_batches_that_were_trained_on(signal, left_out, caplog):
    class Half(Linear):
        def training_step(self, batch, batch_idx):
            return None if batch_idx % 4 == left_out else super().training_step(batch, batch_idx)

    torch.manual_seed(0)
    own = CurriculumCallback(signal=None if signal is None else signal())
    loader = CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=20)
    with caplog.at_level(logging.WARNING, logger="curricula"):
        trainer(own, max_epochs=2, accumulate_grad_batches=2).fit(Half(4), loader)
    assert own.teacher.updates == own.history.steps == 20
    assert np.isfinite(own.history.column("loss")).all()
    assert not caplog.messages


def test_a_first_batch_that_is_left_out_ends_no_training():
    own, _ = fit(PredictionGain(), 24, model=Refusing(lambda _, step: step < 3))
    assert own.teacher.updates == 21


MEANS = {"both": 1.5, "second": 5.0}
"""Of metrics of a validation that two ranks have logged, one of them alone."""


def agreed(folder, world_size, separate):
    """Let ranks know, or not know, their progress in all ways there are."""
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    teacher, ranks = Teacher(["a"]), Ranks(world_size, torch.device("cpu"), separate=separate)
    found = []
    for own, other in [(1.0, 3.0), (None, 3.0), (None, None), (math.nan, None), (math.inf, 1.0), (1.0, None)]:
        outcome = Outcome(own if rank == 0 else other, 2.0, 0.5, stepped=True)
        found.append([repr(both.progress) for both in ranks.agree([outcome], teacher, 1)])
    stopped = ranks.agree([Outcome(None, 1.0, 0.5, stepped=rank == 0)], teacher, 1)
    metrics = validations._agreed({"both": 1.0 + rank, "second": 5.0} if rank else {"both": 1.0}, world_size)
    return [found, [outcome.stepped for outcome in stopped], metrics]


def test_what_one_rank_knows_all_know_and_a_fault_is_a_fault(tmp_path):
    (both,) = on_ranks(agreed, tmp_path, (2, [2, False]))
    assert both[0] == both[1] == [[["2.0"], ["3.0"], ["None"], ["nan"], ["nan"], ["1.0"]], [False], MEANS]
    (tmp_path / "apart").mkdir()
    (both,) = on_ranks(agreed, tmp_path / "apart", (2, [2, True]))
    pairs = [["1.0", "3.0"], ["None", "3.0"], ["None", "None"], ["nan", "None"], ["nan", "1.0"], ["1.0", "None"]]
    assert both[0] == both[1] == [pairs, [True, False], MEANS]
