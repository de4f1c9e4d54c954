"""Ten million rewards of every hostile kind: the policy stays one, and the one that is written out at every step.

Run ``python -m tests.soak.updates --updates 10000000 --out docs/results``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curricula import Teacher
from curricula.bandits import Bandit, Exp3, Exp3S
from tests.bandits.dense import DenseExp3S

ARMS = 10
CHECK_EVERY = 100_000

BANDITS: dict[str, Callable[[], Bandit]] = {
    "Exp3S()": Exp3S,
    "Exp3S(eta=1, epsilon=0.1)": lambda: Exp3S(eta=1.0, epsilon=0.1),
    "Exp3S(beta=0.1)": lambda: Exp3S(beta=0.1),
    "Exp3S.paper()": Exp3S.paper,
    "Exp3()": Exp3,
}

PROGRESS: dict[str, Callable[[int, int], float]] = {
    "one task is best": lambda step, arm: float(arm == 3),
    "the best task changes": lambda step, arm: float(arm == step // 100_000 % ARMS),
    "smaller and smaller": lambda step, arm: math.exp(-step / 50_000) * (arm + 1),
    "larger than floats add up": lambda step, arm: 1.7e308 if (step + arm) % 3 else -1.7e308,
    "not finite now and then": lambda step, arm: math.nan if step % 7 == 0 else float(arm),
}


def last(updates: int, make: Callable[[], Bandit], progress: Callable[[int, int], float]) -> dict[str, Any]:
    """Reward a teacher so often and return how far its policy ever was from one, and from that without a tree."""
    teacher = Teacher([str(arm) for arm in range(ARMS)], bandit=make(), horizon=updates)
    twin = without_a_tree(teacher.bandit)
    worst, least, apart, start = 0.0, 1.0, 0.0, time.perf_counter()
    for step in range(updates):
        draw = teacher.draw()
        reward = teacher.reward(draw, progress(step, draw.arm))
        if twin is not None and reward is not None:
            twin.update(draw.arm, reward, draw.probability)
        if step % CHECK_EVERY == 0 or step == updates - 1:
            policy = teacher.probabilities().tolist()
            worst = max(worst, abs(math.fsum(policy) - 1.0))
            least = min(least, *policy)
            if twin is not None:
                apart = max(apart, float(abs(teacher.probabilities() - twin.probabilities()).max()))
    json.dumps(teacher.state_dict(), allow_nan=False)
    seconds = time.perf_counter() - start
    return {
        "updates": updates,
        "sum_off_by": worst,
        "least_probability": least,
        "off_from_dense": None if twin is None else apart,
        "microseconds": round(1e6 * seconds / updates, 1),
    }


def without_a_tree(bandit: Bandit) -> DenseExp3S | None:
    """Return a bandit that learns the same with every weight written out, where the bandit has a tree."""
    if not isinstance(bandit, Exp3S) or bandit.needs_policy:
        return None
    twin = DenseExp3S(eta=bandit.eta, epsilon=bandit.epsilon, alpha=bandit.alpha)
    twin.reset(bandit.num_arms, bandit.horizon)
    return twin


def main() -> None:
    """Write how the policy fared under every bandit and kind of progress."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=10_000_000, help="of the first pair; a tenth for all others")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    rows = []
    for name, make in BANDITS.items():
        for kind, progress in PROGRESS.items():
            updates = options.updates if not rows else options.updates // 10
            row = {"bandit": name, "progress": kind, **last(updates, make, progress)}
            assert row["sum_off_by"] <= 1e-9, row
            assert (row["off_from_dense"] or 0.0) <= 1e-9, row
            assert 0.0 < row["least_probability"] <= 1.0, row
            rows.append(row)
            print(json.dumps(row), flush=True)
    if options.out is not None:
        (options.out / "updates.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
