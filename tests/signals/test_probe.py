"""The probe computes the loss once more, and nothing can tell that it ran."""

from __future__ import annotations

import copy
import math
import random
from collections import Counter, OrderedDict, defaultdict, deque
from contextlib import nullcontext

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torchmetrics
from torch import nn

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import FixedPolicy
from curricula.signals import GradientPredictionGain, PredictionGain, Signal
from curricula.signals.moment import Moment
from curricula.signals.probe import Probe, as_loss, untouched
from curricula.signals.surroundings import Surroundings
from tests.models import Linear, Noisy, noisy_tasks, tasks_of_constants, trainer

BATCH = (torch.arange(32.0).reshape(8, 4).sin(), torch.arange(8.0).reshape(8, 1).cos())


def probe(module, batch=BATCH, batch_idx=0, start=None):
    return Probe(module, nullcontext).loss(batch, batch_idx, start)


def start_of(module):
    return Moment(Surroundings(module), to_run=True)


def streams():
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002


class Plain(pl.LightningModule):
    """Logs nothing, so that it runs without a trainer."""

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 1))

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return (self.network(inputs) - targets).square().mean()


# ---------------------------------------------------------------- the loss


def test_it_is_the_loss_of_the_training_step():
    module = Plain().eval()
    assert probe(module) == module.training_step(BATCH, 0)


def test_the_same_random_numbers_give_the_same_dropout_masks():
    module = Plain()
    state = start_of(module)
    loss = module.training_step(BATCH, 0).detach()
    torch.rand(100)
    assert probe(module, start=state) == loss
    assert probe(module, start=state) == loss
    assert probe(module) != loss


def test_all_global_streams_are_replayed():
    class Drawing(Plain):
        def training_step(self, batch, batch_idx):
            return torch.tensor(float(torch.rand(())) + random.random() + np.random.rand())  # noqa: NPY002

    module = Drawing()
    state = start_of(module)
    assert module.training_step(BATCH, 0) == probe(module, start=state)


def test_a_loss_of_the_modules_own_comes_first():
    class Own(Plain):
        def training_step(self, batch, batch_idx):
            pytest.fail("the module has a loss for the probe")

        def curriculum_loss(self, batch, batch_idx):
            return torch.tensor(40.0 + batch_idx)

    assert probe(Own(), batch_idx=2) == 42.0
    assert Probe(Own(), nullcontext).is_custom
    assert not Probe(Plain(), nullcontext).is_custom


def positional(self, batch):
    return torch.tensor(float(batch))


def named(self, batch, batch_idx):
    return torch.tensor(batch + 0.1 * batch_idx)


def differently_named(self, data, number):
    return named(self, data, number)


def keyword_only(self, batch, *, batch_idx):
    return named(self, batch, batch_idx)


def with_dataloader(self, batch, batch_idx, dataloader_idx=0):
    return named(self, batch, batch_idx + 100 * dataloader_idx)


def anything(self, *args, **kwargs):
    return named(self, *args, **kwargs)


def all_positional(self, *args):
    return named(self, *args)


@pytest.mark.parametrize("name", ["training_step", "curriculum_loss"])
@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (positional, 5.0),
        (named, 5.3),
        (differently_named, 5.3),
        (keyword_only, 5.3),
        (with_dataloader, 5.3),
        (anything, 5.3),
        (all_positional, 5.3),
    ],
)
def test_every_signature_gets_what_it_takes(step, expected, name):
    module = type("Module", (Plain,), {name: step})()
    assert float(probe(module, batch=5.0, batch_idx=3)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "output",
    [
        torch.tensor(3.0, requires_grad=True),
        torch.tensor([3.0]),
        {"loss": torch.tensor(3.0), "more": 1},
        {"loss": torch.tensor([[3.0]])},
    ],
    ids=["tensor", "one element", "dict", "dict of one element"],
)
def test_the_loss_is_found_in_what_a_step_returns(output):
    loss = as_loss(output, "training_step")
    assert (float(loss), loss.shape, loss.requires_grad) == (3.0, (), False)


@pytest.mark.parametrize(
    ("output", "found"),
    [
        (None, "None"),
        (0.5, "0.5"),
        (torch.zeros(3), r"a tensor of shape \(3,\)"),
        ({"log": 1, "losses": 2}, r"a dict with the keys \['log', 'losses'\]"),
        ({"loss": None}, r"a dict with the keys \['loss'\]"),
    ],
)
def test_a_step_without_a_loss_is_told_what_to_do(output, found):
    class Lossless(Plain):
        def training_step(self, batch, batch_idx):
            return output

    message = rf"`training_step` returned no loss .* but {found}: return the loss, or define `curriculum_loss\(self"
    with pytest.raises(RuntimeError, match=message):
        probe(Lossless())


