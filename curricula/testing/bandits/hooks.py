"""What a user of the contract of bandits says of their bandit, and what its tests share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from curricula.bandits.base import Bandit, FloatArray
from curricula.testing.contract import Contract
from curricula.testing.states import text

HORIZON = 1000


class BanditHooks(Contract):
    """How to make the bandit, and what is special about it."""

    learns: bool = True
    """Whether rewards move the policy; ``False`` for one that is fixed."""

    picklable: bool = True
    """Whether it can be pickled, as strategies that start processes do."""

    def make(self, num_arms: int) -> Bandit:
        """Return a new bandit with the options to be tested, not reset yet, for any number of arms from 1 on."""
        raise NotImplementedError(f"define {type(self).__name__}.make(self, num_arms), which returns a new bandit")

    def renumbered(self, order: Sequence[int]) -> Bandit | None:
        """Return a new bandit whose arm ``k`` is arm ``order[k]`` of the one from :meth:`make`.

        Override it where arms have options of their own; return ``None`` where the place of an arm has a meaning, so
        that renumbering makes another bandit.
        """
        return self.make(len(order))

    def floor(self, bandit: Bandit) -> float:
        """Return the probability that the bandit gives every arm at the least: by default what ``epsilon`` says."""
        return float(getattr(bandit, "epsilon", 0.0)) / bandit.num_arms

    def weights(self, bandit: Bandit) -> FloatArray:
        """Return the weights whose ratios a change of arms keeps, shape ``(num_arms,)``, sum 1; zeros for none.

        By default what the policy has above the floor.
        """
        above: FloatArray = np.maximum(0.0, bandit.probabilities() - self.floor(bandit))
        total = float(above.sum())
        return above / total if total > 1e-9 else np.zeros(bandit.num_arms)

    # ---------------------------------------------------------------- for the tests

    def started(self, num_arms: int, horizon: int | None = HORIZON) -> Bandit:
        """Return a new bandit of this many arms, ready to draw."""
        bandit = self.make(num_arms)
        bandit.reset(num_arms, horizon)
        return bandit

    def trained(self, num_arms: int, steps: int = 50, delay: int = 0) -> Bandit:
        """Return a new bandit that was rewarded at random so often."""
        bandit = self.started(num_arms)
        feed(bandit, steps, self.numbers(steps), delay)
        return bandit

    def numbers(self, which: int = 0) -> np.random.Generator:
        """Return a generator, the same one for the same ``which``."""
        return np.random.default_rng([self.seed, which])

    def check_policy(self, bandit: Bandit) -> None:
        """Fail unless the policy is a distribution with the floor that the bandit promises."""
        policy = bandit.probabilities()
        name = type(bandit).__name__
        assert isinstance(policy, np.ndarray), f"{name}.probabilities() must be a numpy array, got {policy!r}"
        assert policy.dtype == np.float64, f"{name}.probabilities() must be float64, got {policy.dtype}"
        assert policy.shape == (bandit.num_arms,), (
            f"{name}.probabilities() must have the shape ({bandit.num_arms},), got {policy.shape}"
        )
        assert np.isfinite(policy).all(), f"probabilities must be finite, got {policy}"
        assert policy.min() >= 0.0, f"probabilities must be >= 0, got {policy}"
        total = math.fsum(policy.tolist())
        assert abs(total - 1.0) <= 1e-12, f"probabilities must sum to 1 within 1e-12, got {total!r}"
        floor = self.floor(bandit)
        assert policy.min() >= floor, (
            f"every arm was promised a probability of at least {floor}, got {policy.min()}: mend the bandit, or say "
            "what it promises in floor()"
        )


def feed(bandit: Bandit, steps: int, numbers: np.random.Generator, delay: int = 0) -> list[tuple[int, float]]:
    """Draw and reward ``steps`` times at random and return arms and probabilities.

    Rewards come up to ``delay`` draws late, in any order; at the end some are still to come.
    """
    waiting: list[tuple[int, FloatArray]] = []
    drawn = []
    for _ in range(steps):
        arm = bandit.draw(numbers)
        policy = bandit.probabilities().copy()
        drawn.append((arm, float(policy[arm])))
        waiting.append((arm, policy))
        if len(waiting) > delay:
            late, then = waiting.pop(int(numbers.integers(len(waiting))))
            bandit.update(late, float(numbers.uniform(-1, 1)), float(then[late]), then)
    return drawn


def snapshot(bandit: Bandit) -> tuple[str, list[float]]:
    """Return what can be seen of a bandit, for comparisons."""
    return text(bandit.state_dict()), bandit.probabilities().tolist()


@contextmanager
def unchanged(bandit: Bandit, what: str) -> Iterator[None]:
    """Fail if the block changes what can be seen of the bandit."""
    before = snapshot(bandit)
    yield
    after = snapshot(bandit)
    assert after[0] == before[0], f"{what} must change nothing, but the state went from {before[0]} to {after[0]}"
    assert after[1] == before[1], f"{what} must change nothing, but the policy went from {before[1]} to {after[1]}"


def run(bandit: Bandit, num_arms: int, seed: int, steps: int = 60) -> dict[str, Any]:
    """Reset the bandit, run it and return all that was seen, for comparisons across processes."""
    bandit.reset(num_arms, HORIZON)
    drawn, policies, numbers = [], [], np.random.default_rng([seed, steps])
    for _ in range(steps):
        drawn += feed(bandit, 1, numbers)
        policies.append(bandit.probabilities().tolist())
    return {"draws": [list(pair) for pair in drawn], "policies": policies, "state": text(bandit.state_dict())}
