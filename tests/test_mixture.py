"""The user's mixture: what is asked of the shares holds at every draw, and the draw's probability is the final one."""

from __future__ import annotations

import contextlib
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula import Mixture, Schedule, Teacher
from curricula.bandits import Exp3, Exp3S, FixedPolicy, SlidingWindowUCB, TSCLOnline, TSCLSampling
from curricula.bandits.inversion import invert
from curricula.draws import Draw
from tests.test_teacher import Raw

NAMES = ["a", "b", "c", "d"]
PRIOR = {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}


def make(mixture, tasks=NAMES, **options):
    return Teacher(list(tasks), mixture=mixture, scaler=Raw(), **{"seed": 3, "horizon": 400, **options})


def learn(teacher, steps, best="d"):
    """Reward one task, and return the draws."""
    draws = []
    for _ in range(steps):
        draws.append(teacher.draw())
        teacher.reward(draws[-1], 1.0 if draws[-1].task == best else -0.2)
    return draws


# Prior, strength, warm-up


def test_the_policy_is_the_prior_until_something_is_learned_and_then_its_product_with_the_bandits():
    teacher = make(Mixture(prior=PRIOR))
    prior = np.array([*PRIOR.values()])
    assert teacher.probabilities() == pytest.approx(prior)
    learn(teacher, 60)
    product = prior * teacher.bandit.probabilities()
    assert teacher.probabilities() == pytest.approx(product / product.sum())
    assert teacher.probabilities()[3] > 0.1


def test_with_strength_0_every_draw_is_of_the_prior_whatever_is_rewarded():
    teacher = make(Mixture(prior=PRIOR, strength=0.0))
    assert {draw.probability for draw in learn(teacher, 100)} <= set(PRIOR.values())
    assert not teacher.mixture.learns


def test_warm_up_counts_steps_of_several_draws():
    teacher = make(Mixture(prior=PRIOR, warmup=5), draws_per_step=2)
    for _ in range(5):
        draws = teacher.draw_all(2)
        assert all(draw.probability == PRIOR[draw.task] for draw in draws)
        teacher.reward_all([(draw, float(draw.task == "d"), 1.0) for draw in draws])
    assert teacher.probabilities() != pytest.approx(np.array([*PRIOR.values()]))


def test_a_prior_by_size_has_a_temperature():
    teacher = make(Mixture(prior="size", temperature=2.0), sizes=[100, 25, 4, 1])
    assert teacher.probabilities() == pytest.approx(np.array([10, 5, 2, 1]) / 18)
    assert teacher.prior() == pytest.approx({"a": 10 / 18, "b": 5 / 18, "c": 2 / 18, "d": 1 / 18})


def test_without_a_mixture_or_with_one_that_asks_nothing_the_draws_are_the_same_to_the_last_bit():
    one, other = make(None), make(Mixture())
    assert learn(one, 200) == learn(other, 200)
    assert one.probabilities().tolist() == other.probabilities().tolist()


def test_a_task_without_a_prior_share_is_never_drawn():
    teacher = make(Mixture(prior={**PRIOR, "a": 0.5, "d": 0.0}))
    assert {draw.task for draw in learn(teacher, 200)} == {"a", "b", "c"}


@pytest.mark.parametrize("make_bandit", [SlidingWindowUCB, TSCLOnline, TSCLSampling, Exp3S])
def test_a_bandit_chooses_among_the_tasks_that_have_a_prior_share(make_bandit):
    teacher = make(Mixture(prior={"a": 0.5, "b": 0.5, "c": 0.0, "d": 0.0}), bandit=make_bandit())
    counts = Counter(draw.task for draw in learn(teacher, 300, best="a"))
    assert set(counts) == {"a", "b"}
    assert counts["a"] > 200, "and not as often as the other, as where the bandit would rather have what is left out"


def test_a_task_without_a_prior_share_is_not_drawn_when_the_others_are_gone():
    teacher = make(Mixture(prior={"a": 0.5, "b": 0.5, "c": 0.0, "d": 0.0}, max_passes=1))
    teacher.remove_task("a")
    with pytest.raises(ValueError, match="task 'b' is the last one that is left"):
        teacher.remove_task("b")
    assert not teacher.use_up({0: 3, 1: 0})
    assert teacher.is_over
    phases = make(Mixture(prior=Schedule.phases([("a", 5), ({"b": 0.5, "c": 0.5}, None)]), max_passes=1), tasks="abc")
    phases.use_up({0: 0, 1: 3, 2: 3})
    assert {phases.draw().task for _ in range(5)} <= {"b", "c"}, "those of the next phase, where this one has none"


