"""Histories from files: saved ones, checkpoints, folders; and clear words for all else."""

from __future__ import annotations

import json
import os
import pickle

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.demos.boring_classes import BoringModel

from curricula import CurriculumCallback, CurriculumLoader
from curricula.tracking.files import find_histories, read_history, run_name
from tests.tracking.histories import staircase


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    callback = CurriculumCallback()
    trainer = pl.Trainer(
        max_steps=6,
        accelerator="cpu",
        callbacks=[callback, ModelCheckpoint(folder / "version_0" / "checkpoints", every_n_train_steps=3)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    tasks = {name: [torch.randn(32) for _ in range(8)] for name in "ab"}
    trainer.fit(BoringModel(), CurriculumLoader(tasks, batch_size=4, steps_per_epoch=3))
    return folder, callback.history


def same(one, other):
    return json.dumps(one.state_dict(), default=torch.Tensor.tolist) == json.dumps(
        other.state_dict(), default=torch.Tensor.tolist
    )


def test_a_checkpoint_of_lightning_holds_the_history(run):
    folder, history = run
    (file,) = find_histories(folder)
    assert file.suffix == ".ckpt"
    assert run_name(file) == "version_0"
    assert same(read_history(file), history)


def test_a_saved_history_is_read(tmp_path):
    history = staircase(3, steps=50)
    history.save(tmp_path / "ours.history.json")
    (tmp_path / "other.json").write_text("[]")
    (file,) = find_histories(tmp_path)
    assert run_name(file) == "ours"
    assert read_history(file).column("reward").tolist()[1:] == history.column("reward").tolist()[1:]


def test_the_newest_checkpoint_of_each_folder_is_taken(tmp_path):
    for folder, name, time in (("a", "step=9.ckpt", 1), ("a", "step=10.ckpt", 2), ("b", "last.ckpt", 1)):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).touch()
        os.utime(tmp_path / folder / name, (time, time))
    assert [file.name for file in find_histories(tmp_path)] == ["step=10.ckpt", "last.ckpt"]


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        find_histories(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_history(tmp_path)
    with pytest.raises(ValueError, match=r"neither a saved history .* nor a checkpoint"):
        find_histories(tmp_path)


class Opens:
    def __reduce__(self):
        return open, ("opened", "w")


def test_a_checkpoint_runs_no_code(tmp_path):
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps(Opens(), protocol=2))
    torch.save({"callbacks": Opens()}, tmp_path / "evil2.ckpt")
    for name in ("evil.ckpt", "evil2.ckpt"):
        with pytest.raises(ValueError, match="cannot be loaded"):
            read_history(tmp_path / name)
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize(
    "content", [{}, [1], {"callbacks": {}}, {"callbacks": {"EarlyStopping": {"history": 3}}}, {"callbacks": [1]}]
)
def test_a_checkpoint_without_a_curriculum_is_told(tmp_path, content):
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="has no curriculum"):
        read_history(tmp_path / "a.ckpt")


@pytest.mark.parametrize("change", [{"draws": [1]}, {"policy_steps": [0]}, {"tasks": 3}, {"steps": None, "grid": 1}])
def test_damage_is_told_with_the_file(tmp_path, change):
    history = staircase(3, steps=20)
    path = history.save(tmp_path / "a.json")
    content = json.loads(path.read_text())
    for key, value in change.items():
        content[key] = value
    if "grid" in change:
        del content["columns"]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"a\.json"):
        read_history(path)
    sealed = history.state_dict()
    content = sealed["content"] | change
    for state in ({**sealed, "content": content}, content)[: 1 if "grid" in change else 2]:  # the first had no seal
        torch.save({"callbacks": {"CurriculumCallback": {"history": state}}}, tmp_path / "a.ckpt")
        with pytest.raises(ValueError, match=r"a\.ckpt"):
            read_history(tmp_path / "a.ckpt")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000, b"{}", b""])
def test_files_of_another_kind_are_told(tmp_path, content):
    for name in ("a.json", "a.ckpt"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            read_history(tmp_path / name)
