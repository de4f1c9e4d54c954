"""Bugs that the comparison with ``vmap(grad)`` must find."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from curricula.signals.per_sample import micro_batches, terms, uses
from curricula.signals.per_sample.layers import convolution, embedding, linear, normalization
from curricula.signals.per_sample.terms import OuterProducts, Rows, Vectors
from tests.signals.per_sample.reference import assert_agrees, changes_of, gradients, measured


class Network(nn.Module):
    """Every kind of layer, one of them used twice, a weight tied."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 6, padding_idx=0)
        self.convolution = nn.Conv1d(6, 6, 3, padding=1, groups=2, dilation=2)
        self.norm = nn.LayerNorm(6)
        self.twice = nn.Linear(6, 6)
        self.readout = nn.Linear(6, 5)
        self.readout.weight = self.embedding.weight

    def forward(self, tokens):
        hidden = self.embedding(tokens).mT
        hidden = self.norm(self.convolution(hidden).mT)
        return self.readout(self.twice(self.twice(hidden).tanh()).tanh())


def agreement() -> None:
    torch.manual_seed(0)
    network = Network().double()
    tokens = torch.randint(5, (4, 5))
    per_sample = measured(network, tokens)
    assert per_sample.coverage().share == 1.0
    assert_agrees(per_sample, gradients(network, tokens), changes_of(network))


def forgotten_bias(monkeypatch):
    real = linear.Linear.terms
    mute = {"bias": 0.0}
    monkeypatch.setattr(
        linear.Linear,
        "terms",
        lambda self, layer, kept, d, attribute: real(self, layer, kept, d * mute.get(attribute, 1.0), attribute),
    )


def forgotten_bias_in_the_inner_product(monkeypatch):
    real = linear.Linear.response
    monkeypatch.setattr(
        linear.Linear,
        "response",
        lambda self, layer, kept, changes: real(
            self, layer, kept, {a: c * (len(changes) == 1 or a == "weight") for a, c in changes.items()}
        ),
    )


def mean_over_time(monkeypatch):
    real = linear.Linear.terms

    def mutant(self, layer, kept, d, attribute):
        return real(self, layer, kept, d / d.shape[1], attribute)

    monkeypatch.setattr(linear.Linear, "terms", mutant)


def norms_summed_over_time(monkeypatch):
    def mutant(self):
        a, d = self.factors
        return (a.square().sum(3) * d.square().sum(3)).sum((1, 2))

    monkeypatch.setattr(OuterProducts, "squared_norms", mutant)


def uses_counted_twice(monkeypatch):
    real = uses.MicroBatch.note_gradient

    def mutant(self, use, gradient):
        real(self, use, gradient)
        if use.covered.name == "readout":
            self.uses.append(use)

    monkeypatch.setattr(uses.MicroBatch, "note_gradient", mutant)


def only_the_last_use(monkeypatch):
    real = micro_batches.joined

    def mutant(batches, sizes):
        return real([batch[-1:] for batch in batches], sizes)

    monkeypatch.setattr(micro_batches, "joined", mutant)


def uses_added_as_if_they_were_orthogonal(monkeypatch):
    monkeypatch.setattr(terms, "squared_norms", lambda parts: sum(part.squared_norms() for part in parts))
    monkeypatch.setattr(micro_batches, "joined", lambda batches, sizes: [part for batch in batches for part in batch])


def part_of_the_batch(monkeypatch):
    real = uses.MicroBatch.__init__

    def mutant(self, batch_size, loss_scale, axes):
        real(self, batch_size, batch_size * loss_scale, axes)

    monkeypatch.setattr(uses.MicroBatch, "__init__", mutant)


def no_padding_index(monkeypatch):
    def mutant(self, layer, kept, d, attribute):
        return Rows(kept[0].reshape(len(d), -1), d.reshape(len(d), -1, layer.embedding_dim))

    monkeypatch.setattr(embedding.Embedding, "terms", mutant)


def repeated_rows_overwritten(monkeypatch):
    def mutant(self, start, stop):
        indices, d = self.factors
        dense = d.new_zeros(len(d), stop, d.shape[2])
        for sample, row in enumerate(indices):
            dense[sample, row] = d[sample]
        return dense[:, start:].flatten(1)

    monkeypatch.setattr(Rows, "rows", mutant)


def groups_ignored(monkeypatch):
    real = convolution._windows
    monkeypatch.setattr(convolution, "_windows", lambda layer, inputs: real(layer, inputs).flip(2))


def input_not_normalised(monkeypatch):
    monkeypatch.setattr(normalization.LayerNorm, "normalized", lambda self, layer, kept: kept[0])


def slots_interleaved(monkeypatch):
    def mutant(self, slots):
        return type(self)(*(f.reshape(-1, slots, *f.shape[1:]).transpose(0, 1).flatten(1, 2) for f in self.factors))

    monkeypatch.setattr(terms.Terms, "pooled", mutant)


def vectors_not_summed(monkeypatch):
    monkeypatch.setattr(Vectors, "squared_norms", lambda self: self.factors[0].square().sum((1, 2)))


MUTANTS = [
    forgotten_bias,
    forgotten_bias_in_the_inner_product,
    mean_over_time,
    norms_summed_over_time,
    uses_counted_twice,
    only_the_last_use,
    uses_added_as_if_they_were_orthogonal,
    part_of_the_batch,
    no_padding_index,
    repeated_rows_overwritten,
    groups_ignored,
    input_not_normalised,
    slots_interleaved,
    vectors_not_summed,
]


def test_without_a_bug_it_agrees():
    agreement()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_it_is_found(mutant, monkeypatch):
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        agreement()
