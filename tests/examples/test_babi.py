import itertools
import random

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset, default_collate

from examples.babi import (
    BATCH_SIZE,
    GENERATORS,
    VOCABULARY,
    Model,
    Sample,
    Stream,
    errors,
    held_out,
    majority_errors,
    solved,
    tasks,
    vectorise,
)
from examples.babi.tasks import HELD_OUT_QUESTIONS, held_out_samples, is_held_out

SAMPLE = Sample(("Mary moved to the office.", "John got the milk there."), "Where is Mary?", "office", (0,))


def take(stream, count):
    return list(itertools.islice(stream, count))


def same(one, two):
    return all(a[key].equal(b[key]) for a, b in zip(one, two, strict=True) for key in ("story", "question", "answer"))


@pytest.mark.parametrize("name", GENERATORS)
def test_streams_repeat_with_their_seed_differ_by_seed_and_are_never_held_out(name):
    streams = [tasks(seed)[name] for seed in (0, 0, 1)]
    first, again, other = (take(stream.samples(), 50) for stream in streams)
    assert first == again
    assert first != other
    assert same(take(streams[0], 20), [vectorise(sample) for sample in first[:20]])
    evaluation = {sample.text() for sample in held_out_samples(name)}
    assert not evaluation & {sample.text() for sample in (*first, *other)}
    assert not any(is_held_out(sample) for sample in (*first, *other))


@pytest.mark.parametrize("name", GENERATORS)
def test_held_out_questions_are_distinct_and_the_same_whatever_was_drawn_before(name):
    samples = held_out_samples(name)
    assert len({sample.text() for sample in samples}) == HELD_OUT_QUESTIONS > 240
    assert all(is_held_out(sample) for sample in samples)
    random.seed(3)
    take(Stream(name, 5), 3)
    assert held_out_samples.__wrapped__(name) == samples


def test_held_out_batches_have_one_shape_and_can_be_changed_without_harm():
    batches = held_out()
    assert list(batches) == list(GENERATORS) == list(tasks(0))
    for name, batch in batches.items():
        assert batch["story"].shape == (HELD_OUT_QUESTIONS, 32, 12)
        assert batch["question"].shape == (HELD_OUT_QUESTIONS, 12)
        assert [VOCABULARY.answers[index] for index in batch["answer"]] == [s.answer for s in held_out_samples(name)]
    batches["qa7_counting"]["story"].zero_()
    assert held_out()["qa7_counting"]["story"].any()


def test_nothing_global_is_touched():
    states = random.getstate(), torch.get_rng_state()
    take(tasks(0)["qa14_time-reasoning"], 10)
    held_out_samples.__wrapped__("qa4_two-arg-relations")
    assert random.getstate() == states[0]
    assert torch.get_rng_state().equal(states[1])


def test_samples_of_all_types_collate_and_workers_yield_different_ones():
    batch = default_collate([next(iter(task)) for task in tasks(0).values()])
    assert batch["story"].shape == (20, 32, 12)
    loader = DataLoader(Stream("qa2_two-supporting-facts", 0), batch_size=4, num_workers=2)
    one, two = take(loader, 2)
    assert not one["story"].equal(two["story"])


def test_an_unknown_type_is_refused():
    with pytest.raises(ValueError, match="There is no type 'qa21'; allowed are: qa1_single"):
        Stream("qa21", 0)


def test_a_story_stands_at_the_end_of_its_rows():
    vectors = vectorise(SAMPLE, sentences=3, words=6)
    index = VOCABULARY.word_index
    assert vectors["story"].tolist() == [
        [0] * 6,
        [*(index[word] for word in ("mary", "moved", "to", "the", "office")), 0],
        [*(index[word] for word in ("john", "got", "the", "milk", "there")), 0],
    ]
    assert vectors["question"].tolist() == [*(index[word] for word in ("where", "is", "mary")), 0, 0, 0]
    assert VOCABULARY.answers[vectors["answer"]] == "office"


def test_of_a_long_story_the_last_sentences_are_kept_where_that_is_wanted():
    vectors = vectorise(SAMPLE, sentences=1, keep_recent=True)
    assert vectors["story"].equal(vectorise(SAMPLE)["story"][-1:])


