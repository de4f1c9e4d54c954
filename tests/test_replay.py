"""What a run has learned, in another run: as a mixture, as a schedule, and as its draws in another order."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException

from curricula import CurriculumCallback, CurriculumLoader, Mixture, Schedule
from curricula.bandits import Exp3S, FixedPolicy
from curricula.export import average_mixture, learned_schedule, shuffled_draws, write_shares
from curricula.signals.unmeasured import Unmeasured
from curricula.tracking.files import read_history
from tests.models import Linear, noisy_tasks, trainer

STEPS = 40


class Probabilities(pl.Callback):
    """Writes down the draws of every batch."""

    def __init__(self, of):
        self.of, self.draws = of, []

    def on_train_batch_start(self, *_):
        self.draws.append(self.of.current_draws)


def run(callback, *others, draws=1, names="abcd", steps=STEPS, **options):
    tasks = noisy_tasks()
    loader = CurriculumLoader(
        {name: tasks[name] for name in names}, batch_size=8, draws_per_batch=draws, steps_per_epoch=STEPS
    )
    seen = Probabilities(callback)
    fit = {"ckpt_path": options.pop("ckpt_path", None)}
    trainer(callback, seen, *others, max_steps=steps, max_epochs=-1, **options).fit(Linear(4), loader, **fit)
    return [draw for draws in seen.draws for draw in draws]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned")
    pl.seed_everything(0)
    keep = pl.callbacks.ModelCheckpoint(folder, save_last=True, every_n_train_steps=STEPS)
    run(CurriculumCallback(Exp3S(eta=0.3, epsilon=0.1)), keep, enable_checkpointing=True)
    return folder / "last.ckpt"


def test_a_mixture_is_replayed_by_name_without_a_signal(checkpoint, tmp_path):
    mixture = average_mixture(read_history(checkpoint))
    path = write_shares(mixture, tmp_path / "mixture.yaml")
    callback = CurriculumCallback(
        FixedPolicy.uniform(), Unmeasured(), mixture=Mixture(prior=Schedule.load(path), strength=0.0)
    )
    draws = run(callback, draws=4, names="dbca")
    assert len(draws) == 4 * STEPS
    for draw in draws:
        assert draw.probability == mixture[draw.task]
    assert np.isnan(callback.history.column("progress")).all()
    assert callback.teacher.open_draws() == []


def test_a_schedule_is_replayed_step_by_step(checkpoint, tmp_path):
    schedule = learned_schedule(read_history(checkpoint), points=8)
    path = write_shares(schedule, tmp_path / "schedule.json")
    callback = CurriculumCallback(
        FixedPolicy.uniform(), Unmeasured(), mixture=Mixture(prior=Schedule.load(path), strength=0.0)
    )
    for step, draw in enumerate(run(callback, names="dbca")):
        assert draw.probability == schedule.shares(step, "abcd")["abcd".index(draw.task)]


@pytest.mark.parametrize("draws", [1, 4])
def test_draws_are_replayed_in_another_order_and_a_resume_is_exact(checkpoint, tmp_path, draws):
    history = read_history(checkpoint)
    names = "dbca"

    def replay(*others, **options):
        callback = CurriculumCallback(shuffled_draws(history, names), Unmeasured())
        return callback, run(callback, *others, draws=draws, names=names, **options)

    keep = pl.callbacks.ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=7, filename="{step}")
    callback, whole = replay(keep, enable_checkpointing=True)
    made = dict(zip(names, callback.history.draws.tolist(), strict=True))
    assert made == {name: draws * int(number) for name, number in zip("abcd", history.draws, strict=True)}
    _, rest = replay(ckpt_path=tmp_path / "step=21.ckpt")
    assert rest == whole[21 * draws :]


def test_no_signal_is_refused_where_a_bandit_would_learn_from_it():
    with pytest.raises(MisconfigurationException, match=r"Unmeasured measures nothing, .* Exp3S would never learn"):
        run(CurriculumCallback(signal=Unmeasured()))
