"""The global random streams come back exactly, whoever drew from them and however."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from curricula.signals.random_state import RandomState

CPU = torch.device("cpu")

DRAWS = {
    "nothing": lambda: None,
    "torch": lambda: torch.rand(3),
    "python": random.random,
    "a python gaussian": lambda: random.gauss(0, 1),
    "numpy": np.random.rand,
    "a numpy gaussian": np.random.randn,
    "two numpy gaussians": lambda: (np.random.randn(), np.random.randn()),  # noqa: NPY002
    "a new numpy seed": lambda: np.random.seed(3),  # noqa: NPY002
    "700 numpy numbers": lambda: np.random.rand(700),  # noqa: NPY002
}
every_draw = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())


def streams():
    """What the streams give from here on, gaussians included."""
    return (
        torch.rand(5).tolist(),
        [random.random(), random.gauss(0, 1)],
        np.random.randn(3).tolist(),  # noqa: NPY002
        np.random.rand(3).tolist(),  # noqa: NPY002
    )


def expected(prepare):
    seed()
    prepare()
    return streams()


def seed():
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002


@every_draw
@pytest.mark.parametrize("before", DRAWS.values(), ids=DRAWS.keys())
def test_the_streams_come_back_whatever_was_drawn_before_and_since(before, draw):
    wanted = expected(before)
    seed()
    before()
    state = RandomState(CPU)
    draw()
    state.restore()
    assert streams() == wanted


@every_draw
def test_an_old_moment_comes_back_after_newer_ones_were_captured(draw):
    wanted = expected(draw)
    seed()
    draw()
    old = RandomState(CPU)
    for other in DRAWS.values():
        other()
        RandomState(CPU)
    old.restore()
    assert streams() == wanted


@every_draw
def test_going_back_and_forth_between_two_moments(draw):
    wanted = expected(lambda: None), expected(draw)
    seed()
    first = RandomState(CPU)
    draw()
    second = RandomState(CPU)
    for _ in range(3):
        first.restore()
        assert streams() == wanted[0]
        second.restore()
        assert streams() == wanted[1]


def test_another_generator_behind_numpys_stream_is_respected():
    own = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(3))
        state = RandomState(CPU)
        first = np.random.rand(3).tolist()  # noqa: NPY002
        state.restore()
        assert np.random.rand(3).tolist() == first  # noqa: NPY002
    finally:
        np.random.set_bit_generator(own)