@pytest.mark.parametrize(
    ("sample", "options", "message"),
    [
        (SAMPLE, {"sentences": 1}, "has 2 sentences, at most 1 fit"),
        (SAMPLE, {"words": 4}, "has 5 words, at most 4 fit"),
        (SAMPLE, {"sentences": 0}, "sentences is 0 and words is 12; both must be at least 1"),
        (Sample(("Mary flew to the moon.",), "Where is Mary?", "office", ()), {}, "outside the vocabulary: flew, moon"),
        (Sample((), "Where is Mary?", "moon", ()), {}, "The answer 'moon' is not in the vocabulary"),
        (Sample(("...",), "Where is Mary?", "office", ()), {}, "'...' has no words"),
    ],
)
def test_what_does_not_fit_is_refused(sample, options, message):
    with pytest.raises(ValueError, match=r"Add|give|Give|least|padding") as error:
        vectorise(sample, **options)
    assert message in str(error.value)


def test_a_vocabulary_grows_by_what_is_new_and_a_model_for_it_trains():
    sample = Sample(("Mary flew to the moon.",), "Where is Mary?", "moon", (0,))
    vocabulary = VOCABULARY.extended([sample, SAMPLE])
    assert vocabulary.words == (*VOCABULARY.words, "flew", "moon")
    assert vocabulary.answers == (*VOCABULARY.answers, "moon")
    batch = default_collate([vectorise(one, vocabulary, sentences=40) for one in (sample, SAMPLE)])
    Model(vocabulary=vocabulary, sentences=40).training_step(batch, 0)["loss"].backward()


def test_loss_is_the_mean_of_the_losses_and_padding_does_not_change_them():
    torch.manual_seed(0)
    model = Model()
    samples = [next(iter(task)) for task in tasks(0).values()]
    together = model.losses(default_collate(samples))
    alone = torch.cat([model.losses(default_collate([sample])) for sample in samples])
    assert together.shape == (20,)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.training_step(default_collate(samples), 0)["loss"], together.mean())


def test_the_order_of_sentences_and_of_words_matters():
    torch.manual_seed(0)
    model = Model()
    batch = default_collate([vectorise(SAMPLE)])
    swapped = {**batch, "story": batch["story"].clone()}
    swapped["story"][:, -2:] = batch["story"][:, -2:].flip(1)
    reversed_words = {**batch, "story": batch["story"].clone()}
    reversed_words["story"][:, :, :5] = batch["story"][:, :, :5].flip(2)
    losses = [model.losses(one).item() for one in (batch, swapped, reversed_words)]
    assert len({round(loss, 4) for loss in losses}) == 3


def test_score_is_the_share_of_wrong_answers_and_keeps_the_mode():
    model = Model()
    batch = default_collate(take(Stream("qa6_yes-no-questions", 0), 8))
    answers = model.network(batch["story"], batch["question"]).argmax(dim=1)
    batch["answer"] = answers.clone()
    batch["answer"][:2] = (answers[:2] + 1) % len(VOCABULARY.answers)
    assert model.score(batch) == 0.25
    assert errors(model, {"six": batch}) == {"six": 0.25}
    assert model.training


def test_a_model_of_another_size_says_so():
    with pytest.raises(ValueError, match=r"have 32 sentences of 12 words, the model was made for 20 of 12"):
        Model(sentences=20).losses(default_collate([vectorise(SAMPLE)]))
    with pytest.raises(ValueError, match=r"width is 6, allowed are multiples of 4"):
        Model(width=6)


def test_solved_types_and_the_majority_baseline():
    assert solved({"a": 0.049, "b": 0.05, "c": 0.0}) == ["a", "c"]
    answers = torch.tensor([3, 3, 3, 1])
    assert majority_errors({"a": {"answer": answers}}) == {"a": 0.25}
    baseline = majority_errors(held_out())
    assert not solved(baseline)
    assert all(0.3 < baseline[name] < 0.95 for name in GENERATORS)


class Mixed(IterableDataset):
    def __init__(self, names):
        self.names = names

    def __iter__(self):
        streams = [iter(tasks(0)[name]) for name in self.names]
        return (next(stream) for stream in itertools.cycle(streams))


def test_a_short_training_solves_an_easy_type():
    pl.seed_everything(0, verbose=False)
    names = ["qa11_basic-coreference", "qa13_compound-coreference"]
    model, batches = Model(), held_out()
    before = model.losses(batches[names[0]]).mean().item()
    trainer = pl.Trainer(
        max_steps=150,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(model, DataLoader(Mixed(names), batch_size=BATCH_SIZE))
    assert trainer.global_step == 150
    assert model.losses(batches[names[0]]).mean().item() < before / 4
    assert model.score(batches[names[0]]) < majority_errors(batches)[names[0]] / 3
