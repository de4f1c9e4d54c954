"""Parameters sharded over processes (FSDP2): signals measure what they do on whole ones, or are refused."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import fully_shard

from curricula import CurriculumCallback, CurriculumLoader, signals
from curricula.bandits import Exp3S
from curricula.setups import check_strategy
from curricula.signals.base import Signal
from curricula.signals.tensors import inner_product, squared_norm
from tests.models import noisy_tasks, trainer
from tests.ranks import on_ranks

SIGNALS = (
    "FirstOrderPredictionGain",
    "PredictionGain",
    "GradientPredictionGain",
    "SelfPredictionGain",
    "TargetPredictionGain",
    "MeanPredictionGain",
    "L2Gain",
    "GradientL2Gain",
)
STEPS = 12


class Root(nn.Module):
    """Parameters of its own around parts that have theirs; odd sizes make the shards unequal."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.5, -0.5, 1.0]))
        self.first = nn.Linear(4, 7)
        self.second = nn.Linear(7, 3, bias=False)

    def forward(self, inputs):
        return (self.second(self.first(inputs).tanh()) * self.scale).sum(dim=1, keepdim=True)


class Model(pl.LightningModule):
    """A regression that can be trained under any strategy."""

    def __init__(self):
        super().__init__()
        self.network = Root()

    def configure_model(self):
        mesh = self.device_mesh
        if mesh is not None:
            fully_shard(self.network.first, mesh=mesh["data_parallel"])
            fully_shard(self.network, mesh=mesh["data_parallel"])

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        loss = (self.network(inputs) - targets).square().mean()
        return loss * float("nan") if batch_idx in self.bad and self.global_rank == 1 else loss

    bad = ()

    def on_before_optimizer_step(self, optimizer):
        for parameter in self.parameters():
            own = parameter.grad.to_local() if hasattr(parameter.grad, "to_local") else parameter.grad
            own.nan_to_num_()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def strategy_of(kind):
    if kind == "ddp":
        return DDPStrategy(process_group_backend="gloo")
    data, tensor = (1, 2) if kind == "tensor parallel" else (2, 1)
    return ModelParallelStrategy(
        data_parallel_size=data,
        tensor_parallel_size=tensor,
        process_group_backend="gloo",
        save_distributed_checkpoint=False,
    )


def train(folder, kind, bad=()):
    """Train under every signal and return what each measured, and what was trained."""
    warnings.filterwarnings("ignore")
    found = {}
    for name in SIGNALS:
        pl.seed_everything(0, verbose=False)
        callback = CurriculumCallback(
            Exp3S(eta=0.1, epsilon=0.2), getattr(signals, name)(), target="b" if name.startswith("Target") else None
        )
        fitter = trainer(callback, max_steps=STEPS, devices=2, strategy=strategy_of(kind))
        model = Model()
        model.bad = bad
        fitter.fit(model, CurriculumLoader(noisy_tasks(), batch_size=4, steps_per_epoch=5, seed=1))
        weights = [whole(parameter).tolist() for parameter in model.parameters()]
        found[name] = {
            "progress": callback.history.column("progress").tolist(),
            "arms": callback.history.column("arm").tolist(),
            "digest": callback.teacher.state_dict()["sha256"],
            "skipped": callback.teacher.skipped,
            "weights": weights,
            "sharded": any(hasattr(parameter, "placements") for parameter in model.parameters()),
        }
    return found


def whole(parameter):
    return parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter


