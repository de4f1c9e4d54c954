"""What is not covered is named, with the reason, and never measured wrongly."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from curricula.signals.per_sample import PerSampleGradients
from tests.signals.per_sample.reference import assert_agrees, changes_of, gradients, mean_of_squares, measured


class Around(nn.Module):
    """A layer between two linear ones."""

    def __init__(self, inner, after=lambda hidden: hidden) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.inner = inner
        self.last = nn.Linear(4, 2)
        self.after = after

    def forward(self, inputs):
        return self.last(self.after(self.inner(self.first(inputs))))


class OwnLinear(nn.Linear):
    def forward(self, inputs):
        return 2 * super().forward(inputs)


class Flipped(nn.Module):
    """Adds a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(4))

    def forward(self, inputs):
        return inputs + self.shift


def uncovered_of(module, inputs):
    """Check what is covered, and return reasons by parameter."""
    module = module.double()
    per_sample = measured(module, inputs.double())
    assert_agrees(per_sample, gradients(module, inputs.double()), changes_of(module))
    return per_sample.coverage().uncovered


@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        (OwnLinear(4, 4), "OwnLinear has a forward of its own"),
        (Flipped(), "Flipped is none of the covered layers"),
        (nn.PReLU(), "PReLU is none of the covered layers"),
        (nn.InstanceNorm1d(3, affine=True), "InstanceNorm1d is none"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_layers_of_other_kinds_are_named(inner, reason):
    uncovered = uncovered_of(Around(inner), torch.randn(4, 3, 4))
    assert uncovered
    for name, text in uncovered.items():
        assert name.startswith("inner.")
        assert reason in text


def test_an_lstm_is_named_and_its_read_out_covered():
    lstm = nn.LSTM(4, 4, batch_first=True)
    module = Around(lstm, after=lambda outputs: outputs[0])
    inputs = torch.randn(4, 3, 4)
    per_sample = measured(module, inputs)
    coverage = per_sample.coverage()
    assert set(coverage.uncovered) == {f"inner.{name}" for name, _ in lstm.named_parameters()}
    assert all(
        reason.startswith("LSTM is none of the covered layers (Linear, ") for reason in coverage.uncovered.values()
    )
    assert set(coverage.covered) == {"first.weight", "first.bias", "last.weight", "last.bias"}
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    assert coverage.share == sum(sizes[name] for name in coverage.covered) / sum(sizes.values())


def test_weights_that_are_computed_from_others_are_named():
    uncovered = uncovered_of(Around(parametrizations.weight_norm(nn.Linear(4, 4))), torch.randn(3, 4))
    assert set(uncovered) == {"inner.parametrizations.weight.original0", "inner.parametrizations.weight.original1"}
    with pytest.warns(FutureWarning):
        old = nn.utils.weight_norm(nn.Linear(4, 4))
    assert set(uncovered_of(Around(old), torch.randn(3, 4))) == {"inner.weight_g", "inner.weight_v"}


@pytest.mark.parametrize(
    ("embedding", "reason"),
    [
        (nn.Embedding(5, 4, scale_grad_by_freq=True), "the gradient of a sample depends on the others"),
        (nn.Embedding(5, 4, max_norm=1.0), "its forward pass changes the weight"),
    ],
)
def test_options_of_embeddings_that_are_not_covered(embedding, reason):
    module = nn.Sequential(embedding, nn.Linear(4, 2))
    coverage = measured(module, torch.randint(5, (3, 2))).coverage()
    assert coverage.covered == ("1.weight", "1.bias")
    assert reason in coverage.uncovered["0.weight"]


def test_batch_normalisation_by_the_batch_leaves_only_the_layers_after_it():
    torch.manual_seed(0)
    module = Around(nn.BatchNorm1d(4))
    coverage = measured(module, torch.randn(4, 4)).coverage()
    assert coverage.covered == ("last.weight", "last.bias")
    assert "statistics of the batch" in coverage.uncovered["inner.weight"]
    assert "'inner', called later, normalises by the statistics of the batch" in coverage.uncovered["first.weight"]
    module.inner.requires_grad_(False)
    assert measured(module, torch.randn(4, 4)).coverage().covered == ("last.weight", "last.bias")
    module.inner.eval()
    assert measured(module, torch.randn(4, 4)).coverage().share == 1.0


def test_rows_that_are_not_samples_are_refused():
    folded = nn.Sequential(nn.Linear(4, 4), nn.Flatten(0, 1), nn.Linear(4, 2), nn.Unflatten(0, (-1, 5)))
    uncovered = uncovered_of(folded, torch.randn(3, 5, 4))
    assert set(uncovered) == {"2.weight", "2.bias"}
    assert (
        "layer '2' was called with (15, 4), where axis 0 should have the 3 samples of the batch"
        in uncovered["2.weight"]
    )


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Embedding(9, 4)
        self.position = nn.Embedding(9, 4)
        self.project = nn.Linear(4, 4)

    def forward(self, tokens):
        return self.token(tokens) + self.project(self.position(torch.arange(tokens.shape[1])))


@pytest.mark.parametrize("length", [3, 4])
def test_positions_are_no_samples_even_where_there_are_as_many(length):
    torch.manual_seed(0)
    module = Positions()
    coverage = measured(module, torch.randint(9, (4, length)), exclude=["project"]).coverage()
    assert coverage.covered == ("token.weight",)
    assert "layer 'position' was called with" in coverage.uncovered["position.weight"]
    assert coverage.uncovered["project.weight"] == "is excluded"


def test_a_layer_that_was_called_without_samples_once_stays_refused():
    module = Positions()
    per_sample = PerSampleGradients(module)
    for length in (3, 4):  # with four samples: four positions are no samples either
        per_sample.clear()
        with per_sample.watch(batch_size=4):
            mean_of_squares(module(torch.randint(9, (4, length)))).mean().backward()
        assert "project.weight" in per_sample.coverage().uncovered


def test_time_before_samples_is_told_by_its_size_or_refused():
    module = nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 4))
    per_sample = PerSampleGradients(module)

    def share(length):
        per_sample.clear()
        with per_sample.watch(batch_size=4):
            module(torch.randn(length, 4, 4))[0].square().mean().backward()
        return per_sample.coverage()

    assert "either of the first two axes may be theirs" in share(4).uncovered["0.weight"]
    assert "0.weight" in share(5).covered
    assert "0.weight" in share(4).covered


