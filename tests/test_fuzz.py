"""Ten thousand runs of progress of every kind: the policy stays a distribution, and nobody raises."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curricula import Teacher
from curricula.bandits import Exp3, Exp3S, FixedPolicy
from curricula.rewards import QuantileScaler

BANDITS = (
    Exp3S,
    Exp3S.paper,
    Exp3,
    FixedPolicy.uniform,
    lambda: Exp3S(beta=0.1),
    lambda: Exp3S(eta=50.0, epsilon=1e-3),
    lambda: Exp3S(eta=1e-300, epsilon=1.0),
    lambda: Exp3S(eta=1.0, epsilon=0.0, alpha=0.5),
    lambda: Exp3(eta=10.0, epsilon=0.01),
)
SCALERS = (
    QuantileScaler,
    QuantileScaler.paper,
    lambda: QuantileScaler(warmup=1, window=2),
    lambda: QuantileScaler(warmup=1, low=0.0, high=1.0),
    lambda: QuantileScaler(warmup=2, window=3, reservoir=True),
)
EXTREMES = [0.0, -0.0, 1e308, -1e308, 1.7976931348623157e308, 5e-324, -5e-324, 1.0, -1.0, 1e-300]
UNKNOWN = [math.inf, -math.inf, math.nan]

progress = st.one_of(st.sampled_from(EXTREMES + UNKNOWN), st.floats())
cost = st.sampled_from([1.0, 1.0, 1.0, 5e-324, 1e308, 3.0])
run = st.one_of(
    st.lists(st.tuples(progress, cost), max_size=8),
    st.tuples(st.sampled_from(EXTREMES + UNKNOWN), st.integers(0, 25)).map(lambda same: [(same[0], 1.0)] * same[1]),
)
kinds = st.sampled_from(list(product(BANDITS, SCALERS, (2, 1, 3, 40), (None, 1, 1000), (False, True))))


@settings(derandomize=True, deadline=None, database=None, max_examples=3_000, suppress_health_check=list(HealthCheck))
@given(kinds, run)
def test_whatever_the_progress_the_policy_is_a_distribution_above_its_floor(kinds, run):
    bandit, scaler, tasks, horizon, late = kinds
    teacher = Teacher([str(task) for task in range(tasks)], bandit=bandit(), scaler=scaler(), horizon=horizon)
    floor = getattr(teacher.bandit, "epsilon", 1.0) / tasks
    waiting = [teacher.draw() for _ in range(3)] if late else []
    for given_progress, given_cost in run:
        waiting.append(teacher.draw())
        reward = teacher.reward(waiting.pop(0), given_progress, given_cost)
        if not math.isfinite(given_progress):
            assert reward is None
        assert reward is None or -1.0 <= reward <= 1.0
    policy = teacher.probabilities()
    assert abs(math.fsum(policy) - 1.0) <= 1e-12
    assert policy.min() >= floor * (1 - 1e-12)
    assert sum(teacher.skipped) + teacher.updates == len(run)
    if not teacher.updates:
        np.testing.assert_allclose(policy, 1 / tasks, rtol=0, atol=1e-12, err_msg="nothing was learned")
