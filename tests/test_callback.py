"""The callback in real trainers: attribution, accumulation, precision, options of the trainer, bad set-ups."""

from __future__ import annotations

import logging
import math

import lightning.pytorch as lightning
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import nn
from torch.utils.data import DataLoader, Dataset

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import Exp3, Exp3S, FixedPolicy
from curricula.rewards import QuantileScaler
from curricula.signals import FirstOrderPredictionGain, GradientPredictionGain, PredictionGain, Signal
from tests.models import Linear, Noisy, noisy_tasks, tasks_of_constants, trainer

NAMES = ("one", "two", "three", "four")


def loader(**options) -> CurriculumLoader:
    return CurriculumLoader(tasks_of_constants(NAMES), **{"batch_size": 4, "steps_per_epoch": 10, **options})


class Spy(QuantileScaler):
    """A scaler that keeps what it was given."""

    def __init__(self):
        super().__init__()
        self.rates: list[float] = []

    def scale(self, rate):
        self.rates.append(rate)
        return super().scale(rate)


class Loss(Signal):
    needs_loss = True

    def after_step(self, step):
        return step.loss


class IdentifyingModel(pl.LightningModule):
    """Its loss is the constant of the task, whatever the parameters; it notes what it was given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[float] = []

    def training_step(self, batch, batch_idx):
        self.seen.append(float(batch[0].mean()))
        return batch[0].mean() + 0.0 * self.weight

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


# ---------------------------------------------------------------- attribution


@pytest.mark.parametrize("workers", [0, 2])
def test_every_reward_reaches_its_own_draw_with_its_own_probability(workers, monkeypatch):
    callback = CurriculumCallback(Exp3S(eta=0.05, epsilon=0.2), Loss())
    model = IdentifyingModel()
    drawn, rewarded, ahead = {}, [], []

    def follow(trainer, pl_module):
        teacher = callback.teacher
        draw, update = teacher.draw, teacher.bandit.update

        def noted_draw():
            policy = teacher.probabilities()
            made = draw()
            drawn[made.id] = (made.arm, float(policy[made.arm]))
            ahead.append(made.id - made.step)
            return made

        def noted_update(arm, reward, probability, policy=None):
            rewarded.append((arm, probability))
            return update(arm, reward, probability, policy)

        monkeypatch.setattr(teacher, "draw", noted_draw)
        monkeypatch.setattr(teacher.bandit, "update", noted_update)

    watcher = pl.Callback()
    watcher.on_train_start = follow
    trainer(callback, watcher, max_steps=60).fit(model, loader(num_workers=workers))

    constants = [drawn[number][0] for number in range(60)]  # the k-th task's samples are k
    assert model.seen == constants
    assert rewarded == [drawn[number] for number in range(60)]
    assert callback.history.column("loss").tolist() == constants
    assert callback.history.column("arm").tolist() == constants
    assert len({probability for _, probability in rewarded}) > 10, "the policy moved, so probabilities tell draws apart"
    assert max(ahead) == (4 if workers else 0), "rewards outstanding at a draw: what the workers have in hand"


def test_the_callback_knows_the_task_of_the_batch_in_hand():
    callback = CurriculumCallback(signal=PredictionGain())
    seen = []

    class Model(IdentifyingModel):
        def training_step(self, batch, batch_idx):
            assert callback.current_draw is not None
            seen.append((callback.current_draw.arm, float(batch[0].mean())))
            return super().training_step(batch, batch_idx)

    assert callback.current_draw is None
    trainer(callback, max_steps=20).fit(Model(), loader())
    assert len(seen) == 40, "twenty steps, each with its probe"
    assert all(arm == constant for arm, constant in seen)


def test_the_policy_learns_from_the_step_before_the_draw():
    callback = CurriculumCallback()
    trainer(callback, max_steps=15).fit(Linear(), loader())
    draw = callback.current_draw
    assert (draw.id, draw.step) == (14, 14)


def test_a_task_that_teaches_is_found():
    def rate(step):
        return 1.0 if step.task == "three" else 0.0

    class Known(Signal):
        def after_step(self, step):
            return rate(step)

    callback = CurriculumCallback(signal=Known())
    trainer(callback, max_steps=400).fit(Linear(), loader())
    assert callback.teacher.probabilities().argmax() == 2
    assert callback.history.draws[2] > 250


# ---------------------------------------------------------------- steps of the trainer


@pytest.mark.parametrize("workers", [0, 2])
def test_accumulated_batches_are_of_one_task_and_earn_one_reward(workers):
    callback = CurriculumCallback(signal=Loss())
    model = IdentifyingModel()
    # 10 batches per epoch: three whole steps and one of a single batch
    trainer(callback, max_epochs=3, accumulate_grad_batches=3).fit(model, loader(num_workers=workers))
    arms = callback.history.column("arm")
    assert len(arms) == callback.teacher.updates == 12
    expected = [
        arm for group in np.split(arms, 3) for arm, size in zip(group, (3, 3, 3, 1), strict=True) for _ in range(size)
    ]
    assert model.seen == expected
    assert callback.history.column("loss") == pytest.approx(arms), "the mean over the step, not Lightning's share of it"


def test_bf16_mixed_precision_on_cpu():
    callback = CurriculumCallback()
    trainer(callback, max_steps=30, precision="bf16-mixed").fit(
        Noisy(), CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=10)
    )
    assert callback.teacher.updates == 30
    assert np.isfinite(callback.history.column("progress")).all()


def test_the_probe_runs_in_the_precision_of_training():
    types = []

    class Model(Linear):
        def training_step(self, batch, batch_idx):
            types.append(self.layer(batch[0]).dtype)
            return super().training_step(batch, batch_idx)

    trainer(CurriculumCallback(signal=PredictionGain()), max_steps=3, precision="bf16-mixed").fit(Model(), loader())
    assert types == [torch.bfloat16] * 6


def test_an_optimiser_step_skipped_by_mixed_precision_earns_nothing():
    class Overflowing(Linear):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return loss * math.inf if batch_idx in (3, 4) and loss.requires_grad else loss

    class Constant(Signal):
        needs_gradients = True

        def before_step(self, step):
            step.notes["norm"] = sum(float(gradient.square().sum()) for gradient in step.gradients())

        def after_step(self, step):
            return step.notes["norm"]

    callback = CurriculumCallback(signal=Constant())
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))
    trainer(callback, max_epochs=1, plugins=[plugin]).fit(Overflowing(), loader())
    assert callback.teacher.draws == 10
    assert callback.teacher.updates == 8
    assert callback.teacher.open_draws() == []
    assert callback.teacher.skipped == [0] * 4, "not counted as not finite: there was no step to judge"


def test_gradients_are_unscaled_under_mixed_precision():
    def progress(**options):
        callback = CurriculumCallback(FixedPolicy.uniform(), GradientPredictionGain())
        torch.manual_seed(0)
        trainer(callback, max_steps=10, **options).fit(Linear(), loader())
        return callback.history.column("progress")

    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**12))
    assert progress(plugins=[plugin]) == pytest.approx(progress(), rel=0.05)


def test_fast_dev_run():
    callback = CurriculumCallback()
    trainer(callback, fast_dev_run=True).fit(Linear(), loader())
    assert callback.teacher.updates == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_limited_epochs_lose_no_draw(workers):
    callback = CurriculumCallback(signal=Loss())
    model = IdentifyingModel()
    trainer(callback, max_epochs=4, limit_train_batches=7).fit(model, loader(num_workers=workers))
    assert model.seen == callback.history.column("arm").tolist()
    assert callback.teacher.updates == 28
    assert callback.teacher.draws == 28 + (3 if workers else 0), "the workers had three of the last epoch in hand"


def test_overfitting_on_purpose_repeats_the_first_batches_of_each_task():
    seen = {}

    class Counting(Dataset):
        def __init__(self, name):
            self.name = name

        def __len__(self):
            return 40

        def __getitem__(self, index):
            seen.setdefault(self.name, set()).add(index)
            return torch.ones(2), torch.zeros(1)

    tasks = {name: Counting(name) for name in NAMES}
    callback = CurriculumCallback()
    trainer(callback, max_epochs=30, overfit_batches=2).fit(Linear(2), CurriculumLoader(tasks, batch_size=4))
    assert callback.teacher.updates == 60
    assert {name: len(indices) for name, indices in seen.items()} == dict.fromkeys(NAMES, 8)


def test_the_learning_rate_finder_stays_out_of_the_curriculum(tmp_path):
    from pytorch_lightning.tuner import Tuner

    class Tunable(Linear):
        lr = 0.01

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=self.lr)

    def arms(tuned):
        callback = CurriculumCallback()
        torch.manual_seed(0)
        model, data = Tunable(), loader()
        fitter = trainer(callback, max_steps=20, default_root_dir=tmp_path)
        if tuned:
            Tuner(fitter).lr_find(model, data, num_training=15, update_attr=False)
            with pytest.raises(RuntimeError, match="before training starts"):
                callback.teacher  # noqa: B018 - there is none yet
        fitter.fit(model, data)
        assert callback.teacher.draws == callback.teacher.updates == 20
        return callback.history.column("arm").tolist()

    assert arms(tuned=True) == arms(tuned=False)


def test_the_batch_size_scaler_stays_out_of_the_curriculum(tmp_path):
    from pytorch_lightning.tuner import Tuner

    class Module(pl.LightningDataModule):
        batch_size = 2

        def train_dataloader(self):
            return loader(batch_size=self.batch_size)

    callback = CurriculumCallback()
    fitter = trainer(callback, max_steps=5, default_root_dir=tmp_path)
    model, data = Linear(), Module()
    Tuner(fitter).scale_batch_size(model, datamodule=data, max_trials=2, steps_per_trial=2)
    fitter.fit(model, datamodule=data)
    assert data.batch_size == 4
    assert callback.teacher.draws == callback.teacher.updates == 5


def test_validation_between_steps_changes_nothing():
    def arms(**options):
        callback = CurriculumCallback()

        class Validating(Linear):
            def validation_step(self, batch, batch_idx):
                self.log("val", self.layer(batch[0]).sum())

        torch.manual_seed(0)
        held_out = DataLoader(tasks_of_constants(["v"])["v"], batch_size=4)
        trainer(callback, max_steps=20, **options).fit(Validating(), loader(), held_out)
        return callback.history.column("arm").tolist(), callback.history.column("progress").tolist()

    assert arms(val_check_interval=3) == arms(limit_val_batches=0)


def test_reloaded_loaders_go_on_where_the_last_ones_stopped():
    seen = []

    class Reloading(Linear):
        def train_dataloader(self):
            return loader()

        def on_train_batch_start(self, batch, batch_idx):
            seen.append(callback.current_draw)

    callback = CurriculumCallback()
    trainer(callback, max_epochs=3, reload_dataloaders_every_n_epochs=1).fit(Reloading())
    assert callback.teacher.updates == 30


def test_a_second_fit_goes_on_with_the_same_teacher():
    callback = CurriculumCallback()
    model, data = Linear(), loader()
    fitter = trainer(callback, max_epochs=2)
    fitter.fit(model, data)
    teacher = callback.teacher
    fitter.fit_loop.max_epochs = 3
    fitter.fit(model, data)
    assert callback.teacher is teacher
    assert teacher.updates == callback.history.steps == 30


def test_another_training_starts_a_new_curriculum():
    callback = CurriculumCallback()
    for _ in range(2):
        trainer(callback, max_epochs=2).fit(Linear(), loader())
        assert callback.teacher.updates == callback.history.steps == 20


def test_the_horizon_is_the_length_of_the_run(caplog):
    callback = CurriculumCallback()
    with caplog.at_level(logging.INFO, logger="curricula"):
        trainer(callback, max_epochs=3, accumulate_grad_batches=2).fit(Linear(), loader())
    assert callback.teacher.bandit.horizon == 15
    assert f"curriculum: {callback.teacher.bandit.describe()}, FirstOrderPredictionGain" in caplog.messages


def test_a_run_without_end_has_no_horizon():
    callback = CurriculumCallback()
    stopper = pl.Callback()

    def stop(trainer, *_):
        trainer.should_stop = trainer.global_step >= 5

    stopper.on_train_batch_end = stop
    trainer(callback, stopper, max_epochs=-1, max_steps=-1).fit(Linear(), loader())
    assert callback.teacher.bandit.horizon is None


@pytest.mark.parametrize("package", [pl, lightning])
def test_accumulation_may_change_over_the_run(package):
    callback = CurriculumCallback()
    scheduler = package.callbacks.GradientAccumulationScheduler({0: 1, 1: 2})
    module = Linear() if package is pl else other_linear()
    package_trainer = trainer if package is pl else other_trainer
    package_trainer(callback, scheduler, max_epochs=2).fit(module, loader())
    assert callback.teacher.draws == callback.teacher.updates == 10 + 5


# ---------------------------------------------------------------- the other package, other optimisation


def other_linear():
    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def training_step(self, batch, batch_idx):
            loss = self.layer(batch[0]).square().mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    return Model()


def other_trainer(*callbacks, **options):
    return lightning.Trainer(
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def test_trainers_of_the_other_lightning_package():
    callback = CurriculumCallback()
    other_trainer(callback, max_steps=20).fit(other_linear(), loader())
    assert callback.teacher.updates == 20
    assert np.isfinite(callback.history.column("progress")).all()


class Manual(Linear):
    def __init__(self, steps=1):
        super().__init__()
        self.automatic_optimization = False
        self.steps = steps

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        for _ in range(self.steps):
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, batch_idx))
            optimizer.step()


class ManualWithLoss(Manual):
    def curriculum_loss(self, batch, batch_idx):
        return Linear.training_step(self, batch, batch_idx)


def test_manual_optimisation_with_a_loss_of_its_own_measures_the_whole_batch():
    automatic, manual = (CurriculumCallback(signal=PredictionGain()) for _ in range(2))
    for callback, model in ((automatic, Linear()), (manual, ManualWithLoss())):
        nn.init.ones_(model.layer.weight)
        nn.init.zeros_(model.layer.bias)
        trainer(callback, max_steps=15).fit(model, loader())
    assert manual.history.column("progress").tolist() == automatic.history.column("progress").tolist()
    assert manual.history.column("loss").tolist() == automatic.history.column("loss").tolist()


def test_manual_optimisation_without_a_loss_of_its_own_is_refused_with_the_way_out():
    with pytest.raises(MisconfigurationException, match=r"curriculum_loss.*or use a signal of the gradients"):
        trainer(CurriculumCallback(signal=PredictionGain()), max_steps=5).fit(Manual(), loader())


def test_the_default_needs_no_loss_under_manual_optimisation():
    callback = CurriculumCallback()
    trainer(callback, max_steps=5).fit(Manual(), loader())
    assert callback.teacher.updates == 5
    assert np.isfinite(callback.history.column("progress")).all()
    assert np.isnan(callback.history.column("loss")).all(), "its training step returns none"


def test_a_loss_of_ones_own_is_only_for_signals_of_the_loss():
    class Own(Linear):
        def curriculum_loss(self, batch, batch_idx):
            return 100 + super().training_step(batch, batch_idx)

    losses = []
    for signal in (PredictionGain(), GradientPredictionGain()):
        callback = CurriculumCallback(signal=signal)
        trainer(callback, max_steps=5).fit(Own(), loader())
        losses.append(callback.history.column("loss"))
    assert losses[0].min() > 100
    assert losses[1].max() < 100


def test_gradient_signals_add_up_the_steps_of_a_manual_batch():
    callback = CurriculumCallback(FixedPolicy.uniform(), GradientPredictionGain())
    trainer(callback, max_steps=20).fit(Manual(steps=2), loader())
    assert callback.teacher.updates == 10, "one reward per batch, for two optimiser steps"


# ---------------------------------------------------------------- bad set-ups


def test_without_a_curriculum_loader_the_two_lines_are_shown():
    plain = DataLoader(tasks_of_constants(["a"])["a"], batch_size=4)
    with pytest.raises(MisconfigurationException) as caught:
        trainer(CurriculumCallback(), max_steps=5).fit(Linear(), plain)
    message = str(caught.value)
    assert "found no CurriculumLoader in the training data (DataLoader)" in message
    assert 'loader = CurriculumLoader({"easy": easy_dataset' in message
    assert "trainer.fit(model, loader)" in message


def test_several_curriculum_loaders_are_refused():
    with pytest.raises(MisconfigurationException, match="found several CurriculumLoaders"):
        trainer(CurriculumCallback(), max_steps=5).fit(Linear(), {"a": loader(), "b": loader()})


def test_a_target_that_names_no_task_is_refused_with_the_names():
    with pytest.raises(MisconfigurationException, match=r"target 'five' names no task: the tasks are \['one', 'two'"):
        trainer(CurriculumCallback(target="five"), max_steps=5).fit(Linear(), loader())


def test_a_signal_that_needs_a_target_says_so_at_set_up():
    class Targeted(Signal):
        needs_target = True

        def after_step(self, step):
            return 0.0

    with pytest.raises(MisconfigurationException, match="Targeted needs a target task: give CurriculumCallback"):
        trainer(CurriculumCallback(signal=Targeted()), max_steps=5).fit(Linear(), loader())


def test_a_signal_may_refuse_a_module():
    class Picky(Signal):
        def check(self, module, target):
            raise ValueError(f"{type(module).__name__} has no variational weights")

        def after_step(self, step):
            return 0.0

    with pytest.raises(MisconfigurationException, match="Linear has no variational weights"):
        trainer(CurriculumCallback(signal=Picky()), max_steps=5).fit(Linear(), loader())


def test_a_training_step_that_never_returns_a_loss_is_told_as_that(caplog):
    class Lossless(Linear):
        def training_step(self, batch, batch_idx):
            return None

    callback = CurriculumCallback(signal=PredictionGain())
    trainer(callback, max_steps=25).fit(Lossless(), loader())
    assert callback.teacher.updates == 0
    told = [message for message in caplog.messages if "training_step returned None" in message]
    assert len(told) == 2
    assert "It must return a loss" in told[1]


@pytest.mark.parametrize("signal", [PredictionGain, FirstOrderPredictionGain, GradientPredictionGain])
def test_a_training_step_that_leaves_out_a_batch_costs_one_reward(signal):
    class Sometimes(Linear):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 7 else super().training_step(batch, batch_idx)

    callback = CurriculumCallback(signal=signal())
    trainer(callback, max_epochs=1).fit(Sometimes(), loader())
    assert callback.teacher.updates == 9
    assert sum(callback.teacher.skipped) == 1
    assert np.isnan(callback.history.column("reward")).tolist() == [False] * 7 + [True] + [False] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bandit": Exp3S}, r"bandit must be an instance of Bandit.*write Exp3S\(\)"),
        ({"signal": "PG"}, "signal must be an instance of Signal, got 'PG'"),
        ({"signal": PredictionGain}, r"write PredictionGain\(\)"),
        ({"scaler": 3}, "scaler must be an instance of RewardScaler"),
        ({"bandit": Exp3S(), "scaler": QuantileScaler}, r"write QuantileScaler\(\)"),
        ({"bandit": Exp3S(), "seed": "1"}, "seed must be an int"),
        ({"cost": 2.0}, "cost must be a function from a batch to a number"),
        ({"target": 3}, "target must be the name of a task, or held-out data, got 3"),
        ({"seed": 1.5}, "seed must be an int"),
    ],
)
def test_arguments_of_another_kind_are_refused_when_the_callback_is_made(arguments, message):
    with pytest.raises(TypeError, match=message):
        CurriculumCallback(**arguments)


def test_a_cost_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"cost of a step must be finite and > 0, got 0.0 for task"):
        trainer(CurriculumCallback(cost=lambda batch: 0.0), max_steps=5).fit(Linear(), loader())


def test_progress_is_divided_by_the_cost_of_the_batch():
    plain, dear = Spy(), Spy()
    for scaler, cost in ((plain, None), (dear, lambda batch: 4.0)):
        torch.manual_seed(0)
        trainer(CurriculumCallback(FixedPolicy.uniform(), scaler=scaler, cost=cost), max_steps=12).fit(
            Linear(), loader()
        )
    assert dear.rates == pytest.approx([rate / 4.0 for rate in plain.rates])


# ---------------------------------------------------------------- progress that is not finite


@pytest.mark.parametrize("signal", [PredictionGain, FirstOrderPredictionGain, GradientPredictionGain])
def test_progress_that_is_not_finite_never_reaches_the_bandit(signal, caplog):
    class Breaking(Linear):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return loss * math.nan if batch_idx in (4, 6) else loss

        def on_before_optimizer_step(self, optimizer):
            for parameter in self.parameters():
                parameter.grad.nan_to_num_()

    callback = CurriculumCallback(Exp3(eta=0.1, epsilon=0.1), signal())
    policies = []
    watcher = pl.Callback()
    watcher.on_train_batch_end = lambda *_: policies.append(callback.teacher.probabilities().tolist())
    with caplog.at_level(logging.WARNING, logger="curricula"):
        trainer(callback, watcher, max_epochs=1).fit(Breaking(), loader())
    assert callback.teacher.updates == 8
    assert sum(callback.teacher.skipped) == 2
    assert policies[4] == policies[3]
    assert policies[6] == policies[5]
    assert callback.teacher.open_draws() == []
    assert sum("was not finite" in message for message in caplog.messages) == 1