class Functional(nn.Module):
    """Uses weights past the calls of their layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.layer = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)
        self.head = nn.Linear(5, 2)

    def forward(self, tokens):
        hidden = self.layer(self.embedding(tokens))
        hidden = functional.linear(hidden, self.unused.weight)
        return self.head(functional.linear(hidden, self.embedding.weight))


def test_weights_that_are_used_past_their_layers_are_found_out():
    torch.manual_seed(0)
    module = Functional().double()
    tokens = torch.randint(5, (4, 3))
    per_sample = measured(module, tokens)
    coverage = per_sample.coverage()
    assert set(coverage.uncovered) == {"embedding.weight", "unused.weight"}
    assert all("used in another way as well" in reason for reason in coverage.uncovered.values())
    assert_agrees(per_sample, gradients(module, tokens), changes_of(module) | {"unused.bias": torch.zeros(4).double()})


def test_a_gradient_penalty_is_found_out():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
    per_sample = PerSampleGradients(module)
    inputs = torch.randn(4, 3, requires_grad=True)
    with per_sample.watch(4):
        output = module(inputs)
        (slope,) = torch.autograd.grad(output.sum(), inputs, create_graph=True)
        (output.square().mean() + slope.square().sum()).backward()
    assert "differentiated with create_graph=True" in per_sample.coverage().uncovered["0.weight"]
    assert "2.weight" in per_sample.coverage().uncovered


def test_a_use_past_the_layer_that_begins_later_is_found_out_in_time(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr("curricula.signals.per_sample.gradients.VERIFY_EVERY", 3)
    layer = nn.Linear(3, 3)
    per_sample = PerSampleGradients(layer)
    shares = []
    for step in range(5):
        per_sample.clear()
        with per_sample.watch(4):
            hidden = layer(torch.randn(4, 3))
            (functional.linear(hidden, layer.weight) if step else hidden).square().mean().backward()
        shares.append(per_sample.coverage().covered)
    assert shares == [("weight", "bias")] * 3 + [("bias",)] * 2


def test_fast_weights_are_not_the_weights():
    layer = nn.Linear(3, 3, bias=False)
    per_sample = PerSampleGradients(layer)
    inputs = torch.randn(4, 3)
    with per_sample.watch(4):
        weights = {"weight": 2 * layer.weight}
        (layer(inputs) + torch.func.functional_call(layer, weights, (inputs,))).square().mean().backward()
    assert "used in another way as well" in per_sample.coverage().uncovered["weight"]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda layer, inputs: torch.func.vmap(layer)(inputs), "used in another way as well"),
        (lambda layer, inputs: torch.func.grad(lambda x: layer(x).square().sum())(inputs), "a transform of torch.func"),
    ],
)
def test_calls_within_transforms_are_refused(call, reason):
    layer = nn.Linear(3, 2)
    per_sample = PerSampleGradients(layer)
    with per_sample.watch(4):
        call(layer, torch.randn(4, 3)).square().mean().backward()
    assert reason in per_sample.coverage().uncovered["weight"]
    assert per_sample.inner_products({"bias": torch.ones(2)}).shape == (4,)


@pytest.mark.filterwarnings("ignore")
def test_compiled_parts_are_named_and_those_that_cannot_be_seen_found_out():
    torch._dynamo.reset()
    inputs = torch.randn(4, 4)
    part = Around(torch.compile(nn.Linear(4, 4), backend="eager"))
    coverage = measured(part, inputs).coverage()
    assert set(coverage.uncovered) == {"inner._orig_mod.weight", "inner._orig_mod.bias"}
    assert "compiled" in coverage.uncovered["inner._orig_mod.weight"]
    mixing = Around(torch.compile(nn.BatchNorm1d(4), backend="eager"))
    assert measured(mixing, inputs).coverage().share == 0.0
    module = Around(nn.Identity())
    whole = torch.compile(module, backend="eager", fullgraph=True)  # the hooks leave no trace in the graph
    per_sample = PerSampleGradients(module)
    with per_sample.watch(4):
        whole(inputs).square().mean().backward()
    assert per_sample.coverage().covered == ()
    assert per_sample.inner_products({}).tolist() == [0.0] * 4


def test_shared_by_layers_that_do_not_go_together():
    module = nn.Sequential(nn.LayerNorm((4, 4)), nn.Linear(4, 4))
    module[0].weight = module[1].weight
    assert measured(module, torch.randn(3, 4, 4)).coverage().uncovered == {
        "0.weight": "is shared by layers of different kinds"
    }


def test_before_the_first_pass_it_says_what_can_be_told():
    coverage = PerSampleGradients(nn.Sequential(nn.Linear(2, 2), nn.LSTM(2, 2))).coverage()
    assert coverage.covered == ("0.weight", "0.bias")
    assert PerSampleGradients(nn.Identity()).coverage().share == 1.0


def test_mistakes_are_told():
    layer = nn.Linear(3, 2)
    per_sample = PerSampleGradients(layer)
    with pytest.raises(ValueError, match=r"exclude has \['x'\], which are no modules"):
        PerSampleGradients(layer, exclude=["x"])
    with pytest.raises(ValueError, match="layer '' has no shape yet: run a batch"):
        PerSampleGradients(nn.LazyLinear(2))
    with pytest.raises(ValueError, match="batch_size is 0"):
        per_sample.start(0)
    with pytest.raises(ValueError, match="loss_scale is 0"):
        per_sample.start(2, loss_scale=0)
    with pytest.raises(RuntimeError, match="nothing was noted"):
        per_sample.gram()
    per_sample.start(4)
    with pytest.raises(RuntimeError, match="started twice"):
        per_sample.start(4)
    with pytest.raises(RuntimeError, match="not stopped yet"):
        per_sample.gram()
    layer(torch.randn(4, 3)).square().mean().backward()
    per_sample.stop()
    with pytest.raises(ValueError, match="slots is 3: give a divisor of the batch size, 4"):
        per_sample.gram(3)
    zero = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"changes lacks \['bias'\]"):
        per_sample.inner_products({"weight": zero})
    with pytest.raises(ValueError, match=r"changes has \['b'\]"):
        per_sample.inner_products({"weight": zero, "bias": zero[:, 0], "b": zero})
    with pytest.raises(ValueError, match=r"the change of 'weight' has shape \(3, 2\), not \(2, 3\)"):
        per_sample.inner_products({"weight": zero.T, "bias": zero[:, 0]})


def test_an_input_that_was_changed_in_place_is_told():
    layer = nn.Linear(3, 2)
    inputs = torch.randn(4, 3)
    per_sample = measured(layer, inputs)
    inputs.add_(1)
    with pytest.raises(RuntimeError, match="the input of layer '' was changed in place"):
        per_sample.squared_norms()
