"""Batches with samples of several draws: every draw has the progress of its own samples, the bandit learns once."""

from __future__ import annotations

import logging
import math
from collections import Counter

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.plugins.precision import MixedPrecision
from torch.utils.data import Dataset

from curricula import CurriculumCallback, CurriculumLoader, current_task, signals
from curricula.bandits import Exp3S, FixedPolicy
from curricula.signals import PredictionGain, SelfPredictionGain, Signal, micro_batch, step
from tests.models import trainer

NAMES = ("one", "two", "three", "four")
BATCH = 8
RATE = 0.25


class OneHot(Dataset):
    """Samples that are the task's number in one-hot form."""

    def __init__(self, number):
        self.number = number

    def __len__(self):
        return 24

    def __getitem__(self, index):
        return torch.eye(len(NAMES), dtype=torch.float64)[self.number]


class Quadratic(pl.LightningModule):
    """One parameter per task, which alone the task's loss depends on: every gain is known."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64))
        self.seen = []

    def losses(self, batch):
        return 0.5 * (batch @ self.weight).square()

    def training_step(self, batch, batch_idx):
        losses = self.losses(batch)
        if torch.is_grad_enabled():
            self.seen.append(batch.argmax(dim=1).tolist())
        return {"loss": losses.mean(), "losses": losses}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=RATE)


class Own(Quadratic):
    """Tells its samples apart by a loss of its own."""

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx)["loss"]

    def curriculum_loss(self, batch, batch_idx):
        return self.losses(batch)


class ByHand(Own):
    """Optimises manually, after so many batches."""

    def __init__(self, batches=1):
        super().__init__()
        self.automatic_optimization = False
        self.batches = batches

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        self.manual_backward(super().training_step(batch, batch_idx) / self.batches)
        if (batch_idx + 1) % self.batches == 0:
            optimizer.step()
            optimizer.zero_grad()


def loader(draws=4, **options):
    tasks = {name: OneHot(number) for number, name in enumerate(NAMES)}
    given = {"batch_size": BATCH, "steps_per_epoch": 12, "draws_per_batch": draws, "num_workers": 0, **options}
    return CurriculumLoader(tasks, **given)


def fit(model, data, signal=None, bandit=None, **options):
    callback = CurriculumCallback(bandit or Exp3S(eta=0.1, epsilon=0.2), signal or PredictionGain(), seed=5)
    trainer(callback, **{"max_epochs": 1, **options}).fit(model, data)
    return callback


def rows(callback):
    """The recorded draws, step by step."""
    history, steps = callback.history, {}
    columns = [history.column(name).tolist() for name in ("step", "arm", "progress", "loss", "reward")]
    for number, *rest in zip(*columns, strict=True):
        steps.setdefault(int(number), []).append(rest)
    return [steps[number] for number in range(len(steps))]


def check_gains(callback, per_step=None, last=1.0):
    """Every draw's loss and gain are those of the closed form; the last step is shorter by a factor."""
    weight = np.array([1.0, -2.0, 3.0, 0.5])
    checked = 0
    for number, draws in enumerate(rows(callback)):
        assert per_step is None or len(draws) == per_step
        share = np.bincount([int(arm) for arm, *_ in draws], minlength=len(NAMES)) / len(draws)
        moved = weight * (1 - RATE * share * (last if number == callback.history.steps - 1 else 1.0))
        for arm, progress, loss, _ in draws:
            before, after = weight[int(arm)], moved[int(arm)]
            assert loss == pytest.approx(0.5 * before**2, rel=1e-12)
            assert progress == pytest.approx(0.5 * (before**2 - after**2), rel=1e-9)
            checked += 1
        weight = moved
    return checked


# ---------------------------------------------------------------- gains in closed form


@pytest.mark.parametrize("signal", [PredictionGain, SelfPredictionGain])
@pytest.mark.parametrize("model", [Quadratic, Own])
@pytest.mark.parametrize("draws", [1, 2, 4, BATCH])
def test_every_draw_has_the_gain_of_its_own_samples(draws, model, signal):
    fitted = model()
    callback = fit(fitted, loader(draws), signal())
    if model is Own and signal is SelfPredictionGain and draws > 1:
        assert np.isnan(callback.history.column("loss")).all(), "a loss that no signal asks for is not evaluated"
        return
    assert check_gains(callback, per_step=draws) == 12 * draws
    size = BATCH // draws
    arms = [[int(arm) for arm, *_ in draws] for draws in rows(callback)]
    assert fitted.seen == [[arm for arm in step for _ in range(size)] for step in arms]