def test_a_schedule_changes_the_prior_by_steps_and_by_cost():
    start, end = {"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.0}, {"a": 0.0, "b": 0.0, "c": 0.0, "d": 1.0}
    by_steps = make(Mixture(prior=Schedule.linear(start, end, over=10), strength=0.0))
    draws = learn(by_steps, 10)
    assert [draw.probability for draw in draws] == pytest.approx(
        [1 - k / 10 if draw.task == "a" else k / 10 for k, draw in enumerate(draws)]
    )
    by_cost = make(Mixture(prior=Schedule([(0, start), (100, end)], unit="cost"), strength=0.0))
    tasks = []
    for _ in range(6):
        draw = by_cost.draw()
        tasks.append(draw.task)
        by_cost.reward(draw, 0.0, cost=30.0)
    assert tasks == ["a"] * 4 + ["d"] * 2
    assert by_cost.spent == 180.0


def regret(prior, strength, steps=1500):
    """Return the regret per step where one of three arms of ten is the best, another one in each third of the run."""
    names = [str(arm) for arm in range(10)]
    mixture = Mixture(prior=dict(zip(names, prior, strict=True)), strength=strength)
    teacher = Teacher(names, scaler=Raw(), seed=1, horizon=steps, mixture=mixture)
    numbers, lost = np.random.default_rng(2).random(steps), 0
    for step in range(steps):
        draw, best = teacher.draw(), 3 * step // steps
        lost += draw.arm != best
        teacher.reward(draw, 1.0 if numbers[step] < (0.9 if draw.arm == best else 0.1) else -1.0)
    return 0.8 * lost / steps


def test_a_good_prior_makes_the_bandit_better_and_a_bad_one_leaves_it_better_than_a_static_mixture():
    good, neutral, bad = [0.8 / 3] * 3 + [0.2 / 7] * 7, [0.1] * 10, [0.05 / 3] * 3 + [0.95 / 7] * 7
    learned = [regret(prior, 1.0) for prior in (good, neutral, bad)]
    static = [regret(prior, 0.0) for prior in (good, neutral, bad)]
    assert learned[0] < learned[1] < learned[2] < static[1] < static[2]
    assert learned[0] < static[0]


# Limits


@settings(max_examples=60)
@given(
    st.lists(st.floats(0.0, 0.2), min_size=4, max_size=4),
    st.lists(st.floats(0.3, 1.0), min_size=4, max_size=4),
    st.sampled_from(NAMES),
    st.sampled_from(NAMES),
)
def test_floors_and_caps_hold_at_every_draw_also_when_a_task_is_removed(floors, caps, best, removed):
    teacher = make(Mixture(floor=dict(zip(NAMES, floors, strict=True)), cap=dict(zip(NAMES, caps, strict=True))))
    for step in range(40):
        if step == 20:
            left = sum(cap for name, cap in zip(NAMES, caps, strict=True) if name != removed)
            with contextlib.nullcontext() if left >= 1 - 1e-9 else pytest.raises(ValueError, match="the caps of 3"):
                teacher.remove_task(removed)
        policy = teacher.probabilities()
        assert policy.sum() == pytest.approx(1.0)
        for arm, name in enumerate(NAMES):
            if name in teacher.removed:
                assert policy[arm] == 0.0
            else:
                assert floors[arm] - 1e-9 <= policy[arm] <= caps[arm] + 1e-9
        draw = teacher.draw()
        assert draw.probability == policy[draw.arm]
        teacher.reward(draw, 1.0 if draw.task == best else -1.0)


def test_draws_with_quotas_and_several_draws_have_the_final_probability():
    for quotas in (False, True):
        teacher = make(Mixture(floor={"a": 0.4}), draws_per_step=8)
        policy = teacher.probabilities()
        draws = teacher.draw_all(8, quotas=quotas)
        assert [draw.probability for draw in draws] == [policy[draw.arm] for draw in draws]
        assert policy == pytest.approx(np.array([0.4, 0.2, 0.2, 0.2]))


def test_a_guarded_task_gets_its_prior_share_as_far_as_the_limits_leave_room():
    teacher = make(Mixture(prior=PRIOR, cap={"a": 0.4}), bandit=FixedPolicy([0.0, 0.0, 0.0, 1.0]))
    assert teacher.probabilities().tolist() == [0.0, 0.0, 0.0, 1.0]
    teacher.guard(["a", "c"])
    assert teacher.probabilities() == pytest.approx(np.array([0.4, 0.0, 0.2, 0.4]))
    assert teacher.guarded == ("a", "c")
    teacher.guard([])
    assert teacher.probabilities().tolist() == [0.0, 0.0, 0.0, 1.0]
    full = make(Mixture(floor={"d": 0.9}))
    full.guard(["a", "b"])
    assert full.probabilities() == pytest.approx(np.array([0.05, 0.05, 0.0, 0.9]), abs=0.04)
    with pytest.raises(ValueError, match="no task 'bb'"):
        teacher.guard(["bb"])


def test_a_guard_needs_no_mixture_and_means_the_uniform_share():
    teacher = make(None, bandit=FixedPolicy([1.0, 0.0, 0.0, 0.0]))
    teacher.guard(["d"])
    assert teacher.probabilities() == pytest.approx(np.array([0.75, 0.0, 0.0, 0.25]))


def test_rewards_of_tasks_drawn_less_often_than_the_rates_allow_cannot_turn_the_policy_over():
    prior = {"a": 0.997, "b": 0.001, "c": 0.001, "d": 0.001}
    teacher = make(Mixture(prior=prior), bandit=Exp3S(eta=0.01, epsilon=0.1))
    draw = next(draw for draw in iter(teacher.draw, None) if draw.task == "d")
    before = teacher.bandit.log_weights()
    teacher.reward(draw, 1.0)
    assert draw.probability < 0.01 / 4
    step = teacher.bandit.log_weights() - before
    assert step[3] - step[0] <= 1.0 + 1e-9  # by 1 at the most before sharing, and by eta / probability = 10 without


# Set by hand


def test_a_set_policy_is_drawn_from_and_the_bandit_learns_on_until_it_is_given_back():
    teacher = make(Mixture(prior=PRIOR))
    shares = {"a": 0.1, "b": 0.1, "c": 0.1, "d": 0.7}
    teacher.set_policy(shares)
    assert all(draw.probability == shares[draw.task] for draw in learn(teacher, 50))
    teacher.set_policy(None)
    product = np.array([*PRIOR.values()]) * teacher.bandit.probabilities()
    assert teacher.probabilities() == pytest.approx(product / product.sum())
    assert product[3] / product.sum() > 0.1


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"a": 0.5, "b": 0.5}, "no share for \\['c', 'd'\\]"),
        ({**PRIOR, "e": 0.0}, "no task 'e'"),
        ({"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5}, "sum to 1, got the sum 2"),
        ({"a": 1.5, "b": -0.5, "c": 0.0, "d": 0.0}, "b.*-0.5"),
        ({"a": 0.9, "b": 0.1, "c": 0.0, "d": 0.0}, "'a' 0.9, which is not between its floor 0 and its cap 0.6"),
        ({"a": 0.4, "b": 0.3, "c": 0.3, "d": 0.0}, "'d' 0, which is not between its floor 0.1"),
    ],
)
def test_a_policy_that_cannot_be_set_is_refused_and_changes_nothing(shares, said):
    teacher = make(Mixture(cap=0.6, floor={"d": 0.1}))
    before = teacher.probabilities().tolist()
    with pytest.raises(ValueError, match=said):
        teacher.set_policy(shares)
    assert teacher.probabilities().tolist() == before


