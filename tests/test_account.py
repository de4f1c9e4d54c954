"""The account: what every task has cost, exactly, in the user's unit, whatever progress is divided by."""

from __future__ import annotations

import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from curricula import CurriculumCallback, CurriculumLoader
from curricula.account import Account
from curricula.agreement import Outcome, Ranks
from curricula.bandits import FixedPolicy
from curricula.meter import Meter
from curricula.rewards import QuantileScaler
from curricula.signals import GradientPredictionGain, Signal
from curricula.signals.micro_batch import MicroBatch, MicroBatches
from curricula.teacher import Draw
from curricula.tracking.history import COLUMNS
from tests.models import Rows, StreamedRows, trainer

SIZES = (5, 9)


class Scripted(Signal):
    """Progress that depends on the draw alone, and is not finite now and then."""

    def after_step(self, step):
        return math.nan if step.draw.id % 5 == 2 else float(step.draw.id % 3)

    def after_step_per_draw(self, step):
        return [float(draw.id % 3) for draw in step.draws]

    per_draw = True


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch[1].float()[:, None]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-6)


class Bill(pl.Callback):
    """Adds up what the batches of each task hold, sample by sample."""

    def __init__(self):
        self.samples, self.tokens, self.batches = Counter(), Counter(), []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append(batch)
        for task, row in zip(batch[0].tolist(), batch[1].tolist(), strict=True):
            self.samples[task] += 1
            self.tokens[task] += row + 1

    def of(self, counter):
        return [counter[task] for task in range(len(SIZES))]


def tokens(batch):
    return float((batch[1] + 1).sum())


def tokens_per_sample(batch):
    return batch[1] + 1


def tasks():
    return {str(task): Rows(task, size) for task, size in enumerate(SIZES)}


def fit(callback, steps=12, ckpt_path=None, others=(), accumulate=1, given=None, **loader):
    bill = Bill()
    torch.manual_seed(0)
    options = {"batch_size": 4, "steps_per_epoch": 50, **loader}
    fitter = trainer(callback, bill, *others, max_steps=steps, accumulate_grad_batches=accumulate)
    fitter.fit(Model(), CurriculumLoader(given or tasks(), **options), ckpt_path=ckpt_path)
    return callback.history, bill


@pytest.mark.parametrize(
    "options", [{}, {"accumulate": 3}, {"draws_per_batch": 2}, {"redraw": "batch", "accumulate": 2}]
)
@pytest.mark.parametrize("per_cost", [True, False])
def test_every_token_and_every_sample_is_counted_for_its_task(options, per_cost):
    cost = tokens_per_sample if "draws_per_batch" in options else tokens
    history, bill = fit(CurriculumCallback(signal=Scripted(), cost=cost, unit="tokens", per_cost=per_cost), **options)
    assert history.unit == "tokens"
    assert history.costs.tolist() == bill.of(bill.tokens)
    assert history.samples.tolist() == bill.of(bill.samples), "the last batch of a pass is a short one"
    assert history.total_cost == sum(bill.tokens.values())
    np.testing.assert_allclose(history.passes, history.samples / np.array(SIZES))
    costs, arms = history.column("cost"), history.column("arm")
    assert history.column("total_cost").tolist() == np.cumsum(costs).tolist()
    for arm in range(len(SIZES)):
        assert history.column("task_cost")[arms == arm].tolist() == np.cumsum(costs[arms == arm]).tolist()


def test_without_a_cost_samples_are_counted_and_nothing_is_divided():
    def run(**options):
        return fit(CurriculumCallback(signal=Scripted(), scaler=QuantileScaler(window=10, warmup=2), **options))

    plain, bill = run()
    assert plain.unit == "samples"
    assert plain.costs.tolist() == plain.samples.tolist() == bill.of(bill.samples)
    for cost in (tokens, lambda batch: 0.0):
        counted, bill = run(cost=cost, per_cost=False)
        assert counted.total_cost == sum(map(cost, bill.batches))
        for name in COLUMNS[:6]:
            np.testing.assert_array_equal(counted.column(name), plain.column(name))
    divided, _ = run(cost=tokens)
    assert divided.column("reward").tolist() != plain.column("reward").tolist()


def test_a_policy_that_learns_nothing_has_an_account():
    fixed = CurriculumCallback(FixedPolicy.uniform(), GradientPredictionGain(), cost=tokens, unit="tokens")
    history, bill = fit(fixed, draws_per_batch=2)
    assert np.isnan(history.column("reward")).all()
    assert history.total_cost == sum(bill.tokens.values())
    assert set(history.column("cost")) == {tokens(batch) / 2 for batch in bill.batches}, "shared evenly by the slots"
    assert history.samples.tolist() == bill.of(bill.samples)


def test_ready_batches_and_streams_have_their_samples():
    given = {"0": DataLoader(Rows(0, 5), batch_size=3), "1": StreamedRows(1, 8)}
    history, bill = fit(CurriculumCallback(signal=Scripted()), given=given, batch_size=4)
    assert history.samples.tolist() == bill.of(bill.samples)
    assert history.passes[0] == history.samples[0] / 5
    assert math.isnan(history.passes[1]), "nobody knows the size of a stream"


def test_a_batch_that_does_not_tell_its_samples_leaves_the_account_unknown():
    given = {"a": [{"x": torch.zeros(3), "y": torch.zeros(2)}]}

    class Odd(Model):
        def training_step(self, batch, batch_idx):
            return self.layer(batch["x"][:, None]).square().mean()

    callback = CurriculumCallback(signal=Scripted())
    loader = CurriculumLoader(given, batch_size=None, steps_per_epoch=3)
    trainer(callback, max_epochs=1).fit(Odd(), loader)
    assert callback.history.draws.tolist() == [3]
    assert math.isnan(callback.history.total_cost)


