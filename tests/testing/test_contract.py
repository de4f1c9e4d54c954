"""The contracts themselves: what they need, what they say, how they are run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest import SkipTest

import lightning.pytorch
import numpy as np
import pytest
import torch
from scipy.stats import binom

import curricula
from curricula.bandits import Exp3S
from curricula.rewards import QuantileScaler
from curricula.signals import PredictionGain
from curricula.testing import BanditContract, Contract, DataContract, ScalerContract, SignalContract
from curricula.testing.chance import FALSE_FAIL, OneNumber, frequency_band, global_numbers
from curricula.testing.contract import does_not_apply, refused
from curricula.testing.elsewhere import elsewhere
from curricula.testing.states import CARRIERS, check_plain, damaged, text
from tests.testing.own import Averages

ROOT = Path(curricula.__file__).parents[1]
CONTRACTS = [BanditContract, SignalContract, ScalerContract, DataContract]


def modules_after(statement):
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import curricula", {"curricula.testing"}),
        ("import curricula.testing", {"torch", "pytorch_lightning", "pytest", "hypothesis"}),
        ("from curricula.testing import SignalContract", {"pytest", "hypothesis"}),
    ],
)
def test_nobody_loads_what_they_do_not_need(statement, absent):
    assert not modules_after(statement) & absent


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'curricula.testing' has no attribute 'TeacherContract'"):
        curricula.testing.TeacherContract  # noqa: B018


# How they are run.


class Small(Contract):
    def test_that_passes(self):
        pass

    def test_that_fails(self):
        raise AssertionError("no")

    def test_that_breaks(self):
        raise KeyError("part")

    def test_that_does_not_apply(self):
        does_not_apply("of no use here")

    test_number = 3


def test_failures_are_told_by_name_and_tests_that_do_not_apply_pass():
    assert Small.promises() == ["test_that_passes", "test_that_fails", "test_that_breaks", "test_that_does_not_apply"]
    failed = Small().failures()
    assert {name: type(error) for name, error in failed.items()} == {
        "test_that_fails": AssertionError,
        "test_that_breaks": KeyError,
    }
    assert list(Small().failures("test_that_passes", "test_that_breaks")) == ["test_that_breaks"]


def test_a_promise_that_is_overridden_is_the_new_one():
    class Mine(Small):
        def test_that_fails(self):
            pass

        def test_that_breaks(self):
            pass

        def test_more(self):
            raise AssertionError("more")

    assert list(Mine().failures()) == ["test_more"]


FILE = """
from curricula.bandits import Exp3S, FixedPolicy
from curricula.testing import BanditContract


class TestMyBandit(BanditContract):
    def make(self, num_arms):
        return Mine()


class TestMyPolicy(BanditContract):
    learns = False

    def make(self, num_arms):
        return FixedPolicy()


class Mine(Exp3S):
    def describe(self):
        return "mine"