def test_it_runs_in_the_context_of_training():
    class Typed(Plain):
        def training_step(self, batch, batch_idx):
            types.append(self.network[0](batch[0]).dtype)
            return torch.zeros(())

    types = []
    Probe(Typed(), lambda: torch.autocast("cpu", torch.bfloat16)).loss(BATCH, 0, None)
    assert types == [torch.bfloat16]


# ---------------------------------------------------------------- no trace


class Everything(Plain):
    """Changes all that a training step may change."""

    def __init__(self, *, fail=False):
        super().__init__()
        self.fail = fail
        self.register_buffer("running", torch.zeros(3))
        self.register_buffer("replaced", torch.zeros(2))
        self.register_buffer("counted", torch.zeros((), dtype=torch.long), persistent=False)
        self.count = 0
        self.last_loss = None
        self.total = torch.zeros(2)
        self.losses = [1.0]
        self.seen = {"start"}
        self.window = deque([1, 2], maxlen=2)
        self.by_task = defaultdict(list, a=[1])
        self.nested = {"train": {"losses": [torch.ones(1)]}, "pair": ([1], [2])}
        self.counter = Counter(a=2)
        self.ordered = OrderedDict(b=1, a=2)
        self.plain = None
        self.network[0].calls = 0
        self.accuracy = torchmetrics.MeanMetric()
        self.cat = torchmetrics.CatMetric()
        self.metrics = torchmetrics.MetricCollection(
            [torchmetrics.MeanSquaredError(), torchmetrics.MeanAbsoluteError()]
        )

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        outputs = self.network(inputs)
        loss = (outputs - targets).square().mean()
        value = loss.detach()
        self.running += value
        self.replaced = self.replaced + value
        self.counted.add_(1)
        self.count += 1
        self.last_loss = value
        self.new_attribute = value
        self.total[0] += value
        self.losses.append(float(value))
        self.seen.add(float(value))
        self.window.append(float(value))
        self.by_task["a"].append(value)
        self.by_task["new"].append(value)
        self.nested["train"]["losses"].append(value)
        self.nested["pair"][0].clear()
        self.nested["new"] = value
        self.counter.update("ab")
        self.ordered.move_to_end("b")
        self.network[0].calls += 1
        self.accuracy.update(value)
        self.cat(value)
        self.metrics(outputs.detach(), targets)
        torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
        if hasattr(self, "fresh"):
            del self.fresh
        if self.fail and self.count == 2:
            raise KeyError("in the middle")
        return loss


