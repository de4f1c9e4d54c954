"""The n-gram workload: the sources are Kneser-Ney's, the samples are the sources', and the model learns."""

from __future__ import annotations

import importlib
from collections import Counter, defaultdict
from itertools import islice, product

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, default_collate

from examples import ngram
from examples.ngram.kneser_ney import MAX_ORDER, estimate, pack
from examples.ngram.sources import Sequences
from examples.ngram.text import SYMBOLS, decode, encode, king_james


@pytest.fixture(autouse=True)
def few_texts_side_by_side(monkeypatch):
    """So that the first samples are there soon."""
    monkeypatch.setattr(importlib.import_module("examples.ngram.sources"), "_STREAMS", 64)


TEXT = "in the beginning god created the heaven and the earth. and the earth was without form, and void; " * 2 + "and a"


def slow(text, order):
    """Kneser-Ney from its formula, with dictionaries: a function of context and symbol."""
    circle = text + text[: order - 1]
    tables = {order: Counter(circle[start : start + order] for start in range(len(text)))}
    for length in range(order - 1, 0, -1):
        longer = {(text * 3)[start : start + length + 1] for start in range(len(text))}
        tables[length] = Counter(gram[1:] for gram in longer)
    discounts, totals, kinds = {}, {}, {}
    for length, table in tables.items():
        once, twice = (sum(count == n for count in table.values()) for n in (1, 2))
        discounts[length] = once / (once + 2 * twice) if once else 0.5
        totals[length], kinds[length] = defaultdict(int), defaultdict(int)
        for gram, count in table.items():
            totals[length][gram[:-1]] += count
            kinds[length][gram[:-1]] += 1

    def probability(context, symbol, length=order):
        if length == 0:
            return 1 / len(SYMBOLS)
        below = probability(context[1:], symbol, length - 1)
        total = totals[length][context]
        if total == 0:
            return below
        kept = max(tables[length][context + symbol] - discounts[length], 0)
        return (kept + discounts[length] * kinds[length][context] * below) / total

    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 5, 10])
def test_probabilities_agree_with_a_transcription_of_the_formula(order):
    source = estimate(TEXT, order)[order]
    contexts = {(TEXT * 2)[start : start + order - 1] for start in range(0, len(TEXT), 7)}
    contexts |= {"q" * (order - 1), ("q" * 9 + "the")[12 - order + 1 :], ("the" + "q" * 9)[: order - 1]}
    probability = slow(TEXT, order)
    for context in contexts:
        (row,) = source.probabilities(pack([encode(context)]))
        assert row == pytest.approx([probability(context, symbol) for symbol in SYMBOLS], abs=1e-12)


def test_probabilities_of_a_text_worked_out_by_hand():
    # "aab" as a circle: aa, ab, ba once each, so D = 1 at level 2 and all mass goes down. Level 1 has the kinds of
    # predecessors: a 2 (a, b), b 1 (a), so n1 = n2 = 1, D = 1/3.
    (row,) = estimate("aab", 2)[2].probabilities(pack([encode("a")]))
    given_away = 1 / 3 * 2 / 3
    assert row[SYMBOLS.index("a")] == pytest.approx((2 - 1 / 3) / 3 + given_away / 32)
    assert row[SYMBOLS.index("b")] == pytest.approx((1 - 1 / 3) / 3 + given_away / 32)
    assert row[SYMBOLS.index("z")] == pytest.approx(given_away / 32)


@pytest.mark.parametrize("order", range(11))
def test_probabilities_are_positive_and_sum_to_one(order):
    histories = np.random.default_rng(0).integers(0, 1 << 45, size=50)  # hardly any of them in the text
    text = encode(king_james())
    seen = pack(np.stack([text[start : start + 9] for start in range(0, 500_000, 10_000)]))
    rows = ngram.sources()[order].probabilities(np.concatenate([histories, seen]))
    assert rows.min() > 0
    assert rows.sum(axis=1) == pytest.approx(1, abs=1e-12)


def test_entropies_fall_with_the_order_to_the_known_values():
    floors = list(ngram.floors().values())
    assert floors == sorted(floors, reverse=True)
    assert floors == pytest.approx([3.47, 2.86, 2.21, 1.66, 1.26, 1.03, 0.90, 0.82, 0.76, 0.71, 0.68], abs=0.04)


@pytest.mark.parametrize("order", [1, 3, 10])
def test_samples_follow_the_probabilities(order, any_seed):
    """-log p of what is drawn has, at every step, the entropy of p as its mean: the sum is a martingale."""
    source = ngram.sources()[order]
    generator = np.random.default_rng(any_seed)
    text = encode(king_james())
    starts = generator.integers(len(text) - 10, size=200)
    histories = pack(np.stack([text[start : start + order - 1] for start in starts]))
    surprises, entropies = [], []
    for _ in range(60):
        rows = source.probabilities(histories)
        symbols, histories = source.sample(histories, 1, generator)
        surprises.append(-np.log(rows[np.arange(200), symbols[:, 0]]))
        entropies.append(-(rows * np.log(rows)).sum(axis=1))
    difference = np.array(surprises) - np.array(entropies)
    assert abs(difference.mean()) < 4.5 * difference.std() / difference.size**0.5


