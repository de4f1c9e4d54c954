"""Counter-based random numbers: a pure function of the seed, the stream, the lane and the position."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import curricula
from curricula.randomness import CounterGenerator, Stream, check_seed, numbers_at

MOST = 2**64 - 1


def numbers(seed=0, stream=Stream.DRAWS, position=0, lane=0, count=8):
    return CounterGenerator(seed, stream).at(position, lane).random(count).tolist()


def test_a_position_always_has_the_same_numbers():
    generator = CounterGenerator(3, Stream.DRAWS)
    forward = [generator.at(position).random() for position in range(20)]
    backward = [generator.at(position).random() for position in reversed(range(20))]
    assert forward == backward[::-1]
    assert forward == [numbers(3, position=position)[0] for position in range(20)]


def test_what_was_taken_at_one_position_does_not_move_another():
    generator = CounterGenerator(3, Stream.DRAWS)
    generator.at(5).random(1000)
    generator.at(5).integers(10, dtype=np.int32)  # leaves half a word in numpy's buffer
    assert generator.at(6).random() == numbers(3, position=6)[0]
    half = CounterGenerator(3, Stream.DRAWS).at(6).integers(2**31, size=3, dtype=np.int32).tolist()
    assert generator.at(6).integers(2**31, size=3, dtype=np.int32).tolist() == half


def test_seeds_streams_lanes_and_positions_are_all_different_numbers():
    places = [
        (seed, stream, position, lane)
        for seed in (0, 1, MOST)
        for stream in Stream
        for position in (0, 1, 2, MOST)
        for lane in (0, 1, 2, MOST)
    ]
    seen = [number for place in places for number in numbers(*place, count=4)]
    assert len(set(seen)) == len(seen)


def test_neighbours_do_not_share_numbers_however_many_are_taken():
    long = numbers(count=50_000)
    for other in ({"position": 1}, {"lane": 1}, {"stream": Stream.RESERVOIR}, {"seed": 1}):
        assert not set(long) & set(numbers(**other, count=50_000))


@pytest.mark.parametrize("step", [{"position": 1}, {"lane": 1}, {"stream": 1}, {"seed": 1}])
def test_neighbours_are_uncorrelated(step, any_seed):
    """For independent uniforms the correlation of 4000 pairs is beyond 0.1 with chance < 1e-9 (6.3 sigma)."""
    place = {"seed": 5 + 2 * any_seed, "stream": 0, "position": 0, "lane": 0}
    other = {key: value + step.get(key, 0) for key, value in place.items()}
    assert abs(np.corrcoef(numbers(**place, count=4000), numbers(**other, count=4000))[0, 1]) < 0.1


def test_the_first_numbers_of_successive_positions_are_uniform(any_seed):
    """Hoeffding: the share below any of 9 marks is off by 0.04 in 10,000 with chance <= 18 exp(-32) < 1e-12."""
    generator = CounterGenerator(1 + any_seed, Stream.DRAWS)
    first = np.array([generator.at(position).random() for position in range(10_000)])
    for mark in np.arange(1, 10) / 10:
        assert abs((first < mark).mean() - mark) < 0.04


def test_the_numbers_are_those_of_philox_at_that_counter():
    bits = np.random.Philox(key=[7, int(Stream.TASK_ORDER)], counter=[0, 0, 3, 11])
    assert numbers(7, Stream.TASK_ORDER, position=11, lane=3) == np.random.Generator(bits).random(8).tolist()


@pytest.mark.parametrize("seed", [0, 7, MOST, np.uint64(MOST)])
@pytest.mark.parametrize("stream", Stream)
def test_the_generator_of_the_thread_has_the_numbers_of_one_of_its_own(seed, stream):
    for position, lane in [(0, 0), (3, 5), (MOST, MOST)]:
        numbers_at(1, Stream.DRAWS, position=9).integers(10, dtype=np.int32)  # leaves half a word in numpy's buffer
        found = numbers_at(seed, stream, position, lane)
        assert found.integers(10, size=3, dtype=np.int32).tolist() == (
            CounterGenerator(seed, stream).at(position, lane).integers(10, size=3, dtype=np.int32).tolist()
        )
        assert numbers_at(seed, stream, position, lane).permutation(9).tolist() == (
            CounterGenerator(seed, stream).at(position, lane).permutation(9).tolist()
        )


def test_threads_do_not_move_one_anothers_generator():
    here = numbers_at(7, Stream.TASK_ORDER, position=3)
    there = []
    thread = threading.Thread(target=lambda: there.append(numbers_at(8, Stream.TASK_ORDER, position=4).random()))
    thread.start()
    thread.join()
    assert here.random() == numbers(7, Stream.TASK_ORDER, 3)[0]
    assert there == numbers(8, Stream.TASK_ORDER, 4)[:1]


def test_a_generator_that_is_kept_is_not_moved_by_that_of_the_thread():
    kept = CounterGenerator(7, Stream.DRAWS).at(3)
    numbers_at(8, Stream.TASK_ORDER, position=4).random(5)
    assert kept.random() == numbers(7, Stream.DRAWS, 3)[0]


def test_the_streams_keep_their_numbers():
    """They are in checkpoints and golden traces, if only by what was drawn with them."""
    assert {stream.name: int(stream) for stream in Stream} == {
        "DRAWS": 0,
        "RESERVOIR": 1,
        "TASK_ORDER": 2,
        "TASK_ITERATOR": 3,
        "PROBE_ORDER": 4,
        "PROBE_ITERATOR": 5,
        "PROBE_TASK": 6,
        "WORKERS": 7,
    }


PROGRAM = """
import json, sys
from curricula.randomness import CounterGenerator, Stream
from curricula.teacher import Teacher
numbers = CounterGenerator(7, Stream.TASK_ORDER)
teacher = Teacher(["easy", "medium", "hard"], seed=7, horizon=100)
drawn = []
for step in range(100):
    draw = teacher.draw()
    teacher.reward(draw, progress=draw.arm * (step % 7))
    drawn.append(draw.task)
sys.stdout.write(json.dumps([hash("easy"), [numbers.at(9, lane).random() for lane in range(5)], drawn]))
"""


def test_another_process_with_other_hashes_draws_the_same():
    results = []
    for hash_seed in ("1", "2"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": str(Path(curricula.__file__).parent.parent),
        }
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
        )
        results.append(json.loads(run.stdout))
    (one_hash, *one), (other_hash, *other) = results
    assert one_hash != other_hash
    assert one == other
    assert one[0] == [numbers(7, Stream.TASK_ORDER, 9, lane)[0] for lane in range(5)]


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ValueError, match=rf"seed must be in \[0, 2\*\*64\), got {seed}"):
        CounterGenerator(seed, Stream.DRAWS)


@pytest.mark.parametrize("seed", [1.0, "1", None, True])
def test_a_seed_that_is_not_an_int_is_refused(seed):
    with pytest.raises(TypeError, match="seed must be an int, got"):
        check_seed(seed)


def test_a_numpy_seed_is_the_same_seed():
    assert numbers(np.int64(5)) == numbers(5)
    assert numbers(np.uint64(MOST)) == numbers(MOST)