@pytest.mark.parametrize("signal", [PredictionGain, SelfPredictionGain])
@pytest.mark.parametrize("redraw", ["step", "batch"])
@pytest.mark.parametrize("draws", [1, 4])
def test_under_accumulation_a_step_has_the_draws_of_its_batches(draws, redraw, signal):
    fitted = Quadratic()
    callback = fit(fitted, loader(draws, redraw=redraw, steps_per_epoch=14), signal(), accumulate_grad_batches=3)
    sizes = [len(draws) for draws in rows(callback)]
    expected = draws * (3 if redraw == "batch" else 1)
    assert sizes == [expected] * 4 + [draws * (2 if redraw == "batch" else 1)], "the last step has two batches"
    assert check_gains(callback, last=2 / 3) == sum(sizes)
    teacher = callback.teacher
    assert (teacher.updates, teacher.draws, teacher.open_draws()) == (5, sum(sizes), [])
    assert (teacher.bandit.horizon, teacher.bandit.draws_per_step) == (5, expected)


@pytest.mark.parametrize("redraw", ["step", "batch"])
@pytest.mark.parametrize(("batches", "given"), [(1, None), (2, 2), (2, None)])
def test_under_manual_optimisation_too(batches, given, redraw):
    callback = CurriculumCallback(Exp3S(eta=0.1, epsilon=0.2), PredictionGain(), batches_per_draw=given)
    trainer(callback, max_epochs=1).fit(ByHand(batches), loader(redraw=redraw))
    assert check_gains(callback, per_step=4 * (batches if redraw == "batch" else 1)) > 0
    assert callback.history.steps == 12 // batches
    assert callback.teacher.open_draws() == []


def test_with_workers_every_draw_meets_its_own_samples():
    fitted = Quadratic()
    callback = fit(fitted, loader(2, num_workers=1))
    assert check_gains(callback, per_step=2) == 24


MUTANTS = {
    "slots in another order": (micro_batch, "slot_means", lambda values, slots: _means(values, slots)[::-1]),
    "the mean of the batch for every draw": (
        micro_batch,
        "slot_means",
        lambda values, slots: [float(values.mean())] * slots,
    ),
    "samples of a draw apart": (
        micro_batch,
        "slot_means",
        lambda values, slots: values.double().reshape(-1, slots).mean(dim=0).tolist(),
    ),
    "the sum over a slot": (
        micro_batch,
        "slot_means",
        lambda values, slots: values.double().reshape(slots, -1).sum(dim=1).tolist(),
    ),
}


def _means(values, slots):
    return values.double().reshape(slots, -1).mean(dim=1).tolist()


@pytest.mark.parametrize("name", MUTANTS)
def test_the_closed_form_tells_a_wrong_attribution(name, monkeypatch):
    _, function, mutant = MUTANTS[name]
    for module in (micro_batch, step):
        monkeypatch.setattr(module, function, mutant)
    callback = fit(Quadratic(), loader(4))
    with pytest.raises(AssertionError):
        check_gains(callback)


# ---------------------------------------------------------------- what the bandit learns


