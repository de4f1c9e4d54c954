"""What is kept from before the step stays what it was, whoever writes to gradients meanwhile."""

from __future__ import annotations

import inspect
import itertools
import math
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.functional import mse_loss, softplus

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import FixedPolicy
from curricula.signals import FirstOrderPredictionGain, GradientPredictionGain, Signal
from curricula.signals.kept_gradients import gradients_stay, leaves_gradients_alone
from tests.models import Linear, noisy_tasks, trainer

FLAGS = ("nesterov", "amsgrad", "maximize", "differentiable", "foreach", "fused", "centered")


def optimizer_kinds():
    found = [getattr(torch.optim, name) for name in sorted(dir(torch.optim))]
    return [
        kind
        for kind in found
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    ]


def variants(kind):
    """Yield an optimiser of a kind with every combination of its options that it takes."""
    takes = inspect.signature(kind.__init__).parameters
    flags = [name for name in FLAGS if name in takes]
    numbers = [(name, value) for name, value in (("weight_decay", 0.1), ("momentum", 0.9)) if name in takes]
    for chosen in itertools.product([False, True], repeat=len(flags) + len(numbers)):
        options = dict(zip(flags, chosen, strict=False))
        options |= {name: value if on else 0.0 for (name, value), on in zip(numbers, chosen[len(flags) :], strict=True)}
        weights = [nn.Parameter(torch.linspace(-1.0, 1.0, 6).reshape(3, 2)) for _ in range(2)]
        try:
            yield kind(weights, **({"lr": 0.1} if "lr" in takes else {}), **options), weights, options
        except (RuntimeError, ValueError):  # options that exclude one another
            continue


def writes(optimizer, weights):
    """Tell whether one of three steps writes to gradients; ``None`` if it cannot step here."""
    for step in range(3):
        for weight in weights:
            weight.grad = torch.full_like(weight, (-1.0) ** step) + torch.arange(6.0).reshape(3, 2) / 10
        kept = [weight.grad for weight in weights]
        before = [gradient.clone() for gradient in kept]
        try:
            with torch.no_grad() if optimizer.defaults.get("differentiable") else torch.enable_grad():
                optimizer.step(*([lambda: torch.tensor(1.0)] if isinstance(optimizer, torch.optim.LBFGS) else []))
        except (RuntimeError, ValueError, AssertionError):
            return None
        if not all(map(torch.equal, before, kept)):
            return True
    return False


@pytest.mark.parametrize("kind", optimizer_kinds(), ids=lambda kind: kind.__name__)
def test_no_optimiser_that_writes_to_gradients_is_trusted(kind):
    for optimizer, weights, options in variants(kind):
        assert not (leaves_gradients_alone(optimizer) and writes(optimizer, weights)), options


def test_the_check_finds_one_that_writes():
    found = [options for optimizer, weights, options in variants(torch.optim.SGD) if writes(optimizer, weights)]
    assert found
    assert all(options["nesterov"] for options in found)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_the_plain_optimisers_are_trusted_and_checked(kind):
    results = [
        (leaves_gradients_alone(optimizer), writes(optimizer, weights)) for optimizer, weights, _ in variants(kind)
    ]
    assert (True, False) in results
    assert leaves_gradients_alone(kind([torch.zeros(1, requires_grad=True)], lr=0.1))


def test_subclasses_are_not_trusted():
    class Own(torch.optim.SGD):
        pass

    assert not leaves_gradients_alone(Own([torch.zeros(1, requires_grad=True)], lr=0.1))


def fit(model, signal=None, **options):
    callback = CurriculumCallback(FixedPolicy.uniform(), signal or FirstOrderPredictionGain())
    trainer(callback, *options.pop("callbacks", ()), **{"max_steps": 12, **options}).fit(
        model, CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=10)
    )
    return callback.history.column("progress")


