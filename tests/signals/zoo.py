"""Modules that keep something from step to step, or change what they are given: all that a second run could disturb."""

from __future__ import annotations

import copy
import functools
import random
import warnings
from collections import UserDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
import torchmetrics
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.checkpoint import checkpoint

from curricula.variational import Variational


class Animal(pl.LightningModule):
    """A small network with dropout, trained by SGD with momentum."""

    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, lr: float = 0.05):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))
        self.lr = lr
        self.build()

    def build(self) -> None:
        """Add what the animal has of its own."""

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return mse_loss(self.network(inputs), targets)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(*batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.trained(), lr=self.lr, momentum=0.5)

    def trained(self) -> Any:
        return self.parameters()

    def memory(self) -> Any:
        """Return all that it keeps outside parameters and buffers, by value."""
        return ()


ZOO: dict[str, Callable[..., Any]] = {}


def animal(kind: type) -> type:
    ZOO[kind.__name__] = kind
    return kind


@animal
class Dropout(Animal):
    pass


@animal
class BatchNorm(Animal):
    def build(self):
        self.network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))


# ---------------------------------------------------------------- memory


@animal
class QueueRebound(Animal):
    def build(self):
        self.register_buffer("queue", torch.zeros(8, 4))

    def loss(self, inputs, targets):
        loss = super().loss(inputs, targets) + (self.network(inputs).mean() - self.network(self.queue).mean()).square()
        self.queue = inputs.detach()
        return loss


@animal
class QueueInPlace(Animal):
    """As in MoCo: rows are overwritten, a pointer goes round."""

    def build(self):
        self.register_buffer("queue", torch.zeros(20, 1))
        self.register_buffer("pointer", torch.zeros(1, dtype=torch.long))

    def loss(self, inputs, targets):
        outputs = self.network(inputs)
        loss = mse_loss(outputs, targets) + (outputs.mean() - self.queue.clone().mean()).square()
        place = int(self.pointer)
        rows = [(place + row) % len(self.queue) for row in range(len(inputs))]
        self.queue[rows] = outputs.detach()
        self.pointer[0] = (place + len(inputs)) % len(self.queue)
        return loss


@animal
class QueuePastVersions(QueueInPlace):
    def loss(self, inputs, targets):
        outputs = self.network(inputs)
        loss = mse_loss(outputs, targets) + (outputs.mean() - self.queue.clone().mean()).square()
        self.queue.data = torch.cat([self.queue.data, outputs.detach()])[-24:]
        return loss


class WithTarget(Animal):
    """A target network that follows the trained one."""

    def build(self):
        self.target = copy.deepcopy(self.network).requires_grad_(False)

    def trained(self):
        return self.network.parameters()

    def follow(self):
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.network.parameters(), strict=True):
                slow.lerp_(fast, 0.3)

    def loss(self, inputs, targets):
        self.follow()
        return super().loss(inputs, targets) + mse_loss(self.network(inputs), self.target(inputs + 0.1))

    def memory(self):
        return [parameter.tolist() for parameter in self.target.parameters()]


@animal
class AverageInPlace(WithTarget):
    pass


@animal
class AverageByData(WithTarget):
    """As in MoCo: the tensors get other values."""

    def follow(self):
        for slow, fast in zip(self.target.parameters(), self.network.parameters(), strict=True):
            slow.data = slow.data * 0.7 + fast.data * 0.3


@animal
class AverageByDataInPlace(WithTarget):
    def follow(self):
        for slow, fast in zip(self.target.parameters(), self.network.parameters(), strict=True):
            slow.data.mul_(0.7).add_(fast.data, alpha=0.3)


@animal
class AverageThatRequiresGradients(WithTarget):
    """Nobody froze it; it is in no optimiser."""

    def build(self):
        self.target = copy.deepcopy(self.network)


@animal
class AverageHidden(WithTarget):
    """In a list, so that checkpoints do not hold it."""

    def build(self):
        self.hidden = [copy.deepcopy(self.network).requires_grad_(False)]

    @property
    def target(self):
        return self.hidden[0]


class Average:
    def __init__(self, module):
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.updates = 0


@animal
class AverageInHelper(WithTarget):
    """As in timm: a plain object that holds a copy."""

    def build(self):
        self.average = Average(self.network)

    @property
    def target(self):
        return self.average.module

    def follow(self):
        super().follow()
        self.average.updates += 1

    def memory(self):
        return self.average.updates, super().memory()


