"""Checkpoints of every version are loaded, and resumed as if nothing had happened.

The files in ``golden_checkpoints/`` are written by ``python -m tests.golden_checkpoints.runs``, once per version, and
never again. Those of ``0.1.0a`` are of the time before the history had a seal, or Exp3.S its tree.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import curricula
from curricula.tracking.files import read_history
from tests.golden_checkpoints.runs import FOLDER, RUNS, SAVED, STEPS, record, write

CHECKPOINTS = sorted(FOLDER.glob("*.ckpt"))


def of(path):
    return RUNS[path.stem.partition("-")[2]]


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.stem)
def test_a_checkpoint_of_any_version_is_resumed_exactly(path):
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    found = record(*of(path).fit(ckpt_path=path))
    rest = found.pop("batches")
    whole = expected.pop("batches")
    assert 0 < len(rest) < len(whole)
    assert rest == whole[-len(rest) :]
    for name in ("arms", "draws", "skipped"):
        assert found[name] == expected[name], name
    for name in ("probabilities", "rewards"):
        ours, theirs = (np.array(values, dtype=np.float64) for values in (found[name], expected[name]))  # None is NaN
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.stem)
def test_a_checkpoint_of_any_version_holds_no_code(path):
    content = torch.load(path, weights_only=True)
    assert set(content["callbacks"]["CurriculumCallback"]) == {"teacher", "history"}
    history = read_history(path)
    assert history.steps == SAVED
    assert history.target == of(path).target


def test_this_version_has_its_checkpoints():
    missing = [name for name in RUNS if not (FOLDER / f"{curricula.__version__}-{name}.ckpt").exists()]
    assert not missing, "write them with python -m tests.golden_checkpoints.runs, and commit them with the version"


def test_what_is_written_now_is_what_is_resumed_and_never_written_over(tmp_path):
    paths = write(tmp_path, "now")
    assert [path.stem for path in paths] == [f"now-{name}" for name in RUNS]
    path = paths[0]
    whole = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert len(whole["arms"]) == STEPS
    assert len(set(whole["arms"])) == 4
    assert None in whole["rewards"]
    before = path.read_bytes()
    assert write(tmp_path, "now") == []
    assert path.read_bytes() == before
