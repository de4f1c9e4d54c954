"""What the bandit tests are made of, apart from the tests so that mutants can be put through the same checks.

The contract of all bandits is :class:`curricula.testing.BanditContract`; here are the bandits that it is run over, and
the checks of the printed equations. Each takes what it checks and raises ``AssertionError`` where it is wrong.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from curricula import bandits
from curricula.bandits import Bandit, Exp3, Exp3S, FixedPolicy, TSCLNaive, WithoutReplacement
from curricula.bandits.values import AveragingBandit, ValueBandit
from curricula.randomness import CounterGenerator, Stream
from curricula.testing import BanditContract
from curricula.testing.contract import does_not_apply
from tests.bandits.reference import Reference

MakeBandit = Callable[[Sequence[int]], Bandit]
"""Makes a bandit for the arms given; the options of arm ``k`` are those of the number at place ``k``."""


def bandit_classes() -> list[type[Bandit]]:
    """Return every concrete bandit that the package exports."""
    exported = [getattr(bandits, name) for name in bandits.__all__]
    kinds = [cls for cls in exported if inspect.isclass(cls) and issubclass(cls, Bandit)]
    return [cls for cls in kinds if not inspect.isabstract(cls)]


def cases() -> dict[str, MakeBandit]:
    """Return every bandit to be tested: all exported classes as they come, and the variants of the known ones."""
    plain: dict[str, MakeBandit] = {f"{cls.__name__}()": lambda arms, cls=cls: cls() for cls in bandit_classes()}
    return {
        **plain,
        "Exp3(eta,epsilon=0)": lambda arms: Exp3(eta=0.05, epsilon=0.0),
        "Exp3(beta)": lambda arms: Exp3(eta=0.02, epsilon=0.1, beta=0.1),
        "Exp3(beta,epsilon=0)": lambda arms: Exp3(eta=0.02, epsilon=0.0, beta=0.1),
        "Exp3S.paper()": lambda arms: Exp3S.paper(),
        "Exp3S(beta)": lambda arms: Exp3S(beta=0.1),
        "Exp3S(alpha)": lambda arms: Exp3S(eta=0.05, epsilon=0.2, alpha=1e-3),
        "Exp3S(hardly any alpha)": lambda arms: Exp3S(eta=0.05, epsilon=0.2, alpha=1e-300),
        "Exp3S(epsilon=0)": lambda arms: Exp3S(eta=0.05, epsilon=0.0),
        "Exp3S(epsilon=1)": lambda arms: Exp3S(eta=0.05, epsilon=1.0),
        "FixedPolicy(weights)": lambda arms: FixedPolicy([float(arm) for arm in arms] if len(arms) > 1 else [1.0]),
        "FixedPolicy.proportional": lambda arms: FixedPolicy.proportional([arm + 1 for arm in arms], temperature=2.0),
        "WithoutReplacement()": lambda arms: WithoutReplacement([3 * arm + 1 for arm in arms]),
        "WithoutReplacement(0)": lambda arms: WithoutReplacement([2 * arm for arm in arms] if len(arms) > 1 else [5]),
    }


def new(cls: type[Bandit], num_arms: int = 3) -> Bandit:
    """Return a bandit of this class as it comes."""
    return cases()[f"{cls.__name__}()"](range(num_arms))


class OurBandit(BanditContract):
    """The contract of bandits over one of :func:`cases`."""

    case: str

    def make(self, num_arms):
        return cases()[self.case](range(num_arms))

    def renumbered(self, order):
        return cases()[self.case](order)

    def floor(self, bandit):
        return 0.0 if isinstance(bandit, TSCLNaive) else super().floor(bandit)

    def weights(self, bandit):
        if not isinstance(bandit, ValueBandit):
            return super().weights(bandit)
        if not isinstance(bandit, AveragingBandit):  # a new arm has nothing that could be averaged
            return np.zeros(bandit.num_arms)
        return (bandit.values() + 1.0) / (bandit.values() + 1.0).sum()

    def test_what_earns_more_is_drawn_more(self):
        self._unless_in_a_row()
        super().test_what_earns_more_is_drawn_more()

    def test_late_rewards_are_learned_from(self):
        self._unless_in_a_row()
        super().test_late_rewards_are_learned_from()

    def _unless_in_a_row(self):
        if self.case == "TSCLNaive()":
            does_not_apply("a task that was begun is drawn to its end, whatever it earns: see test_tscl.py")

    @property
    def learns(self):
        return not self.case.startswith(("FixedPolicy", "WithoutReplacement")) and self.case != "Exp3S(epsilon=1)"


def contract(make: Callable[[], Bandit]) -> BanditContract:
    """Return the contract over what ``make`` makes, for any number of arms."""

    class Own(BanditContract):
        def make(self, num_arms):
            return make()

    return Own()


# Exp3 and Exp3.S: the printed equations.


def check_follows_paper(
    make: Callable[..., Exp3],
    *,
    num_arms: int = 4,
    steps: int = 200,
    delay: int = 2,
    eta: float = 0.05,
    epsilon: float = 0.1,
    beta: float = 0.0,
    shared: bool = True,
    seed: int = 0,
    **share_options: float | None,
) -> None:
    """Log-weights (up to a common shift) and probabilities are within 1e-10 of the equations at 30 digits.

    Rewards arrive up to ``delay`` draws late and out of order, with the probabilities of the draw.
    """
    bandit = make(eta=eta, epsilon=epsilon, beta=beta, **share_options)
    bandit.reset(num_arms, steps)
    reference = Reference(num_arms, eta=eta, epsilon=epsilon, beta=beta, shared=shared, **share_options)
    rng = np.random.default_rng(seed)
    waiting: list[tuple[int, np.ndarray]] = []
    for step in range(steps):
        policy = bandit.probabilities().copy()
        arm = int(rng.choice(num_arms, p=policy / policy.sum()))
        waiting.append((arm, policy))
        if len(waiting) > delay:
            arm, policy = waiting.pop(int(rng.integers(len(waiting))))
            reward = float(np.clip(rng.normal(0.3 if arm == step * 5 // steps % num_arms else -0.1, 0.5), -1, 1))
            bandit.update(arm, reward, float(policy[arm]), policy if beta else None)
            reference.update(arm, reward, float(policy[arm]), policy.tolist())
            if step % 25 == 0 or step < 20 or step >= steps - 1:
                _compare(bandit, reference)


def _compare(bandit: Exp3, reference: Reference) -> None:
    wanted = [float(w) for w in reference.log_weights()]
    np.testing.assert_allclose(bandit.log_weights(), wanted, rtol=0, atol=1e-10)
    np.testing.assert_allclose(bandit.probabilities(), [float(p) for p in reference.policy()], rtol=0, atol=1e-10)


def check_one_step(cls: type[Exp3S]) -> None:
    """The first two updates of three arms, worked out by hand in linear weights."""
    eta, epsilon = 0.1, 0.06
    bandit = cls(eta=eta, epsilon=epsilon)
    bandit.reset(3)
    first, late = math.exp(eta * 1.0 / 0.25), math.exp(eta * -0.5 / 0.4)
    bandit.update(1, 1.0, 0.25)  # alpha_2 = 1/2, of which each other arm gets half
    a = [0.5 + 0.25 * (first + 1), 0.5 * first + 0.25 * 2, 0.5 + 0.25 * (first + 1)]
    check_weights(bandit, a, epsilon)
    bandit.update(2, -0.5, 0.4)  # alpha_3 = 1/3, of which each other arm gets half
    a = [a[0], a[1], a[2] * late]
    b = [2 / 3 * a[0] + (a[1] + a[2]) / 6, 2 / 3 * a[1] + (a[0] + a[2]) / 6, 2 / 3 * a[2] + (a[0] + a[1]) / 6]
    check_weights(bandit, b, epsilon)


def check_weights(bandit: Exp3, weights: Sequence[float], epsilon: float) -> None:
    """The policy and the log-weights are those of these linear weights."""
    total = math.fsum(weights)
    shares = [weight / total for weight in weights]
    policy = [(1 - epsilon) * part + epsilon / len(shares) for part in shares]
    np.testing.assert_allclose(bandit.probabilities(), policy, rtol=1e-13)
    np.testing.assert_allclose(bandit.log_weights(), np.log(shares), rtol=1e-13, atol=1e-14)


def check_first_alpha_is_a_half(cls: type[Exp3S]) -> None:
    """With two arms alpha_2 = 1/2 erases the first update exactly; alpha_1 = 1 would swap the arms."""
    for arm, reward in ((0, 1.0), (1, 1.0), (0, -1.0)):
        bandit = cls(eta=0.1, epsilon=0.2)
        bandit.reset(2)
        bandit.update(arm, reward, 0.5)
        np.testing.assert_allclose(bandit.probabilities(), [0.5, 0.5], rtol=0, atol=1e-15)
        bandit.update(arm, reward, 0.5)
        assert (bandit.probabilities()[arm] - 0.5) * reward > 0.01


def check_optimism(cls: type[Exp3]) -> None:
    """Beta is added to every arm's reward and divided by that arm's own probability at the draw."""
    bandit = cls(eta=0.1, epsilon=0.1, beta=0.2, **({"alpha": 1e-300} if issubclass(cls, Exp3S) else {}))
    bandit.reset(3)
    bandit.update(1, 0.5, 0.3, np.array([0.5, 0.3, 0.2]))
    check_weights(bandit, [math.exp(0.1 * 0.2 / 0.5), math.exp(0.1 * 0.7 / 0.3), math.exp(0.1 * 0.2 / 0.2)], 0.1)


def check_share(share: Callable[[np.ndarray, float], np.ndarray]) -> None:
    """Sharing keeps the sum, gives each other arm its part, and loses nothing where one arm holds nearly all."""
    np.testing.assert_allclose(share(np.array([4.0, 1.0, 1.0]) / 6, 0.5), np.array([2.5, 1.75, 1.75]) / 6, rtol=1e-15)
    rng = np.random.default_rng(7)
    for num_arms in (2, 3, 10):
        for alpha in (0.0, 1e-12, 0.01, (num_arms - 1) / num_arms):
            weights = np.exp(rng.normal(0, 20, num_arms))
            weights /= weights.sum()
            shared = share(weights.copy(), alpha)
            assert math.isclose(math.fsum(shared), math.fsum(weights), rel_tol=1e-14)
            for i in range(num_arms):
                others = math.fsum(weight for j, weight in enumerate(weights) if j != i)
                exact = (1 - alpha) * weights[i] + alpha / (num_arms - 1) * others
                assert math.isclose(shared[i], exact, rel_tol=1e-12)


def check_survives(bandit: Exp3, reward: float, updates: int) -> None:
    """All arms in turn earn the same extreme reward for very long, and every number stays finite."""
    bandit.reset(3, updates)
    update, probabilities = bandit.update, bandit.probabilities
    for step in range(updates):
        arm = step % 3
        probability = float(probabilities()[arm])
        assert probability > 0.0, f"{probability} after {step} updates"  # false for NaN as well
        update(arm, reward, probability)
    BanditContract().check_policy(bandit)
    json.dumps(bandit.state_dict(), allow_nan=False)


# Regret.


def piecewise_rewards(horizon: int, num_arms: int, segments: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rewards ``(T, N)`` of -1 or +1, +1 with chance .9 for the best arm and .1 for the others; and that arm.

    The rewards are laid down before the first draw and the best arm changes ``segments - 1`` times.
    """
    best = np.arange(horizon) * segments // horizon % num_arms
    chances = np.where(np.arange(num_arms) == best[:, None], 0.9, 0.1)
    return np.where(np.random.default_rng(seed).random((horizon, num_arms)) < chances, 1.0, -1.0), best


