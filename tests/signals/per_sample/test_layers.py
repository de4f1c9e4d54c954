"""Every kind of layer, in many shapes, against ``vmap(grad)`` in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.signals.per_sample.reference import assert_agrees, changes_of, check, close, gradients, measured

few = settings(max_examples=12, deadline=None, derandomize=True)
small = st.integers(1, 4)


@few
@given(samples=small, leading=st.lists(small, max_size=2), columns=small, rows=small, bias=st.booleans())
def test_linear_layers_sum_over_all_axes_between_samples_and_features(samples, leading, columns, rows, bias):
    torch.manual_seed(0)
    check(nn.Linear(columns, rows, bias=bias), torch.randn(samples, *leading, columns))


@st.composite
def convolutions(draw):
    axes, groups = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    modes = ["zeros", "circular", "reflect", "replicate"]
    padding = draw(st.one_of(st.integers(0, 1), st.just("same")))
    cls = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    layer = cls(
        groups * draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 2)),
        tuple(draw(st.lists(st.integers(1, 3), min_size=axes, max_size=axes))),
        stride=1 if padding == "same" else draw(st.integers(1, 2)),
        padding=padding,
        dilation=draw(st.integers(1, 2)),
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(modes)),
    )
    return layer, torch.randn(draw(small), layer.in_channels, *[5, 6, 5][:axes])


@settings(few, max_examples=25)
@given(convolutions())
def test_convolutions_of_any_shape(case):
    check(*case)


def test_depthwise_convolution():
    torch.manual_seed(0)
    check(nn.Conv2d(4, 8, 3, padding=1, groups=4), torch.randn(3, 4, 5, 5))


@few
@given(samples=small, leading=st.lists(small, max_size=2), padding=st.sampled_from([None, 0, 2]), sparse=st.booleans())
def test_embeddings_with_repeated_rows_and_padding(samples, leading, padding, sparse):
    torch.manual_seed(0)
    indices = torch.randint(5, (samples, *leading))
    if indices.dim() == 1 and torch.equal(indices, torch.arange(samples)):
        indices += 1
    layer = nn.Embedding(6, 3, padding_idx=padding, sparse=sparse).double()
    per_sample = measured(layer, indices)
    reference = nn.Embedding(6, 3, padding_idx=padding).double()  # vmap knows no sparse gradients
    reference.load_state_dict(layer.state_dict())
    assert_agrees(per_sample, gradients(reference, indices), changes_of(layer))


NORMS = [
    (nn.LayerNorm(4), (3, 2, 4)),
    (nn.LayerNorm((2, 4), bias=False), (3, 5, 2, 4)),
    (nn.RMSNorm(4), (4, 4)),
    (nn.RMSNorm((2, 4), eps=1e-3), (3, 2, 4)),
    (nn.GroupNorm(2, 4), (3, 4, 5, 2)),
    (nn.BatchNorm1d(4).eval(), (3, 4)),
    (nn.BatchNorm1d(4).eval(), (3, 4, 5)),
    (nn.BatchNorm2d(4).eval(), (4, 4, 2, 3)),
    (nn.BatchNorm3d(2).eval(), (3, 2, 2, 2, 3)),
]


@pytest.mark.parametrize(("layer", "shape"), NORMS, ids=lambda value: str(value).replace(" ", ""))
def test_normalisation_layers(layer, shape):
    torch.manual_seed(0)
    if hasattr(layer, "running_mean"):
        layer.running_mean.normal_()
        layer.running_var.uniform_(0.5, 2.0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    check(layer, torch.randn(shape))


class Twice(nn.Module):
    """A layer that is called twice in one forward pass, at different lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, inputs):
        hidden = self.layer(inputs).tanh()
        return self.layer(torch.cat([hidden, inputs], 1))


def test_a_layer_that_is_called_several_times_adds_up():
    torch.manual_seed(0)
    check(Twice(), torch.randn(4, 2, 3))


class Tied(nn.Module):
    """A language model whose read-out has the weight of the embedding."""

    def __init__(self, vocabulary: int = 7, padding: int | None = None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 4, padding_idx=padding)
        self.hidden = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
        self.readout = nn.Linear(4, vocabulary)
        self.readout.weight = self.embedding.weight

    def forward(self, tokens):
        return self.readout(self.hidden(self.embedding(tokens)))


@pytest.mark.parametrize("padding", [None, 2])
@pytest.mark.parametrize("many", [2**22, 40])
def test_an_embedding_tied_to_the_read_out_adds_up_over_both(padding, many, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr("curricula.signals.per_sample.terms.MANY", many)
    check(Tied(padding=padding), torch.randint(7, (4, 5)))


class Mixed(nn.Module):
    """Convolutions with shared weights, in-place activations, a functional part, a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.third = nn.Conv2d(4, 4, 3, padding=1)
        self.third.weight = self.second.weight
        self.norm = nn.GroupNorm(2, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.half_frozen = nn.Linear(4, 4)
        self.half_frozen.weight.requires_grad_(False)
        self.head = nn.Linear(4, 2, bias=False)

    def forward(self, images):
        hidden = torch.relu_(self.first(images))
        hidden = torch.relu_(self.third(self.norm(self.second(hidden))))
        hidden = self.half_frozen(torch.relu_(self.frozen(hidden.mean((2, 3)))))
        return self.head(torch.relu_(hidden))


def test_a_whole_network_with_frozen_and_shared_weights_and_activations_in_place():
    torch.manual_seed(0)
    module = Mixed()
    check(module, torch.randn(4, 1, 6, 6))
    per_sample = measured(module, torch.randn(4, 1, 6, 6).double())
    coverage = per_sample.coverage()
    assert coverage.share == 1.0
    assert not any(name.startswith("frozen") for name in coverage.covered)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("length", [3, 6])
def test_a_transformer_of_torch_is_covered_but_for_its_attention(batch_first, length):
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=batch_first).double()

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder
            self.head = nn.Linear(8, 2).double()

        def forward(self, inputs):
            hidden = self.encoder(inputs if batch_first else inputs.transpose(0, 1))
            return self.head(hidden if batch_first else hidden.transpose(0, 1))

    model = Model()
    inputs = torch.randn(4, length, 8).double()
    per_sample = measured(model, inputs)
    assert_agrees(per_sample, gradients(model, inputs), changes_of(model))
    uncovered = per_sample.coverage().uncovered
    assert set(uncovered) == {name for name, _ in model.named_parameters() if "self_attn" in name}
    assert all("MultiheadAttention computes with its parameters itself" in reason for reason in uncovered.values())


def test_hooks_of_the_users_own_count_for_what_they_do():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    module[0].register_forward_hook(lambda layer, args, output: 2 * output)
    module[1].register_forward_pre_hook(lambda layer, args: (args[0] + 1,))
    check(module, torch.randn(4, 3))


def test_a_gradient_that_is_changed_on_its_way_counts_as_it_arrives():
    torch.manual_seed(0)
    layer = nn.Linear(3, 2).double()
    inputs = torch.randn(4, 3).double()

    def losses(output):
        if output.requires_grad and not torch._C._functorch.is_functorch_wrapped_tensor(output):
            output.register_hook(lambda gradient: 3 * gradient)
        return output.square().sum(1)

    expected = gradients(layer, inputs, losses)
    per_sample = measured(layer, inputs, losses)
    close(per_sample.squared_norms(), 9 * sum(g.flatten(1).square().sum(1) for g in expected.values()), 1e-10)
