"""The generated ways to train: how many there are, that they hold everything, and that a seed tells them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from curricula import bandits
from tests.generated import test_resumes_first, test_resumes_second, test_resumes_third
from tests.generated.data import make_tasks
from tests.generated.resumes import RESUMES, SEEDS
from tests.generated.runs import make_callback
from tests.generated.ways import OPTIONS, SIGNALS, SIZES, make_way
from tests.signals.kinds import measuring_classes

WAYS = [make_way(seed) for seed in SEEDS]


def test_three_hundred_resumes_of_more_than_sixty_trainers_are_tested():
    files = (test_resumes_first, test_resumes_second, test_resumes_third)
    seeds = [seed for file in files for seed in file.OWN_SEEDS]
    assert sorted(seeds) == list(SEEDS)
    assert len(set(WAYS)) == len(WAYS) == len(seeds) >= 60
    assert len(seeds) * RESUMES >= 300


@pytest.mark.parametrize("option", OPTIONS)
def test_every_value_of_every_option_occurs(option):
    assert {getattr(way, option) for way in WAYS} == set(OPTIONS[option])


def test_every_signal_meets_every_kind_of_checkpoint():
    assert set(SIGNALS) == {kind.__name__ for kind in measuring_classes()}
    drawn = {
        (SIGNALS[seed % len(SIGNALS)], OPTIONS["checkpoints"][seed % len(OPTIONS["checkpoints"])]) for seed in SEEDS
    }
    assert len(drawn) == len(SIGNALS) * len(OPTIONS["checkpoints"])


def test_every_bandit_occurs():
    kinds = {make_callback(way)._curriculum._teacher_options["bandit"].__class__.__name__ for way in WAYS}
    assert kinds == set(bandits.__all__) - {"Bandit", "Pull"}


def test_tasks_have_the_sizes_that_ways_count_with():
    way = next(way for way in WAYS if way.data == "map")
    assert tuple(len(task) for task in make_tasks(way).values()) == SIZES


def test_a_seed_tells_the_same_way_in_another_process_with_other_hashes():
    script = "from tests.generated.ways import make_way; print(*map(make_way, range(20)), sep=chr(10))"
    root = Path(__file__).parents[2]
    told = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={"PYTHONHASHSEED": "77", "PYTHONPATH": str(root), "PATH": ""},
    )
    assert told.stdout.splitlines() == [str(way) for way in WAYS[:20]]