class Trained(Linear):
    def __init__(self, kind, **options):
        torch.manual_seed(0)
        super().__init__(4)
        self.make = lambda: kind(self.parameters(), **options)

    def configure_optimizers(self):
        return self.make()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
        (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
        (torch.optim.SGD, {"lr": 0.001, "maximize": True}),
        (torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1}),
        (torch.optim.AdamW, {"lr": 0.01, "amsgrad": True}),
        (torch.optim.Adagrad, {"lr": 0.01}),
    ],
    ids=str,
)
def test_the_gain_is_the_same_however_the_optimiser_is_implemented(kind, options):
    plain = fit(Trained(kind, foreach=False, **options))
    for other in ({"foreach": True}, {"fused": True}):
        gains = fit(Trained(kind, **other, **options))
        assert gains == pytest.approx(plain, rel=1e-4, abs=1e-7), other


class ByHand(Linear):
    """Optimises manually, in one of the ways that people do."""

    def __init__(self, after):
        torch.manual_seed(0)
        super().__init__(4)
        self.automatic_optimization = False
        self.after = after

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx))
        optimizer.step()
        self.after(self, optimizer)


def nothing(model, optimizer):
    pass


def zeroed(model, optimizer):
    optimizer.zero_grad(set_to_none=False)


def scaled(model, optimizer):
    for parameter in model.parameters():
        parameter.grad.mul_(100.0)


def second_backward(model, optimizer):
    (model.layer.weight.sum() * 3.0).backward()


@pytest.mark.parametrize("after", [zeroed, scaled, second_backward])
def test_what_is_done_to_gradients_after_the_step_changes_no_gain(after):
    assert fit(ByHand(after)).tolist() == fit(ByHand(nothing)).tolist()


@pytest.mark.parametrize("signal", [FirstOrderPredictionGain, GradientPredictionGain])
def test_a_second_optimiser_changes_nothing_of_the_first_ones_gain(signal):
    class Gan(pl.LightningModule):
        def __init__(self, *, detach):
            torch.manual_seed(0)
            super().__init__()
            self.automatic_optimization = False
            self.generator, self.critic, self.detach = nn.Linear(4, 4), nn.Linear(4, 1), detach

        def training_step(self, batch, batch_idx):
            noise = torch.ones_like(batch[0])
            for_generator, for_critic = self.optimizers()
            for_generator.zero_grad()
            self.manual_backward(softplus(-self.critic(self.generator(noise))).mean())
            for_generator.step()
            fake = self.generator(noise).detach() if self.detach else self.generator(noise)
            for_critic.zero_grad()
            self.manual_backward((softplus(self.critic(fake)) + softplus(-self.critic(batch[0]))).mean())
            for_critic.step()

        def configure_optimizers(self):
            return [torch.optim.SGD(part.parameters(), 0.05) for part in (self.generator, self.critic)]

    assert (
        fit(Gan(detach=False), signal(), max_steps=24).tolist()
        == fit(Gan(detach=True), signal(), max_steps=24).tolist()
    )


def test_only_parameters_of_the_optimiser_count():
    class HeadOnly(Linear):
        def __init__(self):
            torch.manual_seed(0)
            super().__init__(4)
            self.backbone = nn.Linear(4, 4)  # has gradients, and is not trained

        def training_step(self, batch, batch_idx):
            loss = mse_loss(self.layer(self.backbone(batch[0])), batch[1])
            expected.append(
                sum(g.square().sum() for g in torch.autograd.grad(loss, [*self.layer.parameters()], retain_graph=True))
            )
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.layer.parameters(), lr=0.01)

    expected = []
    assert fit(HeadOnly(), GradientPredictionGain()) == pytest.approx([float(value) for value in expected], rel=1e-5)


def test_a_hook_that_writes_to_gradients_changes_the_step_and_not_the_gradient_of_the_loss():
    class Halved(Trained):
        def on_before_optimizer_step(self, optimizer):
            for parameter in self.parameters():
                parameter.grad.mul_(0.5)

    half = fit(Halved(torch.optim.SGD, lr=0.02))
    assert half == pytest.approx(fit(Trained(torch.optim.SGD, lr=0.01)), rel=1e-5)


class Half(pl.Callback):
    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        for parameter in pl_module.parameters():
            parameter.grad.mul_(0.5)