def test_the_bandit_learns_once_from_all_draws_of_a_step(monkeypatch):
    callback = CurriculumCallback(Exp3S(eta=0.1, epsilon=0.2), PredictionGain())
    given, learned = [], []

    class Watch(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            teacher = callback.teacher
            reward_all, update_all = teacher.reward_all, teacher.bandit.update_all

            def rewarded(outcomes, **spent):
                given.append([(draw.id, draw.step, progress, cost) for draw, progress, cost in outcomes])
                return reward_all(outcomes, **spent)

            def updated(pulls, draws):
                learned.append((len(pulls), draws))
                return update_all(pulls, draws=draws)

            monkeypatch.setattr(teacher, "reward_all", rewarded)
            monkeypatch.setattr(teacher.bandit, "update_all", updated)

    trainer(callback, Watch(), max_epochs=1).fit(Quadratic(), loader(4))
    assert [[number for number, *_ in outcomes] for outcomes in given] == [
        list(range(4 * count, 4 * count + 4)) for count in range(12)
    ]
    assert [{made for _, made, *_ in outcomes} for outcomes in given] == [{count} for count in range(12)], "one policy"
    assert learned == [(4, 4)] * 12
    recorded = [[progress for _, progress, *_ in draws] for draws in rows(callback)]
    assert recorded == [[progress for *_, progress, _ in outcomes] for outcomes in given]


def test_the_task_that_teaches_is_found():
    class Known(PredictionGain):
        def after_step(self, step):
            return self.after_step_per_draw(step)[0]

        def after_step_per_draw(self, step):
            return [float(draw.task == "three") for draw in step.draws]

    counts = {}
    for draws in (1, 4):
        callback = fit(Quadratic(), loader(draws, steps_per_epoch=150), Known(), Exp3S())
        assert callback.teacher.probabilities().argmax() == 2
        counts[draws] = callback.history.draws / callback.history.draws.sum()
    assert counts[4][2] > counts[1][2], "four draws a step find it sooner"


def test_costs_per_sample_are_costs_of_the_draws():
    costs = {0: 1.0, 1: 2.0, 2: 4.0, 3: 8.0}

    def per_sample(batch):
        return torch.tensor([costs[number] for number in batch.argmax(dim=1).tolist()])

    given = []

    class Spying(CurriculumCallback):
        def on_train_start(self, trainer, pl_module):
            super().on_train_start(trainer, pl_module)
            reward_all = self.teacher.reward_all
            self.teacher.reward_all = lambda outcomes, **spent: given.extend(outcomes) or reward_all(outcomes, **spent)

    trainer(Spying(signal=PredictionGain(), cost=per_sample), max_epochs=1).fit(Quadratic(), loader(4))
    assert {(draw.arm, cost) for draw, _, cost in given} == set(costs.items())
    given.clear()
    trainer(Spying(signal=PredictionGain(), cost=lambda batch: 3.0), max_epochs=1).fit(Quadratic(), loader(4))
    assert {cost for *_, cost in given} == {3.0}
    with pytest.raises(ValueError, match=r"cost\(batch\) must be one number, or one per sample, shape \(8,\), got"):
        trainer(CurriculumCallback(signal=PredictionGain(), cost=lambda batch: torch.ones(4)), max_epochs=1).fit(
            Quadratic(), loader(4)
        )


# ---------------------------------------------------------------- steps that are none, losses that are not finite


class Spoilt(Quadratic):
    """The loss of some samples is not finite, and does not count for the parameters."""

    spoilt = 2
    every = 3

    def training_step(self, batch, batch_idx):
        losses = self.losses(batch)
        if batch_idx % self.every == 0:
            losses = torch.where(batch.argmax(dim=1) == self.spoilt, math.nan, losses)
        return {"loss": losses.nan_to_num(0.0).mean(), "losses": losses}


def test_a_loss_that_is_not_finite_costs_that_draw_alone():
    callback = fit(Spoilt(), loader(4, steps_per_epoch=40))
    lost = 0
    for number, draws in enumerate(rows(callback)):
        for arm, progress, loss, reward in draws:
            broken = number % 3 == 0 and int(arm) == 2
            assert [math.isnan(value) for value in (progress, loss, reward)] == [broken] * 3
            lost += broken
    assert lost > 5
    assert callback.teacher.skipped == [0, 0, lost, 0]
    assert callback.teacher.open_draws() == []


def test_a_step_that_is_skipped_earns_nothing():
    class Overflowing(Quadratic):
        def training_step(self, batch, batch_idx):
            output = super().training_step(batch, batch_idx)
            return {**output, "loss": output["loss"] * (float("inf") if batch_idx in (3, 7) else 1.0)}

    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))
    callback = fit(Overflowing(), loader(4), plugins=[plugin])
    assert (callback.teacher.updates, callback.history.steps, callback.teacher.draws) == (10, 10, 48)
    assert callback.teacher.open_draws() == []
    assert callback.teacher.skipped == [0] * 4