@animal
class AverageCopiedAnew(WithTarget):
    """The target is another module now and then."""

    def follow(self):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls % 2:
            self.target = copy.deepcopy(self.network).requires_grad_(False)


@animal
class AveragedModel(WithTarget):
    def build(self):
        self.target = torch.optim.swa_utils.AveragedModel(self.network)

    def follow(self):
        self.target.update_parameters(self.network)


class Sums(NamedTuple):
    of_losses: list[float]
    of_calls: list[int]


@animal
class Centred(Animal):
    """As in DINO: outputs less their running mean, a plain attribute."""

    def build(self):
        self.centre = torch.zeros(1)
        self.total = torch.zeros(1)
        self.seen = np.zeros(3)
        self.history = deque(maxlen=3)
        self.by_sign = {"plus": [0], "minus": {0}}
        self.sums = Sums([0.0], [0])

    def loss(self, inputs, targets):
        outputs = self.network(inputs)
        loss = mse_loss(outputs - self.centre - self.total + float(self.seen.sum()), targets)
        self.centre = 0.9 * self.centre + 0.1 * outputs.detach().mean()
        self.total.data.add_(outputs.detach().mean() * 0.01)
        self.seen[1:] += float(targets.mean()) * 0.01
        self.history.append(float(loss.detach()) + len(self.history))
        self.by_sign["plus"].append(len(self.by_sign["plus"]))
        self.by_sign["minus"].add(len(self.by_sign["minus"]))
        self.sums.of_losses[0] += 1.0
        return loss * self.sums.of_losses[0]

    def memory(self):
        return self.centre, self.total, self.seen.tolist(), self.history, self.by_sign, self.sums


@animal
class TargetsNormalised(Animal):
    def build(self):
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("square", torch.ones(1))

    def loss(self, inputs, targets):
        self.mean.lerp_(targets.mean(0), 0.1)
        self.square.mul_(0.9).add_(0.1 * targets.square().mean(0))
        return super().loss(inputs, (targets - self.mean) / self.square.sqrt())


@animal
class Recurrent(Animal):
    """A hidden state is carried from batch to batch."""

    def build(self):
        self.network = nn.LSTM(4, 6, batch_first=True)
        self.head = nn.Linear(6, 1)
        self.hidden = None

    def loss(self, inputs, targets):
        outputs, hidden = self.network(inputs[:, None], self.hidden)
        self.hidden = tuple(part.detach() for part in hidden)
        return mse_loss(self.head(outputs[:, 0]), targets)

    def memory(self):
        return self.hidden


@animal
class Metrics(Animal):
    def build(self):
        self.error = torchmetrics.MeanSquaredError()
        self.both = torchmetrics.MetricCollection(
            [torchmetrics.MeanSquaredError(), torchmetrics.MeanAbsoluteError(), torchmetrics.R2Score()]
        )
        self.mean = torchmetrics.MeanMetric()

    def loss(self, inputs, targets):
        outputs = self.network(inputs)
        loss = mse_loss(outputs, targets)
        self.mean.update(loss.detach())
        self.error(outputs.detach(), targets)
        self.both.update(outputs.detach(), targets)
        self.log("error", self.error, on_step=True, on_epoch=True)
        self.log("loss", loss, on_step=True)
        return loss + self.mean.compute()

    def memory(self):
        return self.both.compute(), self.mean.compute(), self.mean.update_count


# ---------------------------------------------------------------- random numbers


@animal
class TorchGenerator(Animal):
    def build(self):
        self.numbers = torch.Generator().manual_seed(1)

    def loss(self, inputs, targets):
        return super().loss(inputs + torch.randn(inputs.shape, generator=self.numbers), targets)

    def memory(self):
        return self.numbers.get_state()


class Noise:
    def __init__(self):
        self.numbers = np.random.default_rng(2)
        self.calls = 0

    def __call__(self, inputs):
        self.calls += 1
        return inputs + torch.as_tensor(self.numbers.normal(size=inputs.shape), dtype=inputs.dtype)


@animal
class NumpyGeneratorInHelper(Animal):
    def build(self):
        self.noise = Noise()

    def loss(self, inputs, targets):
        return super().loss(self.noise(inputs), targets)

    def memory(self):
        return str(self.noise.numbers.bit_generator.state), self.noise.calls