def test_every_signal_measures_shards_as_it_does_whole_parameters(tmp_path):
    plain, sharded = on_ranks(train, tmp_path, (2, ["ddp"]), (2, ["fsdp2"]))
    for name in SIGNALS:
        ours, expected = sharded[0][name], plain[0][name]
        assert ours["sharded"]
        assert not expected["sharded"]
        assert np.std(expected["progress"]) > 0, name
        np.testing.assert_allclose(ours["progress"], expected["progress"], rtol=1e-3, atol=2e-6, err_msg=name)
        assert ours["arms"] == expected["arms"], name
        assert sharded[0][name]["digest"] == sharded[1][name]["digest"], name
        for one, other in zip(ours["weights"], expected["weights"], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_loss_that_is_not_finite_on_one_rank_leaves_none_waiting_for_its_shards(tmp_path):
    (ranks,) = on_ranks(train, tmp_path, (2, ["fsdp2", [3]]), timeout=120)
    for name in SIGNALS:
        first, second = (rank[name] for rank in ranks)
        assert sum(first["skipped"]) == 2, name
        assert np.isnan(first["progress"]).nonzero()[0].tolist() == [3, 8], name
        assert first["digest"] == second["digest"], name


class Copies(pl.LightningModule):
    """Two processes that share one model, and must be given the same samples."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.inputs = []

    def configure_model(self):
        fully_shard(self.layer, mesh=self.device_mesh["data_parallel"])

    def training_step(self, batch, batch_idx):
        self.inputs.append(batch[0].sum().item())
        return (self.layer(batch[0]) - batch[1]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def train_copies(folder):
    warnings.filterwarnings("ignore")
    pl.seed_everything(0, verbose=False)
    callback, model = CurriculumCallback(), Copies()
    fitter = trainer(callback, max_steps=6, devices=2, strategy=strategy_of("tensor parallel"))
    fitter.fit(model, CurriculumLoader(noisy_tasks(), batch_size=4, steps_per_epoch=6))
    return model.inputs


def test_ranks_of_one_tensor_parallel_group_are_given_the_same_samples(tmp_path):
    ((first, second),) = on_ranks(train_copies, tmp_path, (2, []))
    assert len(first) == 6
    assert first == second


def sums(folder):
    """Norms and products of tensors that are sharded, replicated and whole."""
    torch.distributed.init_process_group("gloo")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2,))
    numbers = torch.Generator().manual_seed(0)
    left = [torch.randn(5, 3, generator=numbers) for _ in range(3)]
    right = [torch.randn(5, 3, generator=numbers) for _ in range(3)]
    places = [[Shard(0)], [Shard(1)], [Replicate()]]

    def spread(tensors):
        made = [distribute_tensor(tensor, mesh, place) for tensor, place in zip(tensors, places, strict=True)]
        return [*made, torch.ones(2)]

    found = {
        "norm": squared_norm(spread(left)).item(),
        "exact norm": squared_norm(spread(left), exactly=True).item(),
        "product": inner_product(spread(left), spread(right)).item(),
    }
    partial = DTensor.from_local(left[0], mesh, [Partial()])
    try:
        squared_norm([partial])
    except ValueError as error:
        found["refused"] = str(error)
    found["expected"] = [
        sum(tensor.square().sum().item() for tensor in left) + 2.0,
        sum((a * b).sum().item() for a, b in zip(left, right, strict=True)) + 2.0,
    ]
    torch.distributed.destroy_process_group()
    return found


def test_sums_over_shards_are_those_of_the_whole_tensors(tmp_path):
    (ranks,) = on_ranks(sums, tmp_path, (2, []))
    for found in ranks:
        norm, product = found["expected"]
        assert found["norm"] == pytest.approx(norm, rel=1e-5)
        assert found["exact norm"] == pytest.approx(norm, rel=1e-5)
        assert found["product"] == pytest.approx(product, rel=1e-4)
        assert "still to be added up over processes" in found["refused"]


class Loss(Signal):
    """The loss alone."""

    needs_loss = True

    def after_step(self, step):
        return step.loss


class Fake:
    """A trainer of which only the strategy is looked at."""

    def __init__(self, strategy, world_size=2):
        self.strategy = strategy
        self.world_size = world_size


def without_start(kind):
    return object.__new__(kind)  # what is made for accelerators cannot be started here


@pytest.mark.parametrize("kind", [FSDPStrategy, DeepSpeedStrategy])
@pytest.mark.parametrize("signal", [*SIGNALS, "UnbiasedGradientPredictionGain", "VariationalComplexityGain"])
def test_strategies_that_keep_gradients_to_themselves_are_refused(kind, signal):
    with pytest.raises(
        MisconfigurationException, match=rf"{signal} looks at .* {kind.__name__} keeps these in pieces .*fully_shard"
    ):
        check_strategy(Fake(without_start(kind), world_size=1), getattr(signals, signal)())


@pytest.mark.parametrize("kind", [FSDPStrategy, DeepSpeedStrategy, DDPStrategy, ModelParallelStrategy])
def test_a_signal_of_the_training_loss_alone_may_be_used_under_any_of_them(kind):
    check_strategy(Fake(without_start(kind)), Loss())


@pytest.mark.parametrize("signal", ["VariationalComplexityGain", "GradientVariationalComplexityGain"])
def test_gaussian_weights_are_not_sharded(signal):
    with pytest.raises(MisconfigurationException, match=f"{signal} needs whole parameters, and ModelParallelStrategy"):
        check_strategy(Fake(without_start(ModelParallelStrategy)), getattr(signals, signal)())


def test_a_strategy_that_nobody_has_tried_is_refused_with_several_processes_only():
    class Own:
        pass

    check_strategy(Fake(Own(), world_size=1), Loss())
    with pytest.raises(MisconfigurationException, match="under DDPStrategy and ModelParallelStrategy, got Own with 2"):
        check_strategy(Fake(Own()), Loss())


def test_the_check_is_made_when_training_starts(monkeypatch):
    monkeypatch.setattr("curricula.setups.is_strategy", lambda trainer, *names: "FSDPStrategy" in names)
    assert "WORLD_SIZE" not in os.environ
    with pytest.raises(MisconfigurationException, match="keeps these in pieces"):
        trainer(CurriculumCallback(), max_steps=1).fit(
            Model(), CurriculumLoader(noisy_tasks(), batch_size=4, steps_per_epoch=1)
        )