def mean_regret(make: Callable[[], Bandit], horizon: int, num_arms: int, segments: int, seeds: Sequence[int]) -> float:
    """Return the mean over ``seeds`` of what the planted sequence of arms earns more than the bandit."""
    regrets = []
    for seed in seeds:
        rewards, best = piecewise_rewards(horizon, num_arms, segments, seed)
        bandit, numbers = make(), CounterGenerator(seed, Stream.DRAWS)
        bandit.reset(num_arms, horizon)
        earned = 0.0
        for step in range(horizon):
            arm = bandit.draw(numbers.at(step))
            reward = float(rewards[step, arm])
            bandit.update(arm, reward, float(bandit.probabilities()[arm]))
            earned += reward
        regrets.append(float(rewards[np.arange(horizon), best].sum()) - earned)
    return float(np.mean(regrets))


def regret_bound(horizon: int, num_arms: int, segments: int, *, eta: float, epsilon: float) -> float:
    """Return the bound on the expected regret for rewards in [-1, 1], alpha_t = 1/t and eta <= epsilon / N.

    Exploration costs at most 2 epsilon T. The log of the total weight grows per update by at most the mean estimated
    reward times eta plus its mean square times eta squared, which sums to eta N T. The best arm of each segment starts
    it with at least a share alpha / (N - 1) >= 1 / ((N - 1) T) of the weight and keeps 1 - alpha_t of its own at each
    update, which over the run costs ln T.
    """
    steps = float(horizon)
    sharing = segments * math.log((num_arms - 1) * steps) + math.log(steps)
    return 2 * epsilon * steps + sharing / eta + eta * num_arms * steps


