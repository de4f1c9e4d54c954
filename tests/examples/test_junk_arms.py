import itertools
from dataclasses import replace

import pytest

from examples.compare.problem import Job
from examples.compare.problems import parity
from examples.compare.training import train
from examples.junk_arms import junk_arms


def labels_and_products(task, factors, batches=20):
    for inputs, labels in itertools.islice(task, batches):
        yield labels, (inputs[:, :factors].prod(dim=1) > 0).float()


def test_useful_tasks_and_copies_follow_their_parity():
    tasks = junk_arms().tasks(0)
    factors = {f"k={k}": k for k in range(1, 5)} | {f"easy copy {n}": 1 for n in range(1, 7)}
    assert list(tasks) == [*factors, *(f"noise {n}" for n in range(1, 11))]
    for name, k in factors.items():
        assert all(labels.equal(product) for labels, product in labels_and_products(tasks[name], k))


def test_labels_of_noise_are_coin_flips(any_seed):
    for name in ("noise 1", "noise 10"):
        pairs = list(labels_and_products(junk_arms().tasks(any_seed)[name], 1))
        assert sum(float(labels.mean()) for labels, _ in pairs) / len(pairs) == pytest.approx(0.5, abs=0.06)
        agreement = sum(float((labels == product).float().mean()) for labels, product in pairs) / len(pairs)
        assert agreement == pytest.approx(0.5, abs=0.06)


def test_every_task_has_its_own_code_and_streams_repeat():
    tasks, again, other = (junk_arms(useful=2, noise=2, duplicates=1).tasks(seed) for seed in (0, 0, 1))
    for arm, name in enumerate(tasks):
        inputs, labels = next(iter(tasks[name]))
        assert inputs[:, 30:].sum(0).tolist() == [64.0 * (arm == column) for column in range(5)]
        assert inputs.equal(next(iter(again[name]))[0])
        assert labels.equal(next(iter(again[name]))[1])
        assert not inputs.equal(next(iter(other[name]))[0])


@pytest.mark.parametrize(("noise", "duplicates"), [(10, 6), (0, 0)])
def test_a_run_is_judged_by_the_useful_tasks(noise, duplicates):
    problem = replace(parity(junk_arms(noise=noise, duplicates=duplicates)), budget=50)
    assert list(problem.held_out()) == ["k=1", "k=2", "k=3", "k=4"]
    assert problem.useful == (["k=1", "k=2", "k=3", "k=4"] if noise else None)
    record = train(problem, Job(problem.name, "curriculum", 2e-3, 0))
    assert record.steps == [50]
    assert len(record.draws) == 4 + noise + duplicates