def state_of(module):
    """Return all that the class above changes, by value."""
    parts = {name: tensor.tolist() for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
    gradients = [None if parameter.grad is None else parameter.grad.tolist() for parameter in module.parameters()]
    attributes = [
        str(
            {
                key: value
                for key, value in vars(part).items()
                if not callable(value) and not isinstance(value, nn.Module)
            }
        )
        for part in module.modules()
    ]
    return parts, gradients, attributes, [part.training for part in module.modules()], streams()


@pytest.mark.parametrize("replay", [False, True])
def test_it_leaves_no_trace_in_the_module(replay):
    module = Everything()
    module.fresh = True
    module.network[2].eval()
    state = start_of(module) if replay else None
    module.training_step(BATCH, 0).backward()
    module.fresh = True
    before = state_of(module)
    identities = {key: id(value) for key, value in vars(module).items()}
    buffers = {name: id(buffer) for name, buffer in module.named_buffers()}
    probe(module, start=state)
    assert state_of(module) == before
    assert {key: id(value) for key, value in vars(module).items()} == identities
    assert {name: id(buffer) for name, buffer in module.named_buffers()} == buffers
    module.training_step(BATCH, 0)
    assert state_of(module) != before, "the check can fail"


def test_a_training_goes_on_as_if_it_had_not_run():
    with_probe, without = Everything(), Everything()
    without.load_state_dict(with_probe.state_dict())
    results = []
    for module in (with_probe, without):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        for _ in range(3):
            module.training_step(BATCH, 0).backward()
            if module is with_probe:
                probe(module)
        results.append((state_of(module), module.metrics.compute(), module.accuracy.compute(), module.cat.compute()))
    assert str(results[0]) == str(results[1])


def test_a_metric_may_meet_the_probe_before_its_first_update():
    module = Everything()
    probe(module)
    assert module.metrics["MeanSquaredError"].update_count == 0
    module.training_step(BATCH, 0)
    assert [metric.update_count for metric in module.metrics.values()] == [1, 1]


def test_an_error_in_the_middle_leaves_no_trace_either():
    module = Everything(fail=True)
    module.training_step(BATCH, 0)
    before = state_of(module)
    with pytest.raises(KeyError, match="in the middle"):
        probe(module)
    assert state_of(module) == before
    assert "log" not in vars(module)


def test_tensors_of_inference_mode_do_no_harm():
    class Validated(Plain):
        def validate(self):
            with torch.inference_mode():
                self.predictions = self.network(BATCH[0])
                self.register_buffer("best", self.predictions.max())
                self.outputs = [self.predictions]

        def training_step(self, batch, batch_idx):
            with torch.inference_mode():
                self.predictions.zero_()
                self.best.zero_()
            return super().training_step(batch, batch_idx)

    module = Validated().eval()
    module.validate()
    before = [module.predictions.tolist(), module.best.tolist()]
    assert before[1] != 0
    probe(module)
    assert [module.predictions.tolist(), module.best.tolist()] == before


def test_containers_that_hold_themselves_do_no_harm():
    module = Plain()
    module.loop = [1]
    module.loop.append(module.loop)
    probe(module)
    assert module.loop[0] == 1
    assert module.loop[1] is module.loop


def test_gradients_are_neither_needed_nor_made():
    class Asking(Plain):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            asked.append((torch.is_grad_enabled(), loss.requires_grad))
            return loss

    asked = []
    module = Asking()
    module.network[0].weight.grad = torch.ones_like(module.network[0].weight)
    assert not probe(module).requires_grad
    assert asked == [(False, False)]
    assert module.network[0].weight.grad.unique().tolist() == [1.0]
    assert module.network[0].bias.grad is None
    assert torch.is_grad_enabled()


def test_the_mode_of_every_submodule_stays_as_in_training():
    modes = []

    class Watching(Plain):
        def training_step(self, batch, batch_idx):
            modes.append([part.training for part in self.modules()])
            return super().training_step(batch, batch_idx)

    module = Watching()
    module.network[1].eval()  # a frozen BatchNorm
    expected = [part.training for part in module.modules()]
    probe(module)
    assert modes == [expected]
    assert False in expected


def test_a_step_may_take_things_out_of_its_batch():
    class Popping(Plain):
        def training_step(self, batch, batch_idx):
            targets = batch["more"].pop("targets")
            return super().training_step((batch.pop("inputs"), targets), batch_idx)

    batch = {"inputs": BATCH[0], "more": {"targets": BATCH[1]}}
    assert probe(Popping(), batch=batch).isfinite()
    assert list(batch) == ["inputs", "more"]
    assert list(batch["more"]) == ["targets"]


def test_a_function_called_log_is_not_silenced_in_modules_of_mathematics():
    class Mathematics(nn.Module):
        def log(self, values):
            return values.log()

    class Module(Plain):
        def __init__(self):
            super().__init__()
            self.mathematics = Mathematics()

        def training_step(self, batch, batch_idx):
            self.log("no trainer is there to take it", 1.0)
            self.log_dict({"nor this": 1.0})
            return self.mathematics.log(torch.tensor(math.e))

    assert float(probe(Module())) == pytest.approx(1.0)


def test_modules_within_modules_are_silenced_too():
    class Inner(pl.LightningModule):
        def forward(self, value):
            self.log("no trainer is there to take it", value)
            return value

    class Outer(Plain):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def training_step(self, batch, batch_idx):
            return self.inner(torch.tensor(2.0))

    assert probe(Outer()) == 2.0


def test_a_log_of_the_users_own_is_put_back():
    module = Plain()
    module.log = own = lambda *_, **__: pytest.fail("it is to be silent")
    module.training_step = lambda batch, batch_idx: module.log("x", 1.0) or torch.zeros(())
    probe(module)
    assert module.log is own


def test_untouched_serves_plain_modules():
    module = nn.BatchNorm1d(4)
    before = copy.deepcopy(module.state_dict())
    with untouched(module):
        module(BATCH[0])
        assert int(module.num_batches_tracked) == 1
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


# ---------------------------------------------------------------- in a trainer


class Probing(Signal):
    """Calls the probe as often as it is told."""

    needs_loss = True
    needs_probe = True

    def __init__(self, times):
        self.times = times

    def before_step(self, step):
        for _ in range(self.times):
            step.probe_loss()

    def after_step(self, step):
        for _ in range(self.times):
            step.probe_loss()
        return 0.0


class Logging(Noisy):
    def __init__(self):
        super().__init__()
        self.error = torchmetrics.MeanSquaredError()
        self.val_error = torchmetrics.MeanSquaredError()

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.error(self.network(batch[0]), batch[1])
        self.log("error", self.error, on_step=True, on_epoch=True)
        self.log_dict({"random": torch.rand(()), "mean": loss.detach()}, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.val_error(self.network(batch[0]), batch[1])
        self.log("val_error", self.val_error)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_metrics_of_a_training_are_the_same_with_the_probe(accumulate):
    def run(times):
        pl.seed_everything(1, verbose=False)
        model = Logging()
        seen = []
        watcher = pl.Callback()
        watcher.on_train_batch_end = lambda own, *_: seen.append(
            [
                {key: float(value) for key, value in metrics.items()}
                for metrics in (own.callback_metrics, own.logged_metrics, own.progress_bar_metrics)
            ]
        )
        callback = CurriculumCallback(FixedPolicy.uniform(), Probing(times))
        fitter = trainer(callback, watcher, max_epochs=3, accumulate_grad_batches=accumulate, log_every_n_steps=1)
        loader = CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=6)
        fitter.fit(model, loader, torch.utils.data.DataLoader(noisy_tasks()["b"], batch_size=16))
        return seen, {key: float(value) for key, value in fitter.callback_metrics.items()}, str(model.state_dict())

    plain = run(0)
    assert len(plain[0]) == 18
    assert {"loss_step", "error_step", "random", "val_error"} <= plain[1].keys()
    assert run(2) == plain


class Averaging(Linear):
    """Writes to parameters in its training step: in place, or past the version of the tensor."""

    def __init__(self, *, into_trained, past_version):
        super().__init__()
        self.average = torch.nn.Linear(2, 1)
        self.average.requires_grad_(into_trained)
        self.past_version = past_version

    def training_step(self, batch, batch_idx):
        with torch.no_grad():
            average = self.average.weight.data if self.past_version else self.average.weight
            average.lerp_(self.layer.weight, 0.1)
        return super().training_step(batch, batch_idx) + (self.average(batch[0]) - batch[1]).square().mean()


@pytest.mark.parametrize("past_version", [False, True])
def test_a_training_step_that_writes_to_trained_parameters_is_refused_with_the_way_out(past_version):
    model = Averaging(into_trained=True, past_version=past_version)
    with pytest.raises(RuntimeError, match=r"`training_step` writes to parameters.*define `curriculum_loss"):
        trainer(CurriculumCallback(signal=PredictionGain()), max_steps=3).fit(model, loader())
    trainer(CurriculumCallback(signal=GradientPredictionGain()), max_steps=3).fit(model, loader())


@pytest.mark.parametrize("past_version", [False, True])
def test_a_late_write_to_trained_parameters_is_found_too(past_version):
    class Late(Averaging):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) if batch_idx > 2 else Linear.training_step(self, batch, 0)

    model = Late(into_trained=True, past_version=past_version)
    with pytest.raises(RuntimeError, match=r"`training_step` writes to parameters"):
        trainer(CurriculumCallback(signal=PredictionGain()), max_steps=10).fit(model, loader())


@pytest.mark.parametrize("past_version", [False, True])
def test_a_training_step_may_write_to_parameters_that_are_not_trained(past_version):
    progress = []
    for signal in (None, PredictionGain()):
        torch.manual_seed(0)
        model = Averaging(into_trained=False, past_version=past_version)
        callback = CurriculumCallback(FixedPolicy.uniform(), signal)
        trainer(callback, max_steps=5).fit(model, loader())
        progress.append(model.average.weight.tolist())
    assert progress[0] == progress[1]


def test_a_training_step_that_differentiates_is_refused_with_the_way_out():
    class Penalised(Linear):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            (slope,) = torch.autograd.grad(loss, self.layer.weight, create_graph=True)
            return loss + slope.square().sum()

    with pytest.raises(RuntimeError, match=r"`training_step` differentiates by itself.*define `curriculum_loss"):
        trainer(CurriculumCallback(signal=PredictionGain()), max_steps=3).fit(Penalised(), loader())


def loader():
    return CurriculumLoader(tasks_of_constants(["a", "b"]), batch_size=4, steps_per_epoch=5)
