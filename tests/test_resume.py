"""A run that was interrupted goes on as if it had not been."""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, Dataset, IterableDataset

from curricula import CurriculumCallback, CurriculumLoader, signals
from curricula.bandits import Exp3, Exp3S, FixedPolicy
from curricula.rewards import QuantileScaler
from curricula.variational import Variational
from tests.models import Linear, noisy_tasks, tasks_of_constants, trainer
from tests.signals.kinds import measuring_classes

STEPS = 24


class Endless(IterableDataset):
    """A regression without a length."""

    def __init__(self, seed):
        self.seed = seed

    def __iter__(self):
        numbers = torch.Generator().manual_seed(self.seed)
        while True:
            yield torch.randn(4, generator=numbers), torch.randn(1, generator=numbers) * self.seed


class Finite(Endless):
    """A stream that is over in the middle of a batch, again and again."""

    def __iter__(self):
        return itertools.islice(super().__iter__(), 21)


class Adam(Linear):
    """Linear regression with an optimiser that has a state."""

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Validated(Adam):
    """With a validation in the middle of the epoch."""

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))

    def val_dataloader(self):
        return DataLoader(noisy_tasks()["a"], batch_size=8)


class Gaussian(Adam):
    """Gaussian weights, which draw random numbers in every step."""

    def __init__(self):
        super().__init__(4)
        self.layer = Variational(self.layer, samples=50.0, sigma=0.1)

    def training_step(self, batch, batch_idx):
        return self.layer.loss(super().training_step(batch, batch_idx))


class RandomStream(pl.Callback):
    """Keeps torch's random numbers in the checkpoint, for modules that draw some."""

    def __init__(self):
        self.state = None

    def state_dict(self):
        return {"torch": torch.get_rng_state()}

    def load_state_dict(self, state):
        self.state = state["torch"]

    def on_train_start(self, trainer, pl_module):
        if self.state is not None:
            torch.set_rng_state(self.state)


class Augmented(Dataset):
    """Samples that are changed at random every time that they are read."""

    def __init__(self, task, everywhere=True):
        self.task = task
        self.everywhere = everywhere

    def __len__(self):
        return len(self.task)

    def __getitem__(self, index):
        inputs, targets = self.task[index]
        noise = torch.randn(4)
        if self.everywhere:
            noise = noise + np.random.randn() + random.gauss(0, 1)  # noqa: NPY002
        return inputs + noise, targets


def augmented(everywhere=True):
    return {name: Augmented(task, everywhere) for name, task in noisy_tasks().items()}


def streams():
    return {name: Endless(seed) for seed, name in enumerate("abcd")}


def finite_streams():
    return {name: Finite(seed) for seed, name in enumerate("abcd")}


def mixed():
    tasks = noisy_tasks()
    return {
        "a": tasks["a"],
        "b": Finite(1),
        "c": DataLoader(tasks["c"], batch_size=8, shuffle=True),
        "d": Endless(3),
    }