@animal
class NumpyGeneratorInClosure(NumpyGeneratorInHelper):
    """Nothing but functions holds the generators."""

    def build(self):
        first, second = Noise(), Noise()
        self.augment = lambda inputs: first(inputs + 0.0)
        self.again = functools.partial(Noise.__call__, second)

    def memory(self):
        noises = self.augment.__closure__[0].cell_contents, self.again.args[0]
        return [(str(noise.numbers.bit_generator.state), noise.calls) for noise in noises]

    @property
    def noise(self):
        return lambda inputs: self.again(self.augment(inputs))


class Slotted:
    __slots__ = ("legacy", "more", "numbers")

    def __init__(self):
        self.numbers = random.Random(3)
        self.legacy = np.random.RandomState(4)


@animal
class PythonGeneratorInPart(Animal):
    def build(self):
        self.network[2].noises = {"slotted": [Slotted()]}

    def loss(self, inputs, targets):
        slotted = self.network[2].noises["slotted"][0]
        slotted.more = slotted.numbers.random() + slotted.legacy.normal()
        return super().loss(inputs + slotted.more, targets)

    def memory(self):
        slotted = self.network[2].noises["slotted"][0]
        return slotted.numbers.getstate(), str(slotted.legacy.get_state()), getattr(slotted, "more", None)


@animal
class Sobol(Animal):
    def build(self):
        self.points = torch.quasirandom.SobolEngine(4, scramble=True, seed=5)

    def loss(self, inputs, targets):
        return super().loss(inputs + self.points.draw(len(inputs)), targets)

    def memory(self):
        return self.points.num_generated, self.points.quasi


@animal
class GlobalStreams(Animal):
    def loss(self, inputs, targets):
        noise = random.random() + np.random.rand() + torch.rand(())  # noqa: NPY002
        return super().loss(inputs + noise, targets)


# ---------------------------------------------------------------- batches


@animal
class BatchWritten(Animal):
    def loss(self, inputs, targets):
        inputs.add_(torch.randn_like(inputs))
        targets.data.mul_(2.0)
        return super().loss(inputs, targets)


@animal
class BatchOfOneTensorTwice(Animal):
    def on_before_batch_transfer(self, batch, dataloader_idx):
        return batch[0], batch[0]

    def loss(self, inputs, targets):
        inputs.add_(1.0)
        return super().loss(inputs, targets[:, :1])


@animal
class BatchPopped(Animal):
    kind: type = dict

    def on_before_batch_transfer(self, batch, dataloader_idx):
        return self.kind(inputs=batch[0], more={"targets": [batch[1]]})

    def training_step(self, batch, batch_idx):
        return self.loss(batch.pop("inputs"), batch["more"].pop("targets").pop())


class Encoding(UserDict):
    """As tokenizers return it."""

    def __init__(self, data=None, **items):
        super().__init__(data or items)


@animal
class EncodingPopped(BatchPopped):
    kind = Encoding


@dataclass
class Pair:
    inputs: Tensor
    targets: Tensor | None


@animal
class DataclassEmptied(Animal):
    def on_before_batch_transfer(self, batch, dataloader_idx):
        return Pair(*batch)

    def training_step(self, batch, batch_idx):
        targets, batch.targets = batch.targets, None
        batch.inputs.mul_(1.5)
        return self.loss(batch.inputs, targets)


class Graph:
    """Attributes in slots and in a store, as graph libraries have them."""

    __slots__ = ("__dict__", "nodes")

    def __init__(self, nodes, targets):
        self.nodes = nodes
        self.store = {"targets": targets}


@animal
class GraphChanged(Animal):
    def on_before_batch_transfer(self, batch, dataloader_idx):
        return Graph(*batch)

    def training_step(self, batch, batch_idx):
        batch.nodes = batch.nodes + 1.0
        targets = batch.store.pop("targets")
        batch.seen = True
        return self.loss(batch.nodes, targets)


# ---------------------------------------------------------------- layers


@animal
class Lazy(Animal):
    """No shapes and no weights before the first step, and dropout after these are drawn."""

    def build(self):
        self.network = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.Dropout(0.3), nn.LazyLinear(1))


@animal
class LazyConvolution(Animal):
    def build(self):
        self.network = nn.Sequential(
            nn.Unflatten(1, (1, 4)),
            nn.LazyConv1d(3, 2),
            nn.LazyInstanceNorm1d(affine=True),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.LazyLinear(1),
        )


