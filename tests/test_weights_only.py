"""All that we put into a checkpoint is loaded with ``weights_only=True``: no code is in it, whatever was configured."""

from __future__ import annotations

import enum
import io
import pickletools
import zipfile

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from curricula import CurriculumCallback, CurriculumLoader, Teacher
from curricula.bandits import Exp3S, FixedPolicy
from curricula.rewards import QuantileScaler
from curricula.state import seal
from curricula.tracking import CurriculumHistory
from tests.bandits.checks import cases
from tests.models import noisy_tasks, trainer
from tests.signals.kinds import measuring_classes
from tests.signals.test_conformance import model_for

SCALERS = {
    "window": lambda: QuantileScaler(window=5, warmup=2),
    "reservoir": lambda: QuantileScaler(window=5, warmup=2, reservoir=True),
    "paper": QuantileScaler.paper,
}

PLAIN = (str, int, float, bool, type(None), torch.Tensor)

# What the pickles of torch build tensors from, besides the OrderedDict of a module's parameters.
TENSORS = {"torch._utils _rebuild_tensor_v2", "torch DoubleStorage", "torch FloatStorage", "collections OrderedDict"}


class Name(str, enum.Enum):
    EASY = "easy"
    HARD = "hard"


def through_a_file(state):
    """Return the state, saved and loaded; nothing but containers and tensors may be named in the file."""
    file = io.BytesIO()
    torch.save(state, file)
    archive = zipfile.ZipFile(file)
    pickled = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    named = {text for code, text, _ in pickletools.genops(pickled) if code.name in ("GLOBAL", "STACK_GLOBAL", "INST")}
    assert named <= TENSORS
    file.seek(0)
    return torch.load(file, weights_only=True)


def leaves(state):
    if isinstance(state, dict):
        assert all(type(key) is str for key in state)
        for value in state.values():
            yield from leaves(value)
    elif isinstance(state, list):
        for value in state:
            yield from leaves(value)
    else:
        yield state


def train(teacher, steps=40):
    """Leave draws open, rewards skipped, and a task removed."""
    history = CurriculumHistory(
        teacher.tasks,
        grid={"size": ["s", "m"]} if len(teacher.tasks) == 2 else None,
        target=teacher.tasks[-1],
        max_rows=20,
    )
    for step in range(steps):
        draw = teacher.draw()
        if step % 7 != 3:
            progress = float("nan") if step % 5 == 0 else np.float32(0.1) * step
            reward = teacher.reward(draw, progress, cost=np.float64(2.0))
            history.record(draw, progress=progress, reward=reward, loss=0.5, policy=teacher.probabilities())
    teacher.remove_task(teacher.tasks[0])
    return history


def check(teacher, history):
    for state in (teacher.state_dict(), history.state_dict()):
        assert {type(leaf) for leaf in leaves(state)} <= set(PLAIN)
    assert through_a_file(teacher.state_dict()) == teacher.state_dict()
    loaded = CurriculumHistory.from_state_dict(through_a_file(history.state_dict()))
    assert loaded.state_dict()["sha256"] == history.state_dict()["sha256"]


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("bandit", cases())
def test_the_state_of_every_bandit_and_scaler_holds_no_code(bandit, scaler):
    teacher = Teacher(list("abcde"), bandit=cases()[bandit](range(5)), scaler=SCALERS[scaler](), horizon=100)
    check(teacher, train(teacher))


def test_numbers_of_numpy_and_names_of_an_enum_are_saved_as_plain_ones():
    names = [np.str_("easy"), Name.HARD]
    bandit = Exp3S(eta=np.float64(0.01), epsilon=np.float32(0.1), segments=np.int64(3))
    scaler = QuantileScaler(low=np.float64(0.1), high=np.float64(0.9), window=np.int64(5), warmup=np.int64(2))
    teacher = Teacher(names, bandit=bandit, scaler=scaler, seed=np.int64(3), horizon=np.int64(100))
    history = train(teacher)
    check(teacher, history)
    assert teacher.state_dict()["content"]["tasks"] == history.state_dict()["content"]["tasks"] == ["easy", "hard"]
    teacher = Teacher(names, bandit=FixedPolicy(np.array([1, 2])))
    check(teacher, train(teacher))


def test_a_sealed_state_is_plain_whatever_it_was_made_of():
    odd = {Name.EASY: np.float64(0.5), "more": (np.int64(3), np.bool_(True), np.str_("text"), Name.HARD, [None])}
    assert repr(seal("thing", odd)["content"]) == "{'easy': 0.5, 'more': [3, True, 'text', 'hard', [None]]}"


def test_what_has_no_plain_form_cannot_be_sealed():
    for value in (object(), {1, 2}, np.zeros(3), b"bytes", 1j):
        with pytest.raises(TypeError, match=r"a state holds plain containers, numbers, text and tensors, got"):
            seal("thing", {"value": value})


@pytest.mark.parametrize("kind", measuring_classes())
def test_a_checkpoint_with_any_signal_holds_no_code_of_ours(kind, tmp_path):
    callback = CurriculumCallback(signal=kind(), target="d")
    loader = CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=10)
    options = {"accumulate_grad_batches": 2} if kind.needs_micro_batches else {}
    fitter = trainer(callback, max_steps=13, **options)
    pl.seed_everything(0, verbose=False)
    fitter.fit(model_for(kind)(), loader)
    fitter.save_checkpoint(tmp_path / "last.ckpt")
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    through_a_file(content["callbacks"]["CurriculumCallback"])
    through_a_file(content["loops"]["fit_loop"]["state_dict"]["combined_loader"])
    (state,) = content["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    assert {type(leaf) for leaf in leaves(state)} <= set(PLAIN)