def loaders(workers=0):
    return {
        name: DataLoader(task, batch_size=8, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
        for name, task in noisy_tasks().items()
    }


def window():
    return QuantileScaler(window=15, warmup=3)


def reservoir():
    return QuantileScaler(window=8, warmup=3, reservoir=True)


@dataclass
class Case:
    """One way to train: what is resumed in it must be exact."""

    bandit: Callable[[], Any] = Exp3S
    signal: Callable[[], Any] = signals.FirstOrderPredictionGain
    scaler: Callable[[], Any] = window
    tasks: Callable[[], Any] = noisy_tasks
    model: Callable[[], Any] = lambda: Adam(4)
    loader: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    target: str | None = None
    every: int = 1
    """Resume from every so many steps."""

    def fit(self, *others, ckpt_path=None, max_steps=STEPS):
        pl.seed_everything(0, verbose=False)
        model = self.model()
        own = CurriculumCallback(self.bandit(), self.signal(), self.scaler(), target=self.target, seed=3)
        options = {"batch_size": 8, "steps_per_epoch": 10, "seed": 3, **self.loader}
        loader = CurriculumLoader(self.tasks(), **options)
        options = {**self.trainer, "enable_checkpointing": bool(others)}
        fitter = trainer(own, RandomStream(), *others, max_steps=max_steps, **options)
        fitter.fit(model, loader, ckpt_path=ckpt_path)
        return own, model

    @property
    def points(self):
        return range(1, STEPS, self.every)


CASES = {
    "default": Case(),
    "optimism": Case(bandit=lambda: Exp3S(beta=0.05), signal=signals.PredictionGain),
    "accumulation": Case(
        bandit=lambda: Exp3(eta=0.1, epsilon=0.1),
        signal=signals.UnbiasedGradientPredictionGain,
        scaler=reservoir,
        trainer={"accumulate_grad_batches": 3},
    ),
    "endless streams": Case(
        bandit=lambda: FixedPolicy([4.0, 3.0, 2.0, 1.0]), signal=signals.GradientPredictionGain, tasks=streams
    ),
    "finite streams": Case(signal=signals.GradientL2Gain, tasks=finite_streams, trainer={"accumulate_grad_batches": 2}),
    "tasks of all kinds": Case(
        signal=signals.MeanPredictionGain,
        tasks=mixed,
        loader={"probe_tasks": {"b": Endless(7), "d": Endless(8)}},
    ),
    "validation in the middle": Case(
        signal=signals.TargetPredictionGain, target="d", model=lambda: Validated(4), trainer={"val_check_interval": 4}
    ),
    "epochs cut short": Case(signal=signals.SelfPredictionGain, trainer={"limit_train_batches": 7}),
    "incomplete batches": Case(signal=signals.L2Gain, loader={"batch_size": 5, "shuffle": False}, scaler=reservoir),
    "paper": Case(bandit=Exp3S.paper, scaler=QuantileScaler.paper, signal=signals.PredictionGain, tasks=loaders),
    "variational": Case(signal=signals.VariationalComplexityGain, model=Gaussian, every=3),
    "variational gradient": Case(signal=signals.GradientVariationalComplexityGain, model=Gaussian, every=3),
    "augmentation": Case(tasks=lambda: augmented(False), every=3),
    "workers": Case(loader={"num_workers": 2}, tasks=augmented, every=5),
    "persistent workers": Case(
        loader={"num_workers": 2, "persistent_workers": True, "prefetch_factor": 3}, tasks=augmented, every=6
    ),
    "workers of the tasks' own": Case(tasks=lambda: loaders(1), every=12),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_resumed_run_is_exact_from_every_step(case, tmp_path):
    saver = ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=1, filename="{step}")
    whole, model = case.fit(saver)
    assert whole.teacher.updates > 0
    for step in case.points:
        resumed, other = case.fit(ckpt_path=tmp_path / f"step={step}.ckpt")
        assert resumed.history.column("arm").tolist() == whole.history.column("arm").tolist(), step
        assert str(resumed.history.column("progress").tolist()) == str(whole.history.column("progress").tolist()), step
        assert resumed.teacher.state_dict() == whole.teacher.state_dict(), step
        for ours, theirs in zip(other.state_dict().values(), model.state_dict().values(), strict=True):
            assert torch.equal(ours, theirs), step


def test_resuming_is_tested_at_two_hundred_points_and_with_every_signal_and_bandit():
    assert sum(len(case.points) for case in CASES.values()) >= 200
    assert {type(case.signal()).__name__ for case in CASES.values()} == {kind.__name__ for kind in measuring_classes()}
    assert {type(case.bandit()) for case in CASES.values()} == {Exp3, Exp3S, FixedPolicy}


def loader():
    return CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=10)


def callback():
    return CurriculumCallback(Exp3S(beta=0.05), signals.PredictionGain(), window())


def fit(own, data, ckpt_path=None):
    pl.seed_everything(0, verbose=False)
    trainer(own, max_steps=STEPS).fit(Linear(4), data, ckpt_path=ckpt_path)