@pytest.mark.parametrize("redraw", ["step", "batch"])
@pytest.mark.parametrize("silent", [0, 1])
def test_a_batch_that_nothing_was_trained_on_earns_nothing(silent, redraw):
    class Silent(Quadratic):
        def training_step(self, batch, batch_idx):
            output = super().training_step(batch, batch_idx)
            return None if batch_idx % 2 == silent else output

    callback = fit(Silent(), loader(4, redraw=redraw), accumulate_grad_batches=2)
    assert callback.history.steps == 6
    assert callback.teacher.open_draws() == []
    for draws in rows(callback):
        unknown = [math.isnan(progress) for _, progress, *_ in draws]
        expected = [place // 4 == silent for place in range(8)] if redraw == "batch" else [False] * 4
        assert unknown == expected


# ---------------------------------------------------------------- losses per sample that are none


class Says(Quadratic):
    """Returns what it was given to return."""

    def __init__(self, returned):
        super().__init__()
        self.returned = returned

    def training_step(self, batch, batch_idx):
        losses = self.losses(batch)
        return self.returned(losses)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda losses: losses.mean(), r"needs one loss per sample: return \{\"loss\": loss, \"losses\": losses\}"),
        (
            lambda losses: {"loss": losses.mean(), "losses": losses.mean().reshape(1)},
            r"must be one per sample of the batch, shape \(8,\), got a tensor of shape \(1,\)",
        ),
        (
            lambda losses: {"loss": losses.mean(), "losses": losses[:4]},
            r"must be one per sample of the batch, shape \(8,\), got a tensor of shape \(4,\)",
        ),
        (
            lambda losses: {"loss": losses.mean(), "losses": losses[:, None].expand(8, 3)},
            r"got a tensor of shape \(8, 3\): take the mean over all other dimensions, `losses.flatten\(1\).mean\(1\)`",
        ),
        (lambda losses: {"loss": losses.mean(), "losses": losses.tolist()}, r"shape \(8,\), got \["),
    ],
)
def test_losses_that_are_not_one_per_sample_are_refused_with_what_to_do(returned, message):
    with pytest.raises(RuntimeError, match=message):
        fit(Says(returned), loader(4))


def test_a_loss_of_the_module_s_own_that_is_not_one_per_sample_is_refused():
    class Mean(Own):
        def curriculum_loss(self, batch, batch_idx):
            return self.losses(batch).mean()

    with pytest.raises(RuntimeError, match=r"the losses that `curriculum_loss` returned must be one per sample"):
        fit(Mean(), loader(4))
    assert fit(Mean(), loader(1)).teacher.updates == 12


def test_an_optimiser_that_evaluates_several_times_needs_a_loss_of_the_module_s_own():
    class Repeated(Quadratic):
        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=2)

    class Told(Own):
        configure_optimizers = Repeated.configure_optimizers

    with pytest.raises(RuntimeError, match="only the losses of the last time are known: define `curriculum_loss"):
        fit(Repeated(), loader(4))
    callback = fit(Told(), loader(4))
    assert np.isfinite(callback.history.column("progress")).all()


# ---------------------------------------------------------------- signals that cannot tell draws apart


def refused():
    exported = [getattr(signals, name) for name in signals.__all__ if name not in ("Signal", "Step")]
    return [kind for kind in exported if not kind.per_draw]


def test_signals_of_losses_per_sample_can_and_those_of_whole_steps_cannot():
    assert {"TargetPredictionGain", "MeanPredictionGain", "GradientPredictionGain"} <= {
        kind.__name__ for kind in refused()
    }
    for kind in (PredictionGain, SelfPredictionGain, signals.FirstOrderPredictionGain):
        assert kind.per_draw


@pytest.mark.parametrize("name", ["MeanPredictionGain", "TargetPredictionGain", "GradientPredictionGain", "L2Gain"])
@pytest.mark.parametrize(
    ("options", "way_out"),
    [({"draws": 4}, "draws_per_batch=1"), ({"draws": 1, "redraw": "batch"}, 'redraw="step"')],
)
def test_a_signal_of_whole_steps_is_refused_with_both_ways_out(options, way_out, name):
    callback = CurriculumCallback(signal=getattr(signals, name)(), target="one")
    model = Quadratic()
    with pytest.raises(MisconfigurationException, match=rf"{name} measures a step as a whole.*PredictionGain\(\)") as e:
        trainer(callback, max_epochs=1).fit(model, loader(**options))
    assert f"CurriculumLoader({way_out})" in str(e.value)
    assert model.seen == [], "before anything is trained"


def test_a_class_that_changes_the_whole_step_alone_cannot_tell_draws_apart():
    class Scaled(PredictionGain):
        def after_step(self, step):
            return 2.0 * super().after_step(step)

    class Both(Scaled):
        def after_step_per_draw(self, step):
            return [2.0 * gain for gain in PredictionGain.after_step_per_draw(self, step)]

    class Says(Scaled):
        per_draw = True

    assert [kind.per_draw for kind in (Signal, Scaled, Both, Says)] == [False, False, True, True]


def test_a_signal_that_returns_another_number_of_gains_is_told():
    class Short(PredictionGain):
        def after_step_per_draw(self, step):
            return [0.0]

    with pytest.raises(ValueError, match=r"Short.after_step_per_draw\(\) must return one progress for each of .* 4 dr"):
        fit(Quadratic(), loader(4), Short())


