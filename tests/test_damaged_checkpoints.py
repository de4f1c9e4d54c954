"""Damage to our part of a checkpoint's file is an error before anything is trained on it."""

from __future__ import annotations

import io
import logging
import pickle
import pickletools
import random
import re
import zipfile
from collections import Counter
from contextlib import suppress

import pytest
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import Exp3S
from curricula.rewards import QuantileScaler
from curricula.tracking.files import read_history
from tests.golden_checkpoints.runs import Scripted
from tests.models import Linear, noisy_tasks, trainer

FLIPS = 2000

TOLD = r"damaged|not the state of a curricula|has format|has the parts"


def callback():
    return CurriculumCallback(Exp3S(beta=0.05), Scripted(), QuantileScaler(window=15, warmup=3), target="d")


def loader():
    return CurriculumLoader(noisy_tasks(), batch_size=8, steps_per_epoch=10)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The bytes of a checkpoint that was saved between the micro-batches of a step, so that draws are open."""
    path = tmp_path_factory.mktemp("saved") / "last.ckpt"
    fitter = trainer(callback(), max_steps=13)
    fitter.fit(Linear(4), loader())
    fitter.save_checkpoint(path)
    return path.read_bytes()


def load(file):
    return torch.load(io.BytesIO(file), weights_only=True)


def parts(content):
    """Return the state of the loader and that of the callback, where Lightning has them."""
    return content["loops"]["fit_loop"]["state_dict"]["combined_loader"][0], parts_of_callback(content)


def parts_of_callback(content):
    return content["callbacks"]["CurriculumCallback"]


def ours(file):
    """Return the places in the file that hold our state: in the pickle, and in the tensors of the history."""
    archive = zipfile.ZipFile(io.BytesIO(file))
    start = {}
    for entry in archive.infolist():
        name, extra = (int.from_bytes(file[entry.header_offset + at :][:2], "little") for at in (26, 28))
        start[entry.filename.partition("/")[2]] = (entry.header_offset + 30 + name + extra, entry.file_size)
    first, _ = start["data.pkl"]
    pickled = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    texts = [(text, place) for code, text, place in pickletools.genops(pickled) if code.name == "BINUNICODE"]
    at = dict(reversed(texts))
    spans = [(at["combined_loader"], at["epoch_loop.state_dict"]), (at["CurriculumCallback"], at["optimizer_states"])]
    places = [first + place for begin, end in spans for place in range(begin, end)]
    tensors = [text for text, place in texts if spans[1][0] < place < spans[1][1] and text.isdigit()]
    assert len(tensors) == 8
    for tensor in tensors:
        begin, size = start[f"data/{tensor}"]
        places += range(begin, begin + size)
    return places


def exactly(value):
    """Return nested containers as something that can be compared, in which every NaN is its bits."""
    if isinstance(value, Tensor):
        return (str(value.dtype), tuple(value.shape), value.detach().numpy().tobytes())
    if isinstance(value, dict):
        return {key: exactly(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [exactly(entry) for entry in value]
    return (type(value).__name__, repr(value))


def resume(file, tmp_path, caplog):
    """Train on from a damaged file; return what was warned of."""
    (tmp_path / "damaged.ckpt").write_bytes(file)
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="curricula"):
        trainer(callback(), max_steps=14).fit(Linear(4), loader(), ckpt_path=tmp_path / "damaged.ckpt")
    return " ".join(caplog.messages)


def outcome(file, whole, tmp_path, caplog):
    """Tell what comes of a damaged file."""
    try:
        content = load(file)
    except Exception:  # noqa: BLE001 - whatever it is
        return "torch refuses it"
    with suppress(RecursionError):  # a list that holds itself
        if exactly(content) == exactly(whole):
            return "harmless"
    try:
        of_loader, of_callback = parts(content)
    except (KeyError, IndexError, TypeError):  # our parts are not where Lightning looks for them
        try:
            warned = resume(file, tmp_path, caplog)
        except Exception:  # noqa: BLE001 - whatever it is
            return "Lightning refuses it"
        if exactly(content.get("callbacks", {}).get("CurriculumCallback")) == exactly(parts_of_callback(whole)):
            return "made good"  # it has the place in the data as well
        return "warned" if "has no curriculum state" in warned or "not where the loader was" in warned else "missed"
    try:
        own = callback()
        own.load_state_dict(of_callback)
        assert own.teacher.updates
        assert own.history.steps
        for state in (of_loader, of_callback["loader"]):
            loader().load_state_dict(state)
    except ValueError as error:
        return "told" if re.search(TOLD, str(error)) else f"said badly: {error!r}"
    except Exception as error:  # noqa: BLE001
        return f"said badly: {error!r}"
    return "missed" if exactly(parts(content)) != exactly(parts(whole)) else "elsewhere"


def test_of_two_thousand_flipped_bits_in_the_file_none_is_missed(file, tmp_path, caplog):
    places, numbers = ours(file), random.Random(2017)
    whole, found = load(file), Counter()
    for _ in range(FLIPS):
        damaged, place = bytearray(file), numbers.choice(places)
        damaged[place] ^= 1 << numbers.randrange(8)
        found[outcome(bytes(damaged), whole, tmp_path, caplog)] += 1
    good = {"told", "torch refuses it", "harmless", "made good", "Lightning refuses it", "warned"}
    assert set(found) <= good, found
    assert found["told"] > FLIPS / 2


def test_a_file_that_was_cut_short_is_refused(file, tmp_path):
    numbers = random.Random(2017)
    for size in {*numbers.sample(range(len(file)), 100), *range(len(file) - 100, len(file))}:
        (tmp_path / "cut.ckpt").write_bytes(file[:size])
        with pytest.raises((RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError)):
            torch.load(tmp_path / "cut.ckpt", weights_only=True)
        with pytest.raises(ValueError, match=r"cut\.ckpt cannot be loaded"):
            read_history(tmp_path / "cut.ckpt")


def in_teacher(content):
    parts(content)[1]["teacher"]["content"]["bandit"]["weights"][0] *= 1 + 1e-15


def in_history(content):
    parts(content)[1]["history"]["content"]["policies"][3, 2] += 1e-7


def in_loader(content):
    parts(content)[0]["content"]["visits"][1] += 1


def in_loader_by_callback(content):
    parts_of_callback(content)["loader"]["content"]["visits"][1] += 1


@pytest.mark.parametrize(
    ("damage", "kind"),
    [(in_teacher, "teacher"), (in_history, "history"), (in_loader, "loader"), (in_loader_by_callback, "loader")],
)
def test_training_does_not_go_on_from_a_damaged_part(file, tmp_path, caplog, damage, kind):
    content = load(file)
    damage(content)
    damaged = io.BytesIO()
    torch.save(content, damaged)
    with pytest.raises((ValueError, MisconfigurationException), match=f"the {kind} state is damaged"):
        resume(damaged.getvalue(), tmp_path, caplog)


def test_an_intact_file_is_resumed_without_a_word(file, tmp_path, caplog):
    assert resume(file, tmp_path, caplog) == ""


def test_a_lost_part_is_told(file, tmp_path, caplog):
    content = load(file)
    del parts(content)[1]["history"]
    damaged = io.BytesIO()
    torch.save(content, damaged)
    with pytest.raises(
        MisconfigurationException, match=r"has the parts \['teacher', 'loader'\], not 'teacher' and 'his"
    ):
        resume(damaged.getvalue(), tmp_path, caplog)
    content = load(file)
    del content["loops"]["fit_loop"]["state_dict"]["combined_loader"], parts_of_callback(content)["loader"]
    damaged = io.BytesIO()
    torch.save(content, damaged)
    assert "has the curriculum, but not where the loader was" in resume(damaged.getvalue(), tmp_path, caplog)