@pytest.fixture
def checkpoint(tmp_path):
    fitter = trainer(callback(), max_steps=13)
    fitter.fit(Linear(4), loader())
    fitter.save_checkpoint(tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_the_checkpoint_loads_without_pickled_code(checkpoint):
    assert "CurriculumCallback" in torch.load(checkpoint, weights_only=True)["callbacks"]


def test_a_checkpoint_of_other_tasks_is_refused(checkpoint):
    other = CurriculumLoader(tasks_of_constants(["a", "b", "x"], width=4), batch_size=8, steps_per_epoch=10)
    with pytest.raises(
        Exception, match=r"the checkpoint's curriculum has other tasks \(missing now: \['c', 'd'\]; new: \['x'\]\)"
    ):
        fit(callback(), other, ckpt_path=checkpoint)


def test_a_checkpoint_of_another_bandit_is_refused(checkpoint):
    with pytest.raises(MisconfigurationException, match="the state is of the bandit 'Exp3S', this one is 'Exp3'"):
        fit(CurriculumCallback(Exp3()), loader(), ckpt_path=checkpoint)


def test_a_damaged_checkpoint_is_refused(checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    bandit = content["callbacks"]["CurriculumCallback"]["teacher"]["content"]["bandit"]
    bandit["updates"] ^= 1
    torch.save(content, checkpoint)
    with pytest.raises(MisconfigurationException, match="the teacher state is damaged"):
        fit(callback(), loader(), ckpt_path=checkpoint)


def test_a_checkpoint_without_a_curriculum_is_told(tmp_path, caplog):
    fitter = trainer(max_steps=13)
    fitter.fit(Linear(4), loader())
    fitter.save_checkpoint(tmp_path / "plain.ckpt")
    own = callback()
    with caplog.at_level(logging.WARNING, logger="curricula"):
        fit(own, loader(), ckpt_path=tmp_path / "plain.ckpt")
    assert any("has no curriculum state" in message for message in caplog.messages)
    assert own.teacher.updates == STEPS - 13


def test_a_run_that_was_over_when_it_was_resumed_can_be_looked_at_and_loses_nothing(checkpoint, tmp_path):
    own = callback()
    fitter = trainer(own, max_steps=13)
    fitter.fit(Linear(4), loader(), ckpt_path=checkpoint)
    assert own.history.steps == own.teacher.updates == 13
    assert own.teacher.tasks == tuple("abcd")
    fitter.save_checkpoint(tmp_path / "again.ckpt")
    rest, whole = callback(), callback()
    fit(rest, loader(), ckpt_path=tmp_path / "again.ckpt")
    fit(whole, loader(), ckpt_path=checkpoint)
    assert rest.history.column("arm").tolist()[:13] == own.history.column("arm").tolist()
    assert rest.teacher.updates == whole.teacher.updates == STEPS


def test_a_state_that_was_loaded_and_not_used_is_saved_again(checkpoint):
    state = torch.load(checkpoint, weights_only=True)["callbacks"]["CurriculumCallback"]
    own = callback()
    own.load_state_dict(state)
    assert own.state_dict() == state


def extended(before, after, bandit, tmp_path, caplog):
    fitter = trainer(CurriculumCallback(bandit()), max_steps=before)
    fitter.fit(Linear(4), loader())
    fitter.save_checkpoint(tmp_path / "short.ckpt")
    own = CurriculumCallback(bandit())
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="curricula"):
        trainer(own, max_steps=after).fit(Linear(4), loader(), ckpt_path=tmp_path / "short.ckpt")
    return own, caplog.messages


def test_a_run_that_is_made_longer_says_so_once_with_the_rates_for_it(tmp_path, caplog):
    own, messages = extended(10, 40, Exp3S, tmp_path, caplog)
    longer = Exp3S()
    longer.reset(4, 40)
    (message,) = messages
    assert "40 updates long now, and the checkpoint's Exp3S has rates that were chosen for 10" in message
    assert f"give the bandit eta={longer.eta:.3g}, epsilon={longer.epsilon:.3g}" in message
    assert own.teacher.bandit.eta > longer.eta  # as the run began
    by_hand, messages = extended(10, 40, lambda: Exp3S(eta=longer.eta, epsilon=longer.epsilon), tmp_path, caplog)
    assert messages == []
    assert by_hand.teacher.bandit.eta == longer.eta


@pytest.mark.parametrize(
    ("before", "after", "bandit"),
    [(20, 20, Exp3S), (40, 10, Exp3S), (10, 40, FixedPolicy.uniform), (10, 40, Exp3S.paper)],
)
def test_a_run_of_the_same_length_or_without_such_rates_says_nothing(before, after, bandit, tmp_path, caplog):
    assert extended(before, after, bandit, tmp_path, caplog)[1] == []