@animal
class Normed(Animal):
    def build(self):
        self.network[0] = nn.utils.parametrizations.spectral_norm(self.network[0])
        self.network[3] = nn.utils.parametrizations.weight_norm(self.network[3])


@animal
class NormedAsOfOld(Animal):
    def build(self):
        self.network[0] = nn.utils.spectral_norm(self.network[0])


@animal
class Checkpointed(Animal):
    def loss(self, inputs, targets):
        hidden = checkpoint(self.network[:3], inputs.requires_grad_(), use_reentrant=False)
        return mse_loss(checkpoint(self.network[3:], hidden, use_reentrant=True), targets)


@animal
class Compiled(Animal):
    def build(self):
        self.network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
        self.network.compile(backend="eager")


@animal
class Bayesian(Animal):
    def build(self):
        self.network = Variational(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1)), samples=100)

    def loss(self, inputs, targets):
        return self.network.loss(super().loss(inputs, targets))


# ---------------------------------------------------------------- gradients of its own


@animal
class InnerLoop(Animal):
    def loss(self, inputs, targets):
        weight, bias = self.network[0].weight, self.network[0].bias
        with torch.enable_grad():
            inner = mse_loss(nn.functional.linear(inputs, weight, bias).mean(1, keepdim=True), targets)
            (slope,) = torch.autograd.grad(inner, weight, create_graph=True)
        return mse_loss(self.network[1:](nn.functional.linear(inputs, weight - 0.1 * slope, bias)), targets)


@animal
class Adversarial(Animal):
    """A backward pass of its own, which leaves gradients behind."""

    def loss(self, inputs, targets):
        with torch.enable_grad():
            inputs = inputs.clone().requires_grad_()
            mse_loss(self.network(inputs), targets).backward()
        return super().loss((inputs + 0.1 * inputs.grad.sign()).detach(), targets)


@animal
class FunctionalInnerLoop(Animal):
    def loss(self, inputs, targets):
        weight = self.network[0].weight
        slope = torch.func.grad(lambda values: (inputs @ values.T).tanh().square().mean())(weight)
        return mse_loss(self.network[1:](inputs @ (weight - 0.1 * slope).T), targets)


@animal
class OptimiserOfItsOwn(Animal):
    """Trains a part by itself within the step."""

    def build(self):
        self.critic = nn.Linear(4, 1)
        self.own = torch.optim.Adam(self.critic.parameters(), lr=0.05)

    def trained(self):
        return self.network.parameters()

    def loss(self, inputs, targets):
        with torch.enable_grad():
            self.own.zero_grad()
            mse_loss(self.critic(inputs), targets).backward()
            self.own.step()
        return super().loss(inputs, targets) + mse_loss(self.network(inputs), self.critic(inputs).detach())

    def memory(self):
        return self.own.state_dict()["state"], [parameter.grad for parameter in self.critic.parameters()]


# ---------------------------------------------------------------- optimisers


@animal
class LearningRateOfTheBatch(Animal):
    def loss(self, inputs, targets):
        options = self.optimizers().optimizer.param_groups[0]
        loss = super().loss(inputs, targets) * (1.0 + options["lr"])
        options["lr"] = self.lr * float(1.0 + targets.abs().mean())
        options["momentum"] = 0.9 - options["momentum"]
        options["weight_decay"] = 0.1 * self.lr * float(inputs.mean().abs())
        return loss


@animal
class LearningRateAsTensor(Animal):
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=torch.tensor(self.lr), foreach=False, capturable=False)

    def loss(self, inputs, targets):
        options = self.optimizers().optimizer.param_groups[0]
        loss = super().loss(inputs, targets) * (1.0 + options["lr"])
        options["lr"].mul_(1.1)
        return loss


@animal
class SchedulerInTheStep(Animal):
    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)]

    def lr_scheduler_step(self, scheduler, metric):
        pass

    def loss(self, inputs, targets):
        scheduler = self.lr_schedulers()
        loss = super().loss(inputs, targets) + 0.01 * scheduler.last_epoch
        scheduler.step()
        return loss

    def memory(self):
        state = self.lr_schedulers().state_dict()
        return sorted((key, str(value)) for key, value in state.items())