"""


def test_pytest_collects_them_from_a_file_of_the_users_own(tmp_path):
    """Also where the file is of no package, so that another process has to be told where it is."""
    (tmp_path / "test_mine.py").write_text(FILE)
    plugins = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    command = [sys.executable, "-m", "pytest", "-q", "-rfs", *plugins, "-k", "tells or earns or process"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "1 failed, 6 passed, 1 skipped" in done.stdout, done.stdout
    assert "FAILED test_mine.py::TestMyBandit::test_it_tells_its_name_and_arms_in_one_line" in done.stdout
    assert "describe() must name Mine, got 'mine'" in done.stdout
    assert "it does not learn" in done.stdout


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_contract_that_makes_nothing_says_what_to_define(contract):
    for error in contract().failures(*contract.promises()[:3]).values():
        assert isinstance(error, NotImplementedError)
        method = "tasks" if contract is DataContract else "make"
        assert f"define {contract.__name__}.{method}(self" in str(error)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_promise_says_what_it_is(contract):
    for name in contract.promises():
        assert len(getattr(contract, name).__doc__.splitlines()[0]) > 30, name


@pytest.mark.parametrize(
    ("contract", "start", "end"),
    [
        (BanditContract, "## A bandit", "## A signal"),
        (SignalContract, "## A signal", "## A scaler"),
        (ScalerContract, "## A scaler", "## Tasks, and a loader"),
        (DataContract, "## Tasks, and a loader", "## How far"),
    ],
)
def test_the_page_has_every_promise_and_no_other(contract, start, end):
    page = (ROOT / "docs" / "testing.md").read_text()
    rows = [line.split("`")[1] for line in page.split(start)[1].split(end)[0].splitlines() if line[:7] == "| `test"]
    assert sorted(rows) == sorted(contract.promises())


# What they are made of.


def test_what_must_be_refused_is_told_from_what_was_taken_and_from_other_errors():
    with refused("it", ValueError):
        raise ValueError
    message = "it must be refused with ValueError or TypeError, but it was taken"
    with pytest.raises(AssertionError, match=message), refused("it", ValueError, TypeError):
        pass
    message = "it must be refused with ValueError, got KeyError: 'part'"
    with pytest.raises(AssertionError, match=message), refused("it", ValueError):
        raise KeyError("part")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {"b": [1, np.float64(2)]}}, r"state\['a'\]\['b'\]\[1\] must be .* got numpy.float64"),
        ({"a": np.zeros(2)}, r"got numpy.ndarray: use array.tolist"),
        ({"a": {1: 2}}, r"keys in state\['a'\] must be strings, got 1"),
        ({"a": float("nan")}, r"state\['a'\] must be finite, got nan"),
        ({"a": {1, 2}}, "got builtins.set"),
        ({"a": (1, [None, True, "x", 1.5, 1])}, None),
    ],
)
def test_what_is_plain(state, message):
    if message is None:
        check_plain(state)
        assert text(CARRIERS["JSON"](state)) == text(CARRIERS["torch.load(weights_only=True)"](state)) == text(state)
    else:
        with pytest.raises(AssertionError, match=message):
            check_plain(state)


def test_texts_tell_numbers_apart_that_are_equal():
    assert len({text({"a": value}) for value in (1, 1.0, True, "1", 1.0000000000000002)}) == 5


def test_a_state_is_damaged_in_every_part():
    found = dict(damaged({"a": 1, "b": [1, 2], "c": []}))
    assert found == {
        "a state without 'a'": {"b": [1, 2], "c": []},
        "a state without 'b'": {"a": 1, "c": []},
        "a state whose 'b' is one too short": {"a": 1, "b": [1], "c": []},
        "a state without 'c'": {"a": 1, "b": [1, 2]},
    }


def test_the_number_that_is_known_is_given_once_and_nothing_else_is_there():
    numbers = OneNumber(0.25)
    assert numbers.random() == 0.25
    with pytest.raises(AssertionError, match="it took two"):
        numbers.random()
    with pytest.raises(AssertionError, match=r"asked for rng\.choice"):
        numbers.choice(3)


def test_frequencies_leave_their_band_no_more_often_than_is_stated():
    """By the exact binomial tail; and no band is so wide that it would see nothing."""
    for draws, probability, count in [(20_000, 0.25, 1), (20_000, 0.01, 4), (1500, 0.2, 30), (100, 0.5, 1)]:
        band, mean = frequency_band(draws, probability, count), draws * probability
        tail = binom.sf(np.ceil(mean + band) - 1, draws, probability)
        tail += binom.cdf(np.floor(mean - band), draws, probability)
        assert tail <= FALSE_FAIL / count
    assert frequency_band(20_000, 0.25) < 7 * np.sqrt(20_000 * 0.25 * 0.75)


def test_global_streams_that_moved_are_told():
    before = global_numbers()
    assert global_numbers() == before
    np.random.rand()  # noqa: NPY002
    assert global_numbers() != before


class OfABandit(BanditContract):
    def make(self, num_arms):
        return Exp3S()


class OfAScaler(ScalerContract):
    def make(self):
        return QuantileScaler()


class OfASignal(SignalContract):
    def make(self):
        return PredictionGain()


@pytest.mark.parametrize(
    ("contract", "name"),
    [
        (OfABandit, "test_two_runs_agree_whatever_the_global_random_numbers"),
        (OfAScaler, "test_two_runs_agree_whatever_the_global_random_numbers"),
        (OfASignal, "test_it_measures_something_at_every_step"),
    ],
)
def test_the_contracts_leave_the_global_streams_of_other_tests_alone(contract, name):
    before, torchs, threads = global_numbers(), torch.get_rng_state(), torch.get_num_threads()
    assert contract().failures(name) == {}
    assert global_numbers() == before
    assert torch.equal(torch.get_rng_state(), torchs)
    assert torch.get_num_threads() == threads


class OfTheOtherPackage(lightning.pytorch.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return {"loss": (self.layer(inputs) - targets).square().mean()}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def test_the_module_of_a_signal_may_be_of_either_package_and_return_a_dictionary():
    class Own(OfASignal):
        def model(self):
            return OfTheOtherPackage()

    assert Own().failures() == {}


def test_an_object_whose_class_no_other_process_could_find_is_left_out():
    class Hidden(Averages):
        pass

    with pytest.raises(SkipTest, match="Hidden is made within a function, and no other process could find it"):
        elsewhere(repr, Hidden())


def test_an_error_in_the_other_process_is_shown():
    with pytest.raises(AssertionError, match=r"the other process failed:[\s\S]*RuntimeError: call Averages.reset"):
        elsewhere(Averages.draw, Averages(), None)