class Save(pl.Callback):
    def __init__(self, path, step):
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step and not self.path.exists():
            trainer.save_checkpoint(self.path)


def callback(**options):
    return CurriculumCallback(signal=Scripted(), **{"cost": tokens, "unit": "tokens", **options})


def test_an_account_goes_on_after_a_resume_as_if_nothing_had_happened(tmp_path):
    path = tmp_path / "five.ckpt"
    whole, _ = fit(callback(), others=[Save(path, 5)])
    resumed, _ = fit(callback(), ckpt_path=path)
    for name in COLUMNS:
        np.testing.assert_array_equal(resumed.column(name), whole.column(name))
    assert resumed.costs.tolist() == whole.costs.tolist()
    assert resumed.samples.tolist() == whole.samples.tolist()
    assert resumed.total_cost == whole.total_cost


def test_costs_of_another_unit_are_not_added_up(tmp_path, caplog):
    path = tmp_path / "five.ckpt"
    fit(callback(), steps=6, others=[Save(path, 5)])
    history, _ = fit(callback(unit="frames"), steps=8, ckpt_path=path)
    assert history.unit == "frames"
    assert math.isnan(history.total_cost)
    assert np.isfinite(history.column("cost")).tolist() == [False] * 5 + [True] * 3
    assert "counts cost in another unit than frames" in caplog.text


DRAWS = tuple(Draw(number, number, str(number), 0.5, 0) for number in range(2))


def test_micro_batches_are_summed_and_their_mean_divides():
    batches = MicroBatches()
    for count in (2.0, 4.0):
        micro = MicroBatch(torch.zeros(4), 0, DRAWS[:1])
        Account(lambda batch, count=count: count, "tokens").enter(micro, 4, None)
        batches.add(micro)
    assert batches.sums(lambda micro: micro.spent) == [6.0]
    assert batches.sums(lambda micro: micro.samples) == [8.0]
    assert batches.of_draws(lambda micro: micro.costs) == [3.0]


@pytest.mark.parametrize(
    ("cost", "costs", "spent"),
    [
        (lambda batch: 6, [6.0, 6.0], [3.0, 3.0]),
        (lambda batch: torch.tensor([1, 2, 3, 5]), [1.5, 4.0], [3.0, 8.0]),
        (None, [1.0, 1.0], [2.0, 2.0]),
    ],
)
def test_a_number_is_shared_by_the_slots_and_a_cost_per_sample_is_summed_in_each(cost, costs, spent):
    micro = MicroBatch(torch.zeros(4), 0, DRAWS)
    Account(cost).enter(micro, 4, None)
    assert (micro.costs, micro.spent, micro.samples) == (costs, spent, [2.0, 2.0])


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("copies", [1, 2])
def test_the_account_is_that_of_all_ranks(separate, copies, monkeypatch):
    """Four ranks of which each has measured the same as this one."""

    def all_reduce(tensor):
        tensor.mul_(4)

    def all_gather(received, sent):
        received.copy_(sent.repeat(4))

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    monkeypatch.setattr(torch.distributed, "all_gather_into_tensor", all_gather)
    own = Outcome(0.5, 3.0, 0.1, True, 7.0, 2.0)
    found = Ranks(4, torch.device("cpu"), separate=separate, copies=copies).agree([own], SimpleNamespace(updates=1), 1)
    if separate:
        assert found == [own] * 4
    else:
        assert found == [own._replace(spent=28.0 / copies, samples=8.0 / copies)]


def test_a_step_that_the_optimiser_skipped_is_paid_for(monkeypatch):
    measure, numbers = Meter.measure, iter(range(100))

    def overflows(self, *, always):
        return [each._replace(stepped=next(numbers) % 3 != 0) for each in measure(self, always=always)]

    monkeypatch.setattr(Meter, "measure", overflows)
    history, bill = fit(callback())
    assert history.steps == 8
    assert history.draws.sum() == 8
    assert history.costs.tolist() == bill.of(bill.tokens)
    assert history.column("total_cost")[-1] <= history.total_cost == sum(bill.tokens.values())


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"unit": "tokens"}, ValueError, r"unit='tokens' names what cost counts, and without cost samples are counted"),
        ({"cost": tokens, "unit": 3}, TypeError, r'unit must be a word such as "tokens", got 3'),
        ({"cost": tokens, "unit": " "}, TypeError, r"unit must be a word"),
        ({"cost": tokens, "per_cost": "no"}, TypeError, "per_cost must be True or False, got 'no'"),
    ],
)
def test_an_account_that_makes_no_sense_is_refused(options, kind, message):
    with pytest.raises(kind, match=message):
        CurriculumCallback(**options)


@pytest.mark.parametrize(("per_cost", "least"), [(True, "> 0"), (False, ">= 0")])
@pytest.mark.parametrize("number", [-1.0, math.nan, math.inf])
def test_a_cost_that_is_no_cost_is_refused_at_once(per_cost, least, number):
    micro = MicroBatch(torch.zeros(4), 0, DRAWS[:1])
    with pytest.raises(ValueError, match=rf"the cost of a step must be finite and {least}, got {number} for task '0'"):
        Account(lambda batch: number, per_cost=per_cost).enter(micro, 4, None)