@animal
class QuasiNewton(Animal):
    """The optimiser calls the training step several times."""

    def build(self):
        self.network = nn.Linear(4, 1)
        self.calls = 0

    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), lr=self.lr, max_iter=4)

    def loss(self, inputs, targets):
        self.calls += 1
        return super().loss(inputs, targets) + 0.01 * self.calls

    def memory(self):
        return self.calls


class SAM(torch.optim.SGD):
    """Sharpness-aware minimisation: the gradient is that of a place nearby."""

    @torch.no_grad()
    def step(self, closure):
        closure = torch.enable_grad()(closure)
        loss = closure()
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        before = [parameter.clone() for parameter in parameters]
        for parameter in parameters:
            parameter.add_(parameter.grad, alpha=0.05)
        closure()
        for parameter, values in zip(parameters, before, strict=True):
            parameter.copy_(values)
        super().step()
        return loss


@animal
class SharpnessAware(BatchNorm):
    def configure_optimizers(self):
        return SAM(self.parameters(), lr=self.lr)


# ---------------------------------------------------------------- the trainer


@animal
class Annealed(Animal):
    """Reads the count of steps, which has gone on by the time that the step is run again."""

    def loss(self, inputs, targets):
        return super().loss(inputs, targets) * (1.0 + self.global_step + 0.1 * self.trainer.global_step)


@animal
class PreparedByAHook(Animal):
    """A hook that runs after those of callbacks sets and draws something."""

    def on_train_batch_start(self, batch, batch_idx):
        self.temperature = float(torch.rand(())) + batch_idx
        batch[0].add_(self.temperature)

    def loss(self, inputs, targets):
        return super().loss(inputs, targets) * self.temperature

    def memory(self):
        return self.temperature


@animal
class AfterTheStep(Animal):
    """Hooks change something between the step and the second run."""

    def build(self):
        self.register_buffer("weight", torch.ones(()))

    def on_before_zero_grad(self, optimizer):
        self.weight = self.weight * 0.9  # the backward pass needs the old one

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        torch.rand(3)
        self.weight.add_(0.5)

    def loss(self, inputs, targets):
        return super().loss(inputs, targets) * self.weight


@animal
class Accumulated(QueueInPlace):
    options: ClassVar[dict[str, Any]] = {"accumulate_grad_batches": 2}


@animal
class AccumulatedByThree(QueueInPlace):
    """By a number that losses are not divided by without rounding."""

    options: ClassVar[dict[str, Any]] = {"accumulate_grad_batches": 3}


@animal
class ReadOnlyArrays(Animal):
    def build(self):
        self.tables = [np.broadcast_to(np.float32(0.5), (4,)), np.frombuffer(b"abcd", dtype=np.uint8)]

    def loss(self, inputs, targets):
        return super().loss(inputs, targets) * float(self.tables[0][0])


@animal
class SparseRows(Animal):
    def build(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, that such tensors are in beta
            self.register_buffer("adjacent", torch.eye(4).to_sparse_csr())

    def loss(self, inputs, targets):
        return super().loss((self.adjacent @ inputs.T).T, targets)


@animal
class HalfPrecision(QueueRebound):
    options: ClassVar[dict[str, Any]] = {"precision": "bf16-mixed"}


@animal
class OwnLoss(TorchGenerator):
    """Optimises by hand, with a loss of its own to be run again."""

    def __init__(self, lr=0.05):
        super().__init__(lr)
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.loss(*batch))
        optimizer.step()

    def curriculum_loss(self, batch, batch_idx):
        return self.loss(*batch)


def of_the_other_package(lr: float = 0.05) -> Any:
    """Return a module of ``lightning.pytorch``."""
    import lightning.pytorch as other

    class Other(other.LightningModule):
        options: ClassVar[dict[str, Any]] = {}

        def __init__(self):
            super().__init__()
            self.network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))
            self.numbers = torch.Generator().manual_seed(1)
            self.memory = self.numbers.get_state

        def training_step(self, batch, batch_idx):
            inputs, targets = batch
            noise = torch.randn(inputs.shape, generator=self.numbers) * (1 + self.global_step)
            return mse_loss(self.network(inputs + noise), targets)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=lr)

    return Other()


def compiled_whole(lr: float = 0.05) -> Any:
    """Return a module that was compiled as a whole."""
    model = torch.compile(BatchNorm(lr), backend="eager")
    from pytorch_lightning.utilities.compile import from_compiled

    return from_compiled(model)


ZOO.update(OtherPackage=of_the_other_package, CompiledWhole=compiled_whole)