def test_a_policy_for_a_removed_task_is_refused_and_one_removed_later_is_left_out():
    teacher = make(None)
    teacher.remove_task("b")
    with pytest.raises(ValueError, match=r"task 'b' was removed, and the policy gives it 0\.3"):
        teacher.set_policy(PRIOR)
    teacher.restore_task("b")
    teacher.set_policy(PRIOR)
    teacher.remove_task("a")
    assert teacher.probabilities() == pytest.approx(np.array([0.0, 0.5, 1 / 3, 1 / 6]))
    with pytest.raises(TypeError, match="every task by name"):
        teacher.set_policy([0.5, 0.5])


# Passes


def test_tasks_leave_when_they_have_no_draws_left_and_a_step_never_exceeds_them():
    teacher = make(Mixture(prior={"a": 0.97, "b": 0.01, "c": 0.01, "d": 0.01}), draws_per_step=6)
    draws = teacher.draw_all(6, left={0: 2, 1: 4, 2: 4})
    assert [draw.task for draw in draws].count("a") == 2
    at = [draw.id for draw in draws if draw.task == "a"]
    for draw in draws[at[1] + 1 :]:  # the third part of what is left
        assert draw.probability == pytest.approx(1 / 3)
    teacher.draw_all(6, left={0: 0})
    assert teacher.used_up == ("a",)
    assert teacher.probabilities() == pytest.approx(np.array([0.0, 1 / 3, 1 / 3, 1 / 3]))
    assert teacher.use_up({0: 0, 1: 0, 2: 0, 3: 6}, 6)
    assert not teacher.use_up({0: 0, 1: 0, 2: 0, 3: 5}, 6)
    assert teacher.is_over
    with pytest.raises(RuntimeError, match="no task is left to draw"):
        teacher.draw_all(6, left={0: 0, 1: 0, 2: 0, 3: 5})


