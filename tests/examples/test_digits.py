"""Digits in domains: the data, the noise, what is held out, and that the model learns."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import ConcatDataset, DataLoader, default_collate

from examples.digits import label_noise, noise_domains
from examples.digits.data import (
    SAMPLES,
    generator,
    held_out_pictures,
    pixel_order,
    training_pictures,
    wrong_classes,
)
from examples.digits.model import Model
from tests.models import trainer

SETTINGS = pytest.mark.parametrize("setting", [noise_domains, label_noise], ids=["noise_domains", "label_noise"])


def domain_of(name: str) -> int:
    """Return the number of the domain whose order of pixels a task has."""
    kind, number, *_ = name.split()
    return int(number) - 1 + (noise_domains.CLEAN if kind == "noise" else 0)


def as_they_are(task, domain: int):
    """Return pictures with their pixels in the order of the file, and labels."""
    pictures, labels = task.tensors
    return pictures[:, pixel_order(domain).argsort()], labels


def true_classes(pictures) -> torch.Tensor:
    """Return the right class of each picture, found by its pixels among those of the training."""
    known, classes = training_pictures()
    found = {tuple(picture.tolist()): int(label) for picture, label in zip(known, classes, strict=True)}
    return torch.tensor([found[tuple(picture.tolist())] for picture in pictures])


def test_the_file_has_the_pictures_that_the_licence_names():
    (pictures, classes), (more, rest) = training_pictures(), held_out_pictures()
    everything, labels = torch.cat([pictures, more]), torch.cat([classes, rest])
    assert everything.shape == (1797, 64)
    assert (everything.min(), everything.max()) == (0, 1)
    assert (everything * 16).frac().abs().max() == 0
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_no_picture_occurs_twice_and_so_none_that_is_held_out_is_trained_on():
    pictures = torch.cat([training_pictures()[0], held_out_pictures()[0]])
    assert len(pictures.unique(dim=0)) == len(pictures)


@SETTINGS
@pytest.mark.parametrize("seed", [0, 3])
def test_held_out_pictures_are_in_no_task_in_the_order_of_any_domain(setting, seed):
    held = {tuple(picture.tolist()) for picture in held_out_pictures()[0]}
    for name, task in setting.tasks(seed).items():
        pictures, _ = as_they_are(task, domain_of(name))
        assert not held & {tuple(picture.tolist()) for picture in pictures}


@SETTINGS
def test_held_out_batches_are_the_held_out_pictures_as_the_domain_shows_them(setting):
    pictures, classes = held_out_pictures()
    setting.tasks(5)
    for name, (inputs, labels) in setting.held_out().items():
        assert inputs[:, pixel_order(domain_of(name)).argsort()].equal(pictures)
        assert labels.equal(classes)


def test_every_domain_has_its_own_order_of_all_pixels():
    orders = [pixel_order(domain) for domain in range(8)]
    assert orders[0].tolist() == list(range(64))
    assert all(order.sort().values.tolist() == list(range(64)) for order in orders)
    assert all((one == other).float().mean() < 0.1 for k, one in enumerate(orders) for other in orders[:k])


def test_labels_of_clean_domains_are_right_and_those_of_noise_say_nothing(any_seed):
    tasks = noise_domains.tasks(any_seed)
    assert list(tasks) == [*(f"domain {n}" for n in (1, 2, 3)), *(f"noise {n}" for n in (1, 2, 3, 4, 5))]
    for name, task in tasks.items():
        pictures, labels = as_they_are(task, domain_of(name))
        assert len(pictures) == len(pictures.unique(dim=0)) == SAMPLES
        right = (labels == true_classes(pictures)).float().mean().item()
        assert right == 1 if name.startswith("domain") else right == pytest.approx(0.1, abs=0.05)
        assert labels.bincount(minlength=10).min() > 50
    assert list(noise_domains.held_out()) == list(tasks)[:3]


def test_a_fifth_of_a_domain_is_labelled_rightly_and_the_rest_as_wrongly_as_is_said():
    tasks = label_noise.tasks(0)
    assert list(label_noise.held_out()) == list(tasks)
    for domain, share in enumerate((0.2, 0.3, 0.4)):
        clean, noisy = (as_they_are(tasks[f"domain {domain + 1} {kind}"], domain) for kind in ("clean", "noisy"))
        assert (len(clean[0]), len(noisy[0])) == (200, 800)
        assert len(torch.cat([clean[0], noisy[0]]).unique(dim=0)) == 1000
        assert clean[1].equal(true_classes(clean[0]))
        assert int((noisy[1] != true_classes(noisy[0])).sum()) == round(800 * share)


def test_wrong_classes_are_the_nine_others_alike():
    classes = torch.arange(10).repeat(900)
    wrong = wrong_classes(classes, generator(0, 0))
    steps = (wrong - classes) % 10
    counts = steps.bincount(minlength=10).tolist()
    assert counts[0] == 0
    assert all(count == pytest.approx(1000, abs=150) for count in counts[1:])


@SETTINGS
def test_tasks_repeat_by_seed_and_differ_between_seeds_and_domains(setting):
    one, again, other = (setting.tasks(seed) for seed in (0, 0, 1))
    for name, task in one.items():
        assert all(mine.equal(its) for mine, its in zip(task.tensors, again[name].tensors, strict=True))
        assert not any(mine.equal(its) for mine, its in zip(task.tensors, other[name].tensors, strict=True))
    labels = [task.tensors[1] for task in one.values()]
    assert not any(mine.equal(its) for k, mine in enumerate(labels) for its in labels[:k])


@SETTINGS
def test_what_a_task_holds_can_be_changed_without_changing_the_next_run(setting):
    name = next(iter(setting.tasks(0)))
    for tensor in (*setting.tasks(0)[name].tensors, *setting.held_out()[name]):
        expected = tensor.clone()
        tensor.zero_()
        assert not tensor.equal(expected)
    assert setting.tasks(0)[name].tensors[0].sum() > 0
    assert setting.held_out()[name][1].sum() > 0


@SETTINGS
def test_making_tasks_and_batches_touches_no_global_random_numbers(setting):
    before = torch.random.get_rng_state()
    setting.tasks(0)
    setting.held_out()
    assert torch.random.get_rng_state().equal(before)


@SETTINGS
@pytest.mark.parametrize("seed", [-1, 1.0, "1", True])
def test_a_seed_that_is_none_is_an_error(setting, seed):
    with pytest.raises(ValueError, match=f"seed={seed!r}: give an integer of 0 or more"):
        setting.tasks(seed)


def test_losses_are_per_sample_and_scores_are_shares_of_right_answers():
    model = Model()
    batch = default_collate([task[0] for task in noise_domains.tasks(0).values()])
    losses = model.losses(batch)
    assert losses.shape == (8,)
    assert model.training_step(batch, 0)["loss"].item() == pytest.approx(losses.mean().item())
    chances = model(batch[0]).softmax(dim=1).gather(1, batch[1][:, None]).squeeze(1)
    torch.testing.assert_close(losses, -chances.log())
    pictures, classes = held_out_pictures()
    answers = model(pictures).argmax(dim=1)
    assert model.score((pictures, answers)) == 1
    assert model.score((pictures, (answers + 1) % 10)) == 0
    half = torch.where(torch.arange(len(classes)) % 2 == 0, answers, (answers + 1) % 10)
    assert model.score((pictures, half)) == pytest.approx(225 / 449)


@SETTINGS
def test_the_model_learns_the_domains_from_mixed_batches(setting):
    pl.seed_everything(0)
    loader = DataLoader(ConcatDataset(list(setting.tasks(0).values())), batch_size=setting.BATCH_SIZE, shuffle=True)
    model = setting.Model(setting.LEARNING_RATES[1])
    before = {name: model.losses(batch).mean().item() for name, batch in setting.held_out().items()}
    trainer(max_steps=400).fit(model, loader)
    for name, batch in setting.held_out().items():
        assert model.losses(batch).mean().item() < 0.9 * before[name]
        assert model.score(batch) > 0.5