def test_samples_after_one_history_have_its_probabilities(any_seed):
    source = estimate(TEXT, 3)[3]
    history = pack([encode("th")])
    (expected,) = source.probabilities(history) * 40_000
    symbols, _ = source.sample(np.repeat(history, 40_000), 1, np.random.default_rng(any_seed))
    found = np.bincount(symbols[:, 0], minlength=32)
    assert ((found - expected) ** 2 / expected).sum() < 75  # chi-square, 31 degrees: beyond that once in 50,000


def test_a_sample_goes_on_where_the_one_before_ended():
    source = ngram.sources()[4]
    symbols, histories = source.sample(np.zeros(3, np.int64), 7, np.random.default_rng(0))
    assert histories.tolist() == pack(symbols[:, -3:]).tolist()


def test_log_likelihood_is_that_of_the_probabilities():
    source = estimate(TEXT, 3)[3]
    found = source.log_likelihood([encode("and the"), encode("xquv.ab")], 2)
    probability = slow(TEXT, 3)
    for row, text in zip(found, ("and the", "xquv.ab"), strict=True):
        expected = [probability(text[end - 2 : end], text[end]) for end in range(2, 7)]
        assert row == pytest.approx(np.log(expected), abs=1e-10)


def test_the_text_is_a_million_characters_of_all_symbols():
    text = king_james()
    assert len(text) == 1_000_000
    assert set(text) == set(SYMBOLS)
    assert text.startswith("in the beginning god created the heaven and the earth. and the earth was without form,")
    assert decode(encode(text[:500])) == text[:500]


def test_inputs_and_targets_are_one_sequence():
    for inputs, targets in islice(Sequences(10, 0), 5):
        assert (inputs.shape, targets.shape) == ((149,), (100,))
        assert inputs[50:].equal(targets[:-1])


def test_streams_repeat_by_seed_and_leave_the_global_state_alone():
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (
        [torch.stack([inputs for inputs, _ in islice(task, 3)]) for task in ngram.tasks(seed).values()]
        for seed in (1, 1, 2)
    )
    for one, same, different in zip(first, again, other, strict=True):
        assert one.equal(same)
        assert not one.equal(different)
    assert all(not one.equal(two) for one, two in product(first, first) if one is not two)
    assert torch.get_rng_state().equal(states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002


def test_held_out_sequences_are_fixed_and_in_no_stream():
    held_out, again = ngram.held_out(), ngram.held_out()
    assert list(held_out) == list(ngram.tasks(0)) == [f"{order}-gram" for order in range(11)]
    for name, (inputs, targets) in held_out.items():
        assert targets.shape == (128, 100)
        assert inputs.shape == (128, 149)
        assert inputs.equal(again[name][0])
        assert targets.equal(again[name][1])
        kept = {tuple(row) for row in inputs[:, 50:90].tolist()}
        assert len(kept) == 128
        for seed in range(3):
            trained = {tuple(sample[50:90].tolist()) for sample, _ in islice(ngram.tasks(seed)[name], 64)}
            assert not kept & trained


def test_the_loss_falls_from_that_of_chance():
    pl.seed_everything(0, verbose=False)
    model = ngram.Model(lr=1e-2)
    held_out = {name: batch for name, batch in ngram.held_out().items() if name in ("1-gram", "10-gram")}
    before = {name: model.score(batch) for name, batch in held_out.items()}
    assert before == pytest.approx(dict.fromkeys(held_out, np.log(32)), abs=0.1)
    trainer = pl.Trainer(
        max_steps=40,
        gradient_clip_val=ngram.GRADIENT_CLIP,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(model, DataLoader(ngram.tasks(0)["10-gram"], batch_size=ngram.BATCH_SIZE))
    assert trainer.global_step == 40
    assert model.score(held_out["10-gram"]) < 2.8 < before["10-gram"]


def test_the_step_is_the_mean_of_the_losses_of_samples_of_any_tasks():
    batch = default_collate([next(iter(task)) for task in ngram.tasks(0).values()])
    model = ngram.Model()
    losses = model.losses(batch)
    assert losses.shape == (11,)
    assert model.training_step(batch, 0)["loss"].item() == pytest.approx(losses.mean().item())
    assert model.score(batch) == pytest.approx(losses.mean().item())
    alone = [model.losses((batch[0][[row]], batch[1][[row]])).item() for row in range(11)]
    assert losses.tolist() == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sequences(11, 0), "order must be from 0 to 10, got 11"),
        (lambda: Sequences(3, -1), "seed must be at least 0, got -1"),
        (lambda: ngram.tasks(-1), "seed must be at least 0, got -1"),
        (lambda: ngram.Model(lr=0.0), "lr must be above 0, got 0.0"),
        (lambda: ngram.Model(lr=float("nan")), "lr must be above 0, got nan"),
        (lambda: ngram.Model(hidden=0), "hidden must be at least 1, got 0"),
        (lambda: estimate(TEXT, MAX_ORDER + 1), "order must be from 0 to 12, got 13"),
        (lambda: estimate("abc", 4), "text of 3 characters is too short for order 4"),
        (lambda: estimate("", 0), "text of 0 characters is too short for order 0"),
        (lambda: estimate("Ünd", 1), r"no symbols: \['U', '\u0308'\]|no symbols: \['Ü'\]"),
        (lambda: estimate(TEXT, 4)[4].log_likelihood([encode("abcdef")], 2), "start must be at least 3 for order 4"),
    ],
)
def test_what_is_out_of_range_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