def test_caps_that_no_longer_sum_to_1_when_passes_are_used_up_are_raised_and_told(caplog):
    teacher = make(Mixture(cap={"a": 0.5, "b": 0.5, "c": 0.3, "d": 0.1}))
    teacher.use_up({0: 0, 1: 0})
    assert "sum to 0.4" in caplog.text
    assert teacher.probabilities() == pytest.approx(np.array([0.0, 0.0, 0.75, 0.25]))


# State


@pytest.mark.parametrize("bandit", [Exp3S, lambda: Exp3(eta=0.05, epsilon=0.2, beta=0.1)])
def test_a_state_goes_on_with_all_that_was_said_on_the_way(bandit):
    mixture = Mixture(prior=PRIOR, floor=0.05, warmup=3, cap={"a": 0.8})

    def go(teacher, steps):
        return [(draw.task, draw.probability) for draw in learn(teacher, steps)]

    one = make(mixture, bandit=bandit())
    go(one, 10)
    one.guard(["b"])
    one.use_up({2: 0})
    go(one, 10)
    one.set_policy({"a": 0.5, "b": 0.4, "c": 0.0, "d": 0.1})
    state = one.state_dict()
    other = make(mixture, bandit=bandit())
    other.load_state_dict(state)
    assert other.spent == one.spent == 20.0
    assert (other.guarded, other.used_up) == (("b",), ("c",))
    assert go(one, 5) == go(other, 5)
    for teacher in (one, other):
        teacher.set_policy(None)
    assert go(one, 30) == go(other, 30)


def test_a_state_of_another_mixture_goes_on_with_that_of_now_and_says_so(caplog):
    one = make(Mixture(prior=PRIOR))
    other = make(Mixture(strength=0.5, prior=PRIOR))
    other.load_state_dict(one.state_dict())
    assert "had another mixture" in caplog.text
    caplog.clear()
    make(Mixture(prior=PRIOR)).load_state_dict(one.state_dict())
    assert not caplog.text


def test_tasks_that_come_later_get_the_mean_share_and_those_that_stay_keep_their_ratios():
    teacher = make(Mixture(prior=PRIOR, floor=0.05))
    teacher.add_task("e")
    assert teacher.prior() == pytest.approx({"a": 0.32, "b": 0.24, "c": 0.16, "d": 0.08, "e": 0.2})
    state = teacher.state_dict()
    again = make(Mixture(prior=PRIOR, floor=0.05))
    again.add_task("e")
    again.load_state_dict(state)
    assert again.prior() == teacher.prior()
    teacher.set_tasks(["d", "a"])
    assert teacher.prior() == pytest.approx({"d": 0.2, "a": 0.8})
    scheduled = make(Mixture(prior=Schedule([(0, PRIOR)])))
    with pytest.raises(ValueError, match="no share for \\['e'\\]"):
        scheduled.add_task("e")
    assert scheduled.tasks == tuple(NAMES)