# Golden traces.


def trace(bandit: Bandit, num_arms: int = 5, steps: int = 300, seed: int = 11) -> dict[str, Any]:
    """Return the arms and every tenth policy of a run whose rewards are a formula and come up to 3 draws late."""
    bandit.reset(num_arms, steps)
    numbers = CounterGenerator(seed, Stream.DRAWS)
    waiting: list[tuple[int, int, np.ndarray]] = []
    arms, policies = [], []
    for step in range(steps):
        policy = bandit.probabilities().copy()
        arm = bandit.draw(numbers.at(step))
        bandit.drawn([arm])
        arms.append(arm)
        if step % 10 == 0:
            policies.append([float(f"{probability:.12g}") for probability in policy])
        waiting.append((step, arm, policy))
        if step % 4 == 3:  # four at once, the latest first
            for number, old, then in reversed(waiting):
                reward = ((number * 7 + old * 5) % 11 - 5 + 3 * (old == number * 3 // steps)) / 8
                bandit.update(old, reward, float(then[old]), then)
            waiting.clear()
    return {"arms": arms, "policies": policies}


def check_trace(found: dict[str, Any], golden: dict[str, Any]) -> None:
    """Arms are the same and probabilities within a relative 1e-9."""
    assert found["arms"] == golden["arms"], "other arms were drawn"
    np.testing.assert_allclose(found["policies"], golden["policies"], rtol=1e-9, atol=0)
