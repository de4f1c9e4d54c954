"""The addition workload: every answer is the sum, held-out sums are in no training, and the model learns."""

from __future__ import annotations

from itertools import islice, product

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, default_collate

from examples import addition
from examples.addition.sums import ANSWER, DIGITS, QUESTION, SYMBOLS, Sums, is_held_out, name, write


def text(characters):
    return "".join(SYMBOLS[position] for position in characters.tolist())


def read(question, answer):
    """Return both numbers and the answer, of the texts alone."""
    first, second = text(question).lstrip(" ").split("+")
    return first[::-1], second[::-1], text(answer).rstrip(" ")[::-1]


def samples(task, count):
    return list(islice(task, count))


@pytest.mark.parametrize("digits", range(1, DIGITS + 1))
def test_answers_are_the_sums_of_numbers_of_that_many_digits(digits, any_seed):
    numbers = set()
    for question, answer in samples(Sums(digits, any_seed), 2_000):
        assert (question.shape, answer.shape) == ((QUESTION,), (ANSWER,))
        first, second, total = read(question, answer)
        assert (len(first), len(second)) == (digits, digits)
        assert str(int(first)) == first
        assert total == str(int(first) + int(second))
        numbers |= {int(first), int(second)}
    least = 0 if digits == 1 else 10 ** (digits - 1)
    assert least <= min(numbers) < least + 10 ** (digits - 1)
    assert max(numbers) >= 10**digits - 10 ** (digits - 1)


@pytest.mark.parametrize(
    ("pair", "question", "answer"),
    [
        ((123, 989), "321+989", "2111"),
        ((0, 0), "0+0", "0"),
        ((5, 5), "5+5", "01"),
        ((1000, 9000), "0001+0009", "00001"),
    ],
)
def test_numbers_are_written_from_the_last_digit(pair, question, answer):
    questions, answers = write(np.array([pair]), len(str(pair[0])))
    assert text(questions[0]) == question.rjust(QUESTION)
    assert text(answers[0]) == answer.ljust(ANSWER)


def test_streams_repeat_by_seed_and_leave_the_global_state_alone():
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (
        [torch.stack([question for question, _ in samples(task, 50)]) for task in addition.tasks(seed).values()]
        for seed in (1, 1, 2)
    )
    for one, same, different in zip(first, again, other, strict=True):
        assert one.equal(same)
        assert not one.equal(different)
    assert all(not one.equal(two) for one, two in product(first, first) if one is not two)
    assert torch.get_rng_state().equal(states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002


def test_held_out_sums_are_fixed_all_different_and_never_trained_on():
    held_out, again = addition.held_out(), addition.held_out()
    assert list(held_out) == list(addition.tasks(0)) == [name(digits) for digits in range(1, DIGITS + 1)]
    for task, (questions, answers) in held_out.items():
        assert questions.equal(again[task][0])
        assert answers.equal(again[task][1])
        kept = {frozenset(read(*pair)[:2]) for pair in zip(questions, answers, strict=True)}
        assert len(questions) == (512 if task != "1 digit" else len({text(question) for question in questions}))
        for seed in range(3):
            trained = {frozenset(read(*pair)[:2]) for pair in samples(addition.tasks(seed)[task], 3_000)}
            assert not kept & trained  # in neither order


def test_every_sum_of_one_digit_is_either_held_out_or_trained_on():
    questions, answers = addition.held_out()["1 digit"]
    held_out = {read(*pair)[:2] for pair in zip(questions, answers, strict=True)}
    trained = {read(*pair)[:2] for pair in samples(addition.tasks(0)["1 digit"], 3_000)}
    assert held_out | trained == set(product("0123456789", repeat=2))
    assert 5 <= len(held_out) <= 25


def test_one_pair_in_eight_is_held_out_whatever_its_order_and_last_digits():
    pairs = np.random.default_rng(0).integers(10 ** (DIGITS - 1), 10**DIGITS, size=(80_000, 2))
    found = is_held_out(pairs)
    assert (found == is_held_out(pairs[:, ::-1])).all()
    for digit in range(10):
        for column in (0, 1):
            assert found[pairs[:, column] % 10 == digit].mean() == pytest.approx(1 / 8, abs=0.02)


def test_the_score_is_the_share_of_answers_without_any_error():
    class Writes(addition.Model):
        def forward(self, questions, answer):
            return torch.nn.functional.one_hot(self.answers, len(SYMBOLS)).float()

    model = Writes()
    questions, answers = (part[:4] for part in addition.held_out()[addition.TARGET])
    model.answers = answers.clone()
    assert model.score((questions, answers)) == 1.0
    model.answers[1, 2] = (answers[1, 2] + 1) % 10
    model.answers[3] = (answers[3] + 1) % 10
    assert model.score((questions, answers)) == 0.5


def test_the_loss_falls_and_sums_of_the_length_trained_on_come_right():
    pl.seed_everything(0, verbose=False)
    model = addition.Model()
    seen = default_collate(samples(addition.tasks(1)["1 digit"], 500))
    before = model.losses(seen).mean().item()
    trainer = pl.Trainer(
        max_steps=600,
        gradient_clip_val=addition.GRADIENT_CLIP,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(model, DataLoader(addition.tasks(0)["1 digit"], batch_size=addition.BATCH_SIZE))
    assert trainer.global_step == 600
    chance = (np.log(10) + np.log(2)) / ANSWER  # of who knows the length of answers, but not the sums
    assert model.losses(seen).mean().item() < 0.5 * chance < before
    assert model.score(seen) > 0.5
    assert model.score(addition.held_out()[addition.TARGET]) == 0.0


def test_the_step_is_the_mean_of_the_losses_of_samples_of_any_tasks():
    batch = default_collate([next(iter(task)) for task in addition.tasks(0).values()])
    model = addition.Model()
    losses = model.losses(batch)
    assert losses.shape == (DIGITS,)
    assert model.training_step(batch, 0)["loss"].item() == pytest.approx(losses.mean().item())
    alone = [model.losses((batch[0][[row]], batch[1][[row]])).item() for row in range(DIGITS)]
    assert losses.tolist() == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sums(0, 0), f"digits must be from 1 to {DIGITS}, got 0"),
        (lambda: Sums(DIGITS + 1, 0), f"digits must be from 1 to {DIGITS}, got {DIGITS + 1}"),
        (lambda: addition.tasks(-1), "seed must be at least 0, got -1"),
        (lambda: addition.Model(lr=-1.0), "lr must be above 0, got -1.0"),
        (lambda: addition.Model(lr=float("nan")), "lr must be above 0, got nan"),
        (lambda: addition.Model(hidden=0), "hidden must be at least 1, got 0"),
    ],
)
def test_what_is_out_of_range_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
