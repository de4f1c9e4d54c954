"""Trainings in processes that the trainer spawns or forks: what was learned comes back to where they were started."""

from __future__ import annotations

import pickle
import re
import sys
import tempfile
from pathlib import Path

import pytest
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from curricula import CurriculumCallback, CurriculumLoader
from curricula.signals import PredictionGain
from tests.forked import call_forked
from tests.models import Linear, noisy_tasks, trainer


class Failing(Linear):
    """Raises after some steps."""

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if self.trainer.global_step == 13:
            raise ZeroDivisionError("on purpose")


class WithData(Linear):
    """Has the loader itself."""

    def train_dataloader(self):
        tasks = noisy_tasks()
        tasks["d"] = DataLoader(tasks["d"], batch_size=8, shuffle=True)
        return CurriculumLoader(tasks, batch_size=8, steps_per_epoch=10)


def loader(workers=0):
    return CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=10, num_workers=workers)


def fit(callback, strategy, model=None, data=None, **options):
    options = {"max_epochs": 2, "devices": 2, "strategy": strategy, **options}
    fitter = trainer(callback, **options)
    fitter.fit(Linear(4) if model is None else model, data)
    return fitter


def main(folder, strategy):
    """Train in several ways, and look at what is there afterwards; printed is how far it came."""
    pl.seed_everything(0, verbose=False)
    callback = CurriculumCallback(signal=PredictionGain())
    fit(callback, strategy, data=loader(), max_steps=20)
    assert callback.history.steps == callback.teacher.updates == 20
    assert callback.history.draws.sum() == 20
    assert callback.teacher.probabilities().shape == (4,)
    sys.stdout.write("reached one\n")
    if strategy == "ddp_fork":
        more_ways(callback, strategy)


def more_ways(callback, strategy):
    """Train again, on data that the module has, with nobody looking, and to an error."""
    fit(callback, strategy, data=loader(workers=1), max_steps=15)
    assert callback.history.steps == 15
    assert not list(Path(tempfile.gettempdir()).glob("curricula-*"))
    sys.stdout.write("reached again\n")

    callback = CurriculumCallback()
    fit(callback, strategy, model=WithData(4), devices=1)
    assert callback.history.steps == 20
    sys.stdout.write("reached module\n")

    callback = CurriculumCallback()
    fit(callback, strategy, data=loader(), max_steps=12, devices=1)
    fit(callback, "auto", data=loader(), max_steps=3, devices=1)  # nobody has looked at the history of the one before
    assert callback.history.steps == callback.teacher.bandit.horizon == 3
    sys.stdout.write("reached anew\n")

    callback = CurriculumCallback()
    with pytest.raises(Exception, match="on purpose"):
        fit(callback, strategy, model=Failing(4), data=loader(), devices=1)
    with pytest.raises(RuntimeError, match="processes that failed, the last checkpoint has it"):
        callback.history  # noqa: B018
    sys.stdout.write("reached error\n")


WAYS = {
    "ddp_spawn": ["one"],
    "ddp_fork": ["one", "again", "module", "anew", "error"],
    "ddp_notebook": ["one"],
}


@pytest.mark.parametrize("strategy", WAYS)
def test_a_training_in_processes_of_its_own_leaves_teacher_and_history(strategy, tmp_path):
    said = call_forked(main, tmp_path, strategy, environment={"TMPDIR": str(tmp_path)})
    assert re.findall(r"^reached (\w+)$", said, re.MULTILINE) == WAYS[strategy]
    assert not list(tmp_path.glob("curricula-*"))


def test_a_loader_that_was_trained_on_can_be_sent_to_a_process():
    data = loader()
    trainer(CurriculumCallback(), max_steps=13).fit(Linear(4), data)
    sent = pickle.loads(pickle.dumps(data))
    assert sent.state_dict() == data.state_dict()
    assert [batch[0].sum() for batch in sent] == [batch[0].sum() for batch in data]


def test_a_training_in_the_own_process_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = CurriculumCallback()
    trainer(own, max_steps=5).fit(Linear(4), loader())
    assert own.history.steps == 5
    assert not list(tmp_path.glob("curricula-*"))


def test_without_a_training_the_error_says_where_to_look():
    with pytest.raises(RuntimeError, match=r"no history before training starts.*processes that failed.*read_history"):
        CurriculumCallback().history  # noqa: B018