def test_so_does_the_hook_of_another_callback():
    half = fit(Trained(torch.optim.SGD, lr=0.02), callbacks=[Half()])
    assert half == pytest.approx(fit(Trained(torch.optim.SGD, lr=0.01)), rel=1e-5)


def test_hooks_of_the_optimiser_and_scaled_gradients_are_reasons_for_a_copy():
    model = Trained(torch.optim.SGD, lr=0.1)
    plain = SimpleNamespace(callbacks=[], precision_plugin=SimpleNamespace())
    optimizer = model.configure_optimizers()
    assert gradients_stay(plain, model, optimizer, None)
    scaled = SimpleNamespace(callbacks=[], precision_plugin=SimpleNamespace(scaler=object()))
    assert not gradients_stay(scaled, model, optimizer, None)
    assert not gradients_stay(SimpleNamespace(**{**vars(plain), "callbacks": [Half()]}), model, optimizer, None)
    optimizer.register_step_pre_hook(lambda *_: None)
    assert not gradients_stay(plain, model, optimizer, None)


class Watch(Signal):
    """Keeps what a step says of its gradients, and the loss."""

    needs_gradients = True

    def __init__(self):
        self.stay, self.losses = [], []

    def before_step(self, step):
        self.stay.append(step.gradients_stay)
        step.notes["norm"] = float(sum(gradient.square().sum() for gradient in step.gradients()))

    def after_step(self, step):
        self.losses.append(step.loss)
        return step.notes["norm"]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_the_plain_case_needs_no_copy(kind):
    watch = Watch()
    fit(Trained(kind, lr=0.01), watch)
    assert set(watch.stay) == {True}


def test_clipping_manual_optimisation_and_nesterov_need_one():
    for model, options in (
        (Trained(torch.optim.SGD, lr=0.01), {"gradient_clip_val": 1.0}),
        (ByHand(nothing), {}),
        (Trained(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True), {}),
    ):
        watch = Watch()
        fit(model, watch, **options)
        assert set(watch.stay) == {False}


@pytest.mark.parametrize("manual", [False, True])
def test_closures_that_are_called_again_count_once_with_the_first_loss_and_gradient(manual):
    class Searching(Linear):
        def __init__(self):
            torch.manual_seed(0)
            super().__init__(4)
            self.automatic_optimization = not manual
            self.calls = []

        def training_step(self, batch, batch_idx):
            if not manual:
                return self.seen(batch)
            optimizer = self.optimizers()

            def closure():
                optimizer.zero_grad()
                loss = self.seen(batch)
                self.manual_backward(loss)
                return loss

            optimizer.step(closure)
            return None

        def seen(self, batch):
            loss = mse_loss(self.layer(batch[0]), batch[1])
            slopes = torch.autograd.grad(loss, [*self.parameters()], retain_graph=True)
            self.calls.append((self.global_step, float(loss), float(sum(slope.square().sum() for slope in slopes))))
            return loss

        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=5)

    watch, model = Watch(), Searching()
    progress = fit(model, watch, max_steps=5)
    firsts = {step: (loss, norm) for step, loss, norm in reversed(model.calls)}
    assert len(model.calls) > len(firsts) == 5
    assert progress == pytest.approx([norm for _, norm in firsts.values()][::-1], rel=1e-5)
    expected = [math.nan] * 5 if manual else [loss for loss, _ in firsts.values()][::-1]
    assert watch.losses == pytest.approx(expected, nan_ok=True)


def test_hooks_of_an_optimiser_that_clear_its_gradients_change_no_gain():
    def clear(optimizer, *_):
        optimizer.zero_grad(set_to_none=False)

    class Hooked(Linear):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            if self.hooked:
                optimizer.register_step_post_hook(clear)
            return optimizer

    found = []
    for hooked in (False, True):
        torch.manual_seed(0)
        model, callback = Hooked(4), CurriculumCallback()
        model.hooked = hooked
        loader = CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=10)
        trainer(callback, max_steps=10).fit(model, loader)
        found.append(callback.history.column("progress").tolist())
    assert found[0] == found[1]
    assert all(gain > 0 for gain in found[0])
