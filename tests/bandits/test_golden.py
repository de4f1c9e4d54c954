"""Golden traces: runs recorded once, so that no change of the numbers passes unnoticed.

The files in ``golden/`` are written anew, and the tests skipped, by

    CURRICULA_REGENERATE=1 pytest tests/bandits/test_golden.py

Do this only for a change that is meant to change the numbers, and say so in the changelog: a run that is resumed across
such a change does not go on as it would have.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from curricula.bandits import (
    Boltzmann,
    DiscountedUCB,
    Exp3,
    Exp3S,
    FixedPolicy,
    OnlineDataMixing,
    SlidingWindowUCB,
    TSCLNaive,
    TSCLOnline,
    TSCLSampling,
    TSCLWindow,
    WithoutReplacement,
)
from curricula.rewards import QuantileScaler
from curricula.teacher import Teacher
from tests.bandits.checks import bandit_classes, check_trace, trace

FOLDER = Path(__file__).parent / "golden"

# Constants are given, so that the traces pin the algorithms and not the rules for the default rates.
BANDITS = {
    "exp3": lambda: Exp3(eta=0.02, epsilon=0.1),
    "exp3_beta": lambda: Exp3(eta=0.02, epsilon=0.1, beta=0.1),
    "exp3s": lambda: Exp3S(eta=0.02, epsilon=0.1),
    "exp3s_alpha": lambda: Exp3S(eta=0.02, epsilon=0.1, alpha=0.005),
    "exp3s_beta": lambda: Exp3S(eta=0.02, epsilon=0.1, beta=0.1),
    "exp3s_paper": Exp3S.paper,
    "fixed": lambda: FixedPolicy.proportional([900, 400, 100, 16, 1], temperature=2.0),
    "without_replacement": lambda: WithoutReplacement([50, 40, 30, 20, 10]),
    "boltzmann": lambda: Boltzmann(temperature=0.3, prior=[5, 4, 3, 2, 1], epsilon=0.05),
    "online_data_mixing": lambda: OnlineDataMixing(epsilon=0.2, temperature=0.3),
    "tscl_online": lambda: TSCLOnline(epsilon=0.2, absolute=True),
    "tscl_online_boltzmann": lambda: TSCLOnline(epsilon=0.0, temperature=0.3),
    "tscl_naive": lambda: TSCLNaive(repeats=4, epsilon=0.2),
    "tscl_window": lambda: TSCLWindow(window=5, epsilon=0.2),
    "tscl_sampling": lambda: TSCLSampling(window=5),
    "sliding_window_ucb": lambda: SlidingWindowUCB(window=60),
    "discounted_ucb": lambda: DiscountedUCB(gamma=0.97),
}
SCALERS = {
    "teacher_window": lambda: QuantileScaler(window=50),
    "teacher_reservoir": lambda: QuantileScaler(window=50, reservoir=True),
}


def teacher_trace(scaler: QuantileScaler) -> dict:
    """Return tasks drawn, rewards and policies of a teacher whose progress fades and comes two draws late."""
    teacher = Teacher(["a", "b", "c"], bandit=Exp3S(eta=0.02, epsilon=0.06), scaler=scaler, seed=2017)
    tasks, rewards, policies = [], [], []
    for step in range(300):
        tasks.append(teacher.draw().task)
        if step % 10 == 0:
            policies.append([float(f"{probability:.12g}") for probability in teacher.probabilities()])
        if step >= 2:
            draw = teacher.open_draws()[0]
            progress = ((draw.id * 13) % 17 + (6 if draw.arm == draw.id // 100 else 0)) / (10 + draw.id)
            rewards.append(teacher.reward(draw, progress, cost=1.0 + draw.arm))
    return {"tasks": tasks, "rewards": [float(f"{reward:.12g}") for reward in rewards], "policies": policies}


def golden(name: str, found: dict) -> dict:
    """Return the recorded trace; or record ``found``, where that is asked for."""
    file = FOLDER / f"{name}.json"
    if os.environ.get("CURRICULA_REGENERATE"):
        file.write_text(json.dumps(found, indent=None, separators=(",", ":")).replace("],", "],\n") + "\n")
        pytest.skip(f"wrote {file.name}")
    return json.loads(file.read_text())


@pytest.mark.parametrize("name", BANDITS)
def test_the_bandit_goes_as_recorded(name):
    found = trace(BANDITS[name]())
    check_trace(found, golden(name, found))


@pytest.mark.parametrize("name", SCALERS)
def test_the_teacher_goes_as_recorded(name):
    found = teacher_trace(SCALERS[name]())
    recorded = golden(name, found)
    assert found["tasks"] == recorded["tasks"]
    np.testing.assert_allclose(found["rewards"], recorded["rewards"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found["policies"], recorded["policies"], rtol=1e-9)


def test_every_bandit_has_a_trace():
    assert {type(make()) for make in BANDITS.values()} == set(bandit_classes())


def test_the_traces_are_of_runs_in_which_something_happens():
    for name in BANDITS:
        recorded = json.loads((FOLDER / f"{name}.json").read_text())
        assert set(recorded["arms"]) == set(range(5))
        assert (recorded["policies"][0] == recorded["policies"][-1]) == (name == "fixed")
    for name in SCALERS:
        recorded = json.loads((FOLDER / f"{name}.json").read_text())
        assert {-1.0, 0.0, 1.0} < set(recorded["rewards"])


def test_a_probability_off_by_a_billionth_is_noticed():
    found = trace(BANDITS["exp3s"]())
    bent = json.loads(json.dumps(found))
    bent["policies"][-1][0] *= 1 + 1e-8
    with pytest.raises(AssertionError):
        check_trace(bent, found)
    found["arms"][-1] ^= 1
    with pytest.raises(AssertionError, match="other arms were drawn"):
        check_trace(bent, found)
