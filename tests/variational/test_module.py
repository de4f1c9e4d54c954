"""Any module gets Gaussian weights without being rewritten."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import FixedPolicy
from curricula.signals import PredictionGain
from curricula.variational import Variational, variational_modules
from tests.models import noisy_tasks, trainer
from tests.variational.models import STEPS, VariationalNoisy, progress


class Attention(nn.MultiheadAttention):
    def forward(self, inputs):
        return super().forward(inputs, inputs, inputs, need_weights=False)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.readout = nn.Linear(3, 5, bias=False)
        self.readout.weight = self.embedding.weight

    def forward(self, tokens):
        return self.readout(self.embedding(tokens))


def convolutional():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))


KINDS = {
    "linear": (lambda: nn.Linear(4, 3), (2, 4)),
    "lstm": (lambda: nn.LSTM(4, 5, num_layers=2, batch_first=True), (2, 6, 4)),
    "bidirectional gru": (lambda: nn.GRU(4, 5, bidirectional=True), (6, 2, 4)),
    "convolutions": (convolutional, (4, 1, 6, 6)),
    "attention": (lambda: Attention(8, 2, batch_first=True), (2, 5, 8)),
    "transformer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), (2, 5, 8)),
    "transformers": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), 2),
        (2, 5, 8),
    ),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), (2, 4)),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind, dtype=torch.float64, **options):
    """A module, its variational form made of a copy, and inputs."""
    torch.manual_seed(0)
    build, shape = KINDS[kind]
    plain = build().to(dtype)
    return plain, Variational(copy.deepcopy(plain), samples=100, **options), torch.randn(shape, dtype=dtype)


def output(module, inputs):
    outputs = module(inputs)
    return outputs[0] if isinstance(outputs, tuple) else outputs


# ---------------------------------------------------------------- the forward pass


@every_kind
def test_without_deviation_the_forward_pass_is_that_of_the_module(kind):
    plain, network, inputs = make(kind, sigma=1e-13)
    torch.testing.assert_close(output(network, inputs), output(plain, inputs), rtol=1e-8, atol=1e-8)


@every_kind
@pytest.mark.parametrize("gradients", [True, False], ids=["gradients", "no gradients"])
def test_in_evaluation_the_forward_pass_is_that_of_the_means(kind, gradients):
    plain, network, inputs = make(kind, sigma=0.5)
    network(inputs)  # which leaves nothing behind
    if kind == "convolutions":
        plain(inputs)  # the running statistics of BatchNorm
        plain[1].load_state_dict(network.module[1].state_dict())
    plain.eval()
    network.eval()
    with torch.set_grad_enabled(gradients):
        assert torch.equal(output(network, inputs), output(plain, inputs))


@every_kind
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("gradients", [True, False], ids=["gradients", "no gradients"])
def test_the_forward_pass_is_that_of_a_module_with_the_sampled_weights(kind, training, gradients):
    plain, network, inputs = make(kind, sigma=0.5)
    plain.train(training)
    network.train(training)
    torch.manual_seed(5)
    plain.load_state_dict(network.sample(), strict=False)
    torch.manual_seed(5)
    with torch.set_grad_enabled(gradients), network.one_sample():
        sampled = output(network, inputs)
    torch.testing.assert_close(sampled, output(plain, inputs))
    assert (sampled - output(network.module, inputs)).abs().max() > 1e-2, "far from what the means give"


@every_kind
def test_gradients_reach_every_mean_and_rho(kind):
    _, network, inputs = make(kind, sigma=0.1)
    network.loss(output(network, inputs).square().mean()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert all(rho.grad.abs().sum() > 0 for rho in network.rho)


def test_every_call_draws_anew_from_the_global_stream():
    _, network, inputs = make("lstm", sigma=0.1)
    torch.manual_seed(1)
    first, second = output(network, inputs), output(network, inputs)
    torch.manual_seed(1)
    assert torch.equal(output(network, inputs), first)
    assert not torch.equal(first, second)


def test_one_sample_is_shared_by_all_calls_within():
    _, network, inputs = make("lstm", sigma=0.1)
    with network.one_sample():
        first = output(network, inputs)
        with network.one_sample():
            inner = output(network, inputs)
        assert torch.equal(output(network, inputs), first)
    assert not torch.equal(inner, first)
    assert not torch.equal(output(network, inputs), first)


def test_batch_norm_keeps_numbers_and_counts_batches():
    _, network, inputs = make("convolutions", sigma=0.1)
    assert network.names == ("0.weight", "0.bias", "4.weight", "4.bias")
    network(inputs)
    assert int(network.module[1].num_batches_tracked) == 1
    everywhere = Variational(convolutional(), samples=100, deterministic=())
    assert {"1.weight", "1.bias"} <= set(everywhere.names)


def test_frozen_parameters_stay_numbers():
    plain = nn.Linear(4, 3)
    plain.bias.requires_grad_(False)
    network = Variational(plain, samples=10)
    assert network.names == ("weight",)
    assert set(network.sample()) == {"weight"}


def test_a_shared_weight_is_one_weight():
    network = Variational(Tied(), samples=10, sigma=0.5)
    assert network.names == ("embedding.weight",)
    tokens = torch.arange(5)
    torch.manual_seed(0)
    weight = network.sample()["embedding.weight"]
    torch.manual_seed(0)
    torch.testing.assert_close(network(tokens), weight @ weight.T)


@pytest.mark.parametrize("kind", ["linear", "lstm", "transformer", "convolutions"])
def test_it_works_under_autocast(kind):
    _, network, inputs = make(kind, torch.float32, sigma=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = output(network, inputs)
        loss = network.loss(outputs.square().mean())
    loss.backward()
    assert loss.isfinite()
    assert network.kl().dtype == torch.float64
    for parameter in network.parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


# ---------------------------------------------------------------- the divergence and the loss


@pytest.mark.parametrize("prior_per_tensor", [False, True])
def test_the_divergence_is_that_of_all_weights_from_their_prior(prior_per_tensor):
    _, network, _ = make("lstm", sigma=0.1, prior_per_tensor=prior_per_tensor)
    with torch.no_grad():
        network.prior_mean += 0.1 * torch.arange(1, 1 + len(network.prior_mean))
    by_hand = 0.0
    for index, (mean, rho) in enumerate(zip(network.module.parameters(), network.rho, strict=True)):
        at = index if prior_per_tensor else 0
        m, s = network.prior_mean[at], torch.log1p(network.prior_rho[at].exp())
        sigma = torch.log1p(rho.exp())
        by_hand += (((mean - m) ** 2 + sigma**2 - s**2) / (2 * s**2) + (s / sigma).log()).sum()
    assert len(network.prior_mean) == (len(network.names) if prior_per_tensor else 1)
    assert network.kl().shape == ()
    assert network.kl().item() == pytest.approx(by_hand.item(), rel=1e-12)


@pytest.mark.parametrize("prior_per_tensor", [False, True])
def test_the_gradients_of_the_divergence_are_those_of_autograd(prior_per_tensor):
    _, network, _ = make("linear", sigma=0.1, prior_per_tensor=prior_per_tensor)
    with torch.no_grad():
        network.prior_mean += 0.1
    network.kl().backward()
    closed = network.kl_gradients()
    for gradients, mean, rho in zip(closed, network.module.parameters(), network.rho, strict=True):
        torch.testing.assert_close(gradients.mean, mean.grad, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(gradients.rho, rho.grad, rtol=1e-10, atol=1e-12)
    by_prior = torch.stack([gradients.prior_mean for gradients in closed])
    expected = network.prior_mean.grad
    torch.testing.assert_close(by_prior if prior_per_tensor else by_prior.sum().reshape(1), expected)


def test_the_prior_starts_where_its_gradient_is_zero():
    _, network, _ = make("transformer", sigma=0.1)
    network.kl().backward()
    assert float(network.prior_mean.grad) == pytest.approx(0.0, abs=1e-9)
    assert float(network.prior_rho.grad) == pytest.approx(0.0, abs=1e-9)


def test_the_loss_adds_the_divergence_per_training_sample():
    _, network, _ = make("linear", torch.float32)
    loss = network.loss(torch.tensor(2.0))
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    assert loss.item() == pytest.approx(2 + network.kl().item() / 100)


@pytest.mark.parametrize("kind", ["linear", "lstm", "transformer"])
def test_parameters_are_means_and_rho_and_the_prior(kind):
    plain, network, _ = make(kind, sigma=0.1)
    shapes = [tuple(parameter.shape) for parameter in network.rho]
    assert shapes == [tuple(dict(plain.named_parameters())[name].shape) for name in network.names]
    own = {*(f"module.{name}" for name, _ in plain.named_parameters()), *(f"rho.{i}" for i in range(len(shapes)))}
    assert {name for name, _ in network.named_parameters()} == own | {"prior_mean", "prior_rho"}
    assert torch.nn.functional.softplus(network.rho[0]).mean().item() == pytest.approx(0.1)


# ---------------------------------------------------------------- state and copies


@every_kind
def test_a_saved_network_is_the_same_network(kind):
    _, network, inputs = make(kind, sigma=0.1)
    _, other, _ = make(kind, sigma=0.3)
    network(inputs)
    with torch.no_grad():
        network.prior_rho += 1.0
    other.load_state_dict(network.state_dict())
    assert other.kl().item() == network.kl().item()
    torch.manual_seed(4)
    expected = output(network, inputs)
    torch.manual_seed(4)
    assert torch.equal(output(other, inputs), expected)


@every_kind
def test_a_used_network_can_be_copied(kind):
    _, network, inputs = make(kind, sigma=0.1)
    output(network, inputs).sum().backward()
    check_copy(network, copy.deepcopy(network), inputs)


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_a_used_network_can_be_pickled(kind):
    _, network, inputs = make(kind, sigma=0.1)
    output(network, inputs).sum().backward()
    check_copy(network, pickle.loads(pickle.dumps(network)), inputs)


def check_copy(network, duplicate, inputs):
    torch.manual_seed(4)
    expected = output(network, inputs)
    torch.manual_seed(4)
    assert torch.equal(output(duplicate, inputs), expected)
    shared = {id(parameter) for parameter in network.parameters()}
    assert not shared & {id(parameter) for parameter in duplicate.parameters()}


# ---------------------------------------------------------------- in a trainer


class Sequences(pl.LightningModule):
    """An LSTM with dropout that is called twice in a step."""

    def __init__(self, lr=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.network = Variational(nn.LSTM(1, 8, num_layers=2, dropout=0.5, batch_first=True), samples=100, sigma=0.2)
        self.readout = Variational(nn.Linear(8, 1), samples=100, sigma=0.2)
        self.lr = lr

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        with self.network.one_sample():
            _, state = self.network(inputs[:, :2, None])
            hidden, _ = self.network(inputs[:, 2:, None], state)
        loss = (self.readout(hidden[:, -1]) - targets).square().mean()
        return self.readout.loss(self.network.loss(loss))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed"])
@pytest.mark.parametrize("kind", [Sequences, VariationalNoisy])
def test_losses_before_and_after_a_step_of_nothing_are_equal(kind, precision):
    gain = progress(kind(lr=0.0), PredictionGain(), precision=precision)
    assert gain.tolist() == [0.0] * STEPS, "the same noise in both"
    assert progress(kind(lr=1e-2), PredictionGain(), precision=precision).abs().min() > 0


def test_training_lowers_the_loss():
    class Regression(pl.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.network = Variational(
                nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1)), samples=2000, sigma=0.05
            )

        def expected_loss(self, batch):
            inputs, targets = batch
            return (self.network(inputs) - targets).square().mean() / (2 * 0.1**2)

        def training_step(self, batch, batch_idx):
            return self.network.loss(self.expected_loss(batch))

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.02)

    inputs = torch.linspace(-1, 1, 64)[:, None]
    data = inputs, torch.sin(3 * inputs)
    model = Regression()
    before = (model.expected_loss(data) + model.network.kl() / 2000).item()
    dataset = torch.utils.data.TensorDataset(*data)
    loader = CurriculumLoader({"sine": dataset}, batch_size=16, steps_per_epoch=300)
    callback = CurriculumCallback(FixedPolicy.uniform())
    torch.manual_seed(0)
    trainer(callback, max_epochs=1).fit(model, loader)
    after = (model.expected_loss(data) + model.network.kl() / 2000).item()
    assert before > 10
    assert after < before / 10
    assert all(rho.isfinite().all() for rho in model.network.rho)


def test_a_trainer_with_noisy_tasks_runs_on_it():
    loader = CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=5)
    model = VariationalNoisy()
    kl = model.network.kl().item()
    trainer(CurriculumCallback(), max_epochs=1).fit(model, loader)
    assert model.network.kl().item() != kl


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("options", [{"samples": 0}, {"samples": math.inf}, {"samples": 10, "sigma": -0.1}], ids=str)
def test_numbers_must_be_above_zero(options):
    with pytest.raises(ValueError, match="must be a finite number above 0"):
        Variational(nn.Linear(1, 1), **options)


def test_a_lightning_module_is_refused():
    with pytest.raises(TypeError, match=r"self\.network = Variational"):
        Variational(VariationalNoisy(), samples=10)


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match="takes a module"):
        Variational(nn.Linear, samples=10)


def test_a_variational_module_is_refused():
    with pytest.raises(ValueError, match="variational already"):
        Variational(nn.Sequential(Variational(nn.Linear(1, 1), samples=10)), samples=10)


def test_a_module_without_weights_is_refused():
    with pytest.raises(ValueError, match="no parameter to make Gaussian"):
        Variational(nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()), samples=10)


def test_a_lazy_module_is_refused():
    with pytest.raises(ValueError, match="have no shape yet"):
        Variational(nn.LazyLinear(3), samples=10)


def test_sparse_gradients_are_refused_where_weights_are_gaussian():
    def module():
        return nn.Sequential(nn.Embedding(10, 3, sparse=True), nn.Linear(3, 1))

    with pytest.raises(ValueError, match="make it with sparse=False"):
        Variational(module(), samples=10)
    network = Variational(module(), samples=10, deterministic=(nn.Embedding,))
    network.loss(network(torch.tensor([1, 2])).sum()).backward()
    assert network.names == ("1.weight", "1.bias")


def test_variational_parts_are_found_wherever_they_are():
    assert len(variational_modules(Sequences())) == 2
    assert variational_modules(nn.Linear(1, 1)) == []
