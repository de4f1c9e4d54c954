"""The comparison of runs can fail: whatever is missing in a checkpoint is found."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.generated.comparisons import differences
from tests.generated.runs import train
from tests.generated.ways import make_way

WAY = replace(
    make_way(0),
    signal="PredictionGain",
    network="noisy",
    optimizer="adam",
    schedule="step",
    data="map",
    workers="none",
    accumulate=1,
    length="epochs",
    checkpoints="steps",
    precision="32-true",
)


def _forget_curriculum(content):
    del content["callbacks"]["CurriculumCallback"]


def _forget_random_numbers(content):
    del content["callbacks"]["RandomStream"]


def _forget_optimizer(content):
    content["optimizer_states"][0]["state"] = {}


def _forget_schedule(content):
    content["lr_schedulers"][0]["_step_count"] = 0


def _forget_statistics(content):
    content["state_dict"]["network.1.running_mean"].zero_()


@pytest.fixture
def whole(tmp_path):
    return train(WAY, tmp_path / "whole")


def _resumed(kept, tmp_path, forget):
    content = torch.load(kept.path, weights_only=True)
    forget(content)
    torch.save(content, tmp_path / "other.ckpt")
    return train(WAY, tmp_path / "resumed", seed=1, checkpoint=tmp_path / "other.ckpt")


@pytest.mark.parametrize(
    ("forget", "found"),
    [
        (_forget_curriculum, "arm of the history"),
        (_forget_random_numbers, "state after the batch"),
        (_forget_optimizer, "optimiser"),
        (_forget_schedule, "schedule"),
        (_forget_statistics, "network.1.running_mean"),
    ],
)
def test_what_a_checkpoint_lacks_is_found(forget, found, whole, tmp_path):
    told = differences(whole, _resumed(whole.kept[3], tmp_path, forget))
    assert any(found in line for line in told), told


def test_nothing_is_found_where_nothing_is_missing(whole, tmp_path):
    assert differences(whole, _resumed(whole.kept[3], tmp_path, lambda content: None)) == []