def test_a_fixed_policy_needs_no_such_signal(caplog):
    class Never(Signal):
        needs_loss = needs_probe = needs_samples = needs_gradients = True

        def before_step(self, step):
            raise AssertionError("nobody learns from it")

        def after_step(self, step):
            raise AssertionError("nobody learns from it")

    with caplog.at_level(logging.INFO, logger="curricula"):
        callback = fit(Quadratic(), loader(4), Never(), FixedPolicy.uniform())
    assert "Never cannot tell the several draws of a step apart (draws_per_batch=4)" in caplog.text
    assert callback.history.steps == 12
    assert callback.history.draws.sum() == 48
    assert np.isnan(callback.history.column("progress")).all()
    assert np.isfinite(callback.history.column("loss")).all(), "the losses that the step returns are recorded"
    assert callback.teacher.open_draws() == []
    assert callback.teacher.skipped == [0] * 4


@pytest.mark.parametrize("signal", [PredictionGain, SelfPredictionGain, signals.GradientPredictionGain])
def test_a_uniform_training_is_the_same_with_the_callback_and_without(signal):
    weights = []
    for own in ([], [CurriculumCallback(FixedPolicy.uniform(), signal(), seed=0)]):
        pl.seed_everything(0, verbose=False)
        model = Quadratic()
        trainer(*own, max_epochs=2).fit(model, loader(4))
        weights.append((model.weight.tolist(), model.seen, torch.rand(3).tolist()))
    assert weights[0] == weights[1]


# ---------------------------------------------------------------- who asks


def test_the_callback_and_the_module_know_the_draws_of_the_batch_in_hand():
    seen = Counter()

    class Asking(Quadratic):
        def told(self, batch):
            arms = batch.reshape(4, 2, -1)[:, 0].argmax(dim=1).tolist()
            assert current_task(self.trainer) == tuple(NAMES[arm] for arm in arms)
            return arms

        def on_after_batch_transfer(self, batch, dataloader_idx):
            self.told(batch)
            seen["transfer"] += 1
            return batch

        def training_step(self, batch, batch_idx):
            arms = self.told(batch)
            if torch.is_grad_enabled():
                assert [draw.arm for draw in callback.current_draws] == arms
                with pytest.raises(
                    RuntimeError, match="the batch in hand has 4 draws, one per slot: look at current_d"
                ):
                    callback.current_draw  # noqa: B018
                seen["step"] += 1
            else:
                seen["probe"] += 1
            return super().training_step(batch, batch_idx)

    callback = CurriculumCallback(signal=SelfPredictionGain())
    assert callback.current_draws == ()
    trainer(callback, max_epochs=1).fit(Asking(), loader(4))
    assert seen["step"] == 12
    assert seen["probe"] == 24, "two forward passes a step, however many draws"
    assert len(callback.current_draws) == 4


def test_a_step_with_several_draws_has_none_that_is_the_draw():
    found = []

    class Asks(PredictionGain):
        def after_step_per_draw(self, step):
            for name in ("draw", "task"):
                with pytest.raises(
                    RuntimeError, match=r"the step has 4 draws, and none that is the draw: look at step"
                ):
                    getattr(step, name)
            found.append([draw.task for draw in step.draws])
            return super().after_step_per_draw(step)

    callback = fit(Quadratic(), loader(4), Asks())
    assert found == [[NAMES[int(arm)] for arm, *_ in draws] for draws in rows(callback)]


def test_the_progress_bar_shows_the_tasks_of_the_batch():
    callback = CurriculumCallback(signal=PredictionGain())
    shown = []

    class Bar(pl.callbacks.ProgressBar):
        def on_train_batch_end(self, trainer, pl_module, *_):
            shown.append(self.get_metrics(trainer, pl_module))

    trainer(callback, Bar(), max_epochs=1, enable_progress_bar=True).fit(Quadratic(), loader(4))
    several = [entry["tasks"] for entry in shown if "tasks" in entry]
    assert len(several) > 6
    assert all("," in tasks and len(tasks) <= 24 for tasks in several)
    assert all(entry["task"] in NAMES for entry in shown if "task" in entry)


def test_a_reloaded_loader_with_another_number_of_draws_is_refused():
    class Reloading(Quadratic):
        draws = (4, 2)

        def train_dataloader(self):
            return loader(self.draws[min(self.current_epoch, 1)])

    callback = CurriculumCallback(signal=PredictionGain())
    with pytest.raises(
        MisconfigurationException, match="reloaded CurriculumLoader has draws_per_batch=2, and the one b"
    ):
        trainer(callback, max_epochs=2, reload_dataloaders_every_n_epochs=1).fit(Reloading())