# Importance weights


def test_weights_keep_the_objective_that_of_the_prior():
    teacher = make(None, bandit=FixedPolicy([4.0, 3.0, 2.0, 1.0]))
    losses = dict(zip(NAMES, [1.0, 5.0, 2.0, 7.0], strict=True))
    target = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}
    policy = teacher.probabilities()
    numbers = (np.arange(1000) + 0.5) / 1000  # every draw as often as it is likely
    draws = [Draw(0, arm, NAMES[arm], float(policy[arm]), 0) for arm in (invert(policy, u) for u in numbers)]
    weights = [draw.weight(target) for draw in draws]
    values = [weight * losses[draw.task] for weight, draw in zip(weights, draws, strict=True)]
    assert np.mean(values) == pytest.approx(sum(target[name] * losses[name] for name in NAMES), rel=1e-9)
    assert teacher.weight_variance(target) == pytest.approx(np.var(weights), rel=1e-9)
    capped = [draw.weight(target[draw.task], most=1.5) for draw in draws]
    assert max(capped) == 1.5
    assert teacher.weight_variance(target, most=1.5) == pytest.approx(np.var(capped), rel=1e-9)
    assert teacher.weight_variance(dict(zip(NAMES, policy, strict=True))) == pytest.approx(0.0, abs=1e-12)
    one_hot = make(None, bandit=FixedPolicy([1.0, 0.0, 0.0, 0.0]))
    assert math.isinf(one_hot.weight_variance(target))


def test_weights_of_unknown_shares_are_refused():
    draw = Draw(0, 0, "a", 0.5, 0)
    with pytest.raises(ValueError, match="no share for task 'a'"):
        draw.weight({"b": 1.0})
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 1\.5"):
        draw.weight(1.5)
    with pytest.raises(ValueError, match="largest weight must be > 0, got 0"):
        draw.weight(0.5, most=0.0)


# What cannot be meant


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prior": "sizes"}, '"uniform", "size", shares by name or a Schedule'),
        ({"prior": {"a": 0.5, "b": 0.5}}, "no share for \\['c', 'd'\\]"),
        ({"prior": {**PRIOR, "x": 0.0}}, "no task 'x'"),
        ({"prior": dict.fromkeys(NAMES, 1.0)}, "got the sum 4: in these ratios they are"),
        ({"prior": PRIOR, "cap": 0.3}, "'a' is 0.4, which is not between its floor 0 and its cap 0.3"),
        ({"prior": Schedule([(0, PRIOR)]), "floor": 0.2}, "'d' is 0.1 from 0 on"),
        ({"temperature": 2.0}, 'is of the prior "size"'),
        ({"strength": 1.5}, "strength must be in \\[0, 1\\]"),
        ({"floor": 0.3}, "the floors of 4 tasks sum to 1.2"),
        ({"cap": 0.2}, "the caps of 4 tasks sum to 0.8.*at least 0.25"),
        ({"floor": {"a": 0.5}, "cap": {"a": 0.4}}, "'a' has floor 0.5 above its cap 0.4"),
        ({"floor": {"aa": 0.1}}, "floor names no task 'aa': did you mean 'a'"),
        ({"max_passes": {"b ": 3}}, "max_passes names no task 'b '"),
        ({"max_passes": 0}, "max_passes must be in \\(0"),
        ({"cap": {"a": 1.2}}, "cap\\['a'\\] must be in \\[0, 1\\]"),
        ({"warmup": -1}, "warmup must be at least 0"),
        ({"prior": "size"}, "needs the number of samples of every task"),
    ],
)
def test_a_mixture_that_cannot_be_kept_is_refused_with_the_numbers_that_conflict(options, said):
    with pytest.raises(ValueError, match=said):
        Teacher(NAMES, mixture=Mixture(**options))


def test_arguments_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="prior must be"):
        Mixture(prior=[0.5, 0.5])
    with pytest.raises(TypeError, match="warmup must be an int"):
        Mixture(warmup=1.5)
    with pytest.raises(TypeError, match="mixture must be an instance of Mixture"):
        Teacher(NAMES, mixture=PRIOR)
