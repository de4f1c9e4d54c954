"""Steps of several draws: made from one policy, rewarded together, and learned from once."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from curricula.bandits import Exp3, Exp3S, FixedPolicy
from curricula.draws import Draw, make_draws
from curricula.randomness import CounterGenerator, Stream
from curricula.rewards import QuantileScaler
from curricula.teacher import Teacher
from tests.test_teacher import TASKS, Raw, make, through_json, through_torch
from tests.testing.own import ByTheLargest


class Recorder(Exp3S):
    """Exp3.S that writes down the steps that it was taught."""

    def __init__(self, **options):
        super().__init__(eta=0.05, epsilon=0.3, **options)
        self.steps = []

    def update_all(self, pulls, draws=None):
        given = list(pulls)
        super().update_all(given, draws)
        self.steps.append((given, draws))


def progress_of(draw):
    return ((draw.id * 7 + draw.arm * 3) % 11 - 4) / (1 + draw.arm)


def outcomes_of(draws):
    """Progress is unknown, cannot be told, or is as good as any."""
    return [(draw, {4: None, 7: math.nan}.get(draw.id % 9, progress_of(draw)), 1.0 + draw.arm) for draw in draws]


def work(teacher, steps, count=4, delay=0):
    """Draw and reward whole steps, ``delay`` of which stay open; return the tasks drawn."""
    tasks = []
    for _ in range(steps):
        tasks.append([draw.task for draw in teacher.draw_all(count)])
        while len(teacher.open_draws()) > delay * count:
            teacher.reward_all(outcomes_of(teacher.open_draws()[:count]))
    return tasks


# Draws


@pytest.mark.parametrize("removed", [None, "medium"])
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_the_draws_of_a_step_invert_the_policy_at_the_numbers_of_the_place_of_their_first(removed, beta):
    teacher = make(bandit=Exp3S(beta=beta))
    work(teacher, 5)
    if removed:
        teacher.remove_task(removed)
    draws = teacher.draw_all(6)
    policy = teacher.probabilities()
    numbers = CounterGenerator(teacher.seed, Stream.DRAWS).at(draws[0].id).random(6)
    assert [draw.arm for draw in draws] == np.cumsum(policy).searchsorted(numbers, "right").tolist()
    assert [draw.id for draw in draws] == list(range(20, 26))
    assert {draw.step for draw in draws} == {teacher.updates}
    assert all(draw.probability == policy[draw.arm] for draw in draws)
    assert all(draw.task == teacher.tasks[draw.arm] for draw in draws)
    assert teacher.open_draws() == list(draws)


def test_a_step_of_one_draw_and_the_first_of_several_are_those_of_single_calls():
    one, alone = make(), make()
    for _ in range(10):
        (draw,) = one.draw_all(1)
        assert draw == alone.draw()
        one.reward(draw, 1.0)
        alone.reward(draw, 1.0)
    assert one.state_dict() == alone.state_dict()
    assert one.draw_all(3)[0] == alone.draw()


def test_no_two_steps_share_a_number():
    teacher = Teacher([str(arm) for arm in range(10_000)], bandit=FixedPolicy(), seed=5)
    arms = [draw.arm for _ in range(40) for draw in teacher.draw_all(16)]
    assert len(set(arms)) > 600, "640 draws of 10,000 tasks have about 20 pairs; whole steps that repeat have more"


@pytest.mark.parametrize("bandit", [FixedPolicy, Exp3, Exp3S])
def test_a_step_puts_the_generator_in_its_place_once(bandit, monkeypatch):
    teacher = make(bandit=bandit())
    places = []
    at = CounterGenerator.at
    monkeypatch.setattr(
        CounterGenerator, "at", lambda self, place, lane=0: places.append(place) or at(self, place, lane)
    )
    teacher.draw_all(16)
    teacher.draw_all(16, quotas=True)
    assert places == [0, 16]


def test_draws_that_are_not_rewarded_are_those_that_would_be_and_are_closed():
    one, other = make(), make()
    draws = one.draw_all(5, rewarded=False)
    assert draws == other.draw_all(5)
    for draw in draws:
        other.discard(draw)
    assert one.state_dict() == other.state_dict()
    with pytest.raises(ValueError, match="is not open"):
        one.reward(draws[0], 1.0)


def test_a_state_within_a_step_has_its_draws_and_draws_nothing_again():
    teacher = make(draws_per_step=4)
    work(teacher, 3)
    draws = teacher.draw_all(4)
    resumed = make(seed=teacher.seed, draws_per_step=4)
    resumed.load_state_dict(teacher.state_dict())
    assert resumed.open_draws() == list(draws)
    for each in (teacher, resumed):
        each.reward_all(outcomes_of(draws))
    assert resumed.draw_all(4) == teacher.draw_all(4)
    assert resumed.state_dict() == teacher.state_dict()


def test_the_draws_of_a_step_are_as_frozen_as_single_ones():
    made, (draw, other) = Draw(0, 1, "medium", 0.5, 7), make_draws(0, [1, 0], [0.5, 0.25], ["easy", "medium"], 7)
    assert draw == made
    assert hash(draw) == hash(made)
    assert repr(draw) == repr(made)
    assert copy.deepcopy(other) == pickle.loads(pickle.dumps(other)) == Draw(1, 0, "easy", 0.25, 7)
    with pytest.raises(FrozenInstanceError):
        draw.arm = 2
    assert not hasattr(draw, "__dict__")


@pytest.mark.parametrize(("count", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)])
def test_a_number_of_draws_that_is_none_is_refused(count, error):
    teacher = make()
    with pytest.raises(error, match="count must be"):
        teacher.draw_all(count)
    with pytest.raises(error, match="draws_per_step must be"):
        make(draws_per_step=count)
    assert teacher.open_draws() == []


def test_the_draws_of_a_step_reach_the_rates_of_the_bandit():
    assert make(bandit=None, draws_per_step=16).bandit.draws_per_step == 16
    reused = make(bandit=Exp3S(), draws_per_step=16).bandit
    assert make(bandit=reused).bandit.draws_per_step == 1
    assert reused.eta == make(bandit=None).bandit.eta


# Rewards


def test_a_step_is_learned_from_once_with_the_probabilities_of_its_draws():
    bandit = Recorder()
    teacher = make(bandit=bandit, scaler=Raw())
    late = teacher.draw_all(3)
    for draw in teacher.draw_all(5):
        teacher.reward(draw, 0.9)
    assert teacher.probabilities()[late[0].arm] != late[0].probability
    bandit.steps.clear()
    updates = teacher.updates
    assert teacher.reward_all([(draw, 0.5 - draw.id % 2, 2.0) for draw in late]) == [
        (0.5 - draw.id % 2) / 2 for draw in late
    ]
    assert bandit.steps == [([(d.arm, (0.5 - d.id % 2) / 2, d.probability, None) for d in late], 3)]
    assert teacher.updates == updates + 1
    assert teacher.open_draws() == []


SCALERS = {
    "window": lambda: QuantileScaler(window=12),
    "reservoir": lambda: QuantileScaler(window=12, reservoir=True),
    "one's own": ByTheLargest,
}


@pytest.mark.parametrize("scaler", SCALERS)
def test_the_order_of_the_outcomes_of_a_step_does_not_matter(scaler, any_seed):
    teachers = [make(scaler=SCALERS[scaler](), seed=any_seed) for _ in range(3)]
    orders = np.random.default_rng(any_seed)
    for _ in range(25):
        steps = [teacher.draw_all(6) for teacher in teachers]
        rewards = []
        for teacher, draws in zip(teachers, steps, strict=True):
            order = orders.permutation(6)
            outcomes = outcomes_of(draws)
            given = teacher.reward_all([outcomes[place] for place in order])
            rewards.append([given[order.tolist().index(place)] for place in range(6)])
        assert rewards[0] == rewards[1] == rewards[2]
    assert teachers[0].state_dict() == teachers[1].state_dict() == teachers[2].state_dict()


def test_a_reward_is_by_the_rates_before_the_step_and_not_by_those_of_the_others():
    step = [3.0, 9.0, -1.0, 3.5]
    rewards = []
    for rate in step:  # each as the only one of its step
        teacher = make(scaler=QuantileScaler(warmup=4))
        for progress in (1.0, 2.0, 3.0, 4.0, 5.0):
            teacher.reward(teacher.draw(), progress)
        rewards.append(teacher.reward(teacher.draw(), rate))
    teacher = make(scaler=QuantileScaler(warmup=4))
    for progress in (1.0, 2.0, 3.0, 4.0, 5.0):
        teacher.reward(teacher.draw(), progress)
    together = teacher.reward_all([(draw, rate, 1.0) for draw, rate in zip(teacher.draw_all(4), step, strict=True)])
    assert together == rewards
    assert teacher.scaler.state_dict()["rates"] == [1.0, 2.0, 3.0, 4.0, 5.0, *step]


def test_in_the_warm_up_all_draws_of_a_step_earn_nothing():
    teacher = make()
    assert teacher.reward_all([(draw, float(draw.id), 1.0) for draw in teacher.draw_all(16)]) == [0.0] * 16
    assert teacher.reward_all([(draw, 100.0, 1.0) for draw in teacher.draw_all(16)]) == [1.0] * 16


def test_draws_without_progress_are_closed_and_count_in_the_mean_of_the_others():
    bandit = Recorder()
    teacher = make(bandit=bandit, scaler=Raw())
    one, two, three, four = teacher.draw_all(4)
    assert teacher.reward_all([(one, None, math.nan), (two, 0.5, 1.0), (three, math.inf, 1.0), (four, -0.5, 1.0)]) == [
        None,
        0.5,
        None,
        -0.5,
    ]
    assert bandit.steps == [([(d.arm, r, d.probability, None) for d, r in ((two, 0.5), (four, -0.5))], 4)]
    assert sum(teacher.skipped) == teacher.skipped[three.arm] == 1
    assert teacher.updates == 1
    assert teacher.open_draws() == []


@pytest.mark.parametrize("count", [1, 3])
def test_a_step_without_any_progress_is_no_update(count):
    teacher = make()
    work(teacher, 10)
    bandit, scaler, updates = teacher.bandit.state_dict(), teacher.scaler.state_dict(), teacher.updates
    assert teacher.reward_all([(draw, None, 1.0) for draw in teacher.draw_all(count)]) == [None] * count
    assert teacher.reward_all([(draw, math.nan, 1.0) for draw in teacher.draw_all(count)]) == [None] * count
    assert (teacher.bandit.state_dict(), teacher.scaler.state_dict(), teacher.updates) == (bandit, scaler, updates)
    assert teacher.open_draws() == []


def test_reward_is_the_step_of_one_draw():
    one, other = make(), make()
    for step in range(60):
        progress, cost = math.nan if step % 13 == 5 else float(step * 7 % 11), 1.0 + step % 3
        assert one.reward(one.draw(), progress, cost) == other.reward_all([(other.draw(), progress, cost)])[0]
    assert one.state_dict() == other.state_dict()


def test_a_bad_step_is_refused_and_every_draw_stays_open():
    teacher = make()
    work(teacher, 3)
    closed = teacher.draw()
    teacher.reward(closed, 1.0)
    one, two = teacher.draw_all(2)
    before = teacher.state_dict()
    for outcomes, error, message in (
        ([], ValueError, "a step has at least one draw, got no outcomes"),
        ([(one, 1.0, 1.0), (one, None, 1.0)], ValueError, f"draw {one.id} is given twice"),
        ([(one, 1.0, 1.0), (closed, 1.0, 1.0)], ValueError, "was rewarded or discarded already"),
        ([(one, 1.0, 1.0), (closed, None, 1.0)], ValueError, "was rewarded or discarded already"),
        ([(one, 1.0, 1.0), (two, 1.0, 0.0)], ValueError, "the cost of a step must be finite and > 0, got 0.0"),
        ([(one, 1.0, 1.0), (two, "much", 1.0)], TypeError, "progress must be a number"),
        ([(one, 1.0, 1.0), (2, 1.0, 1.0)], TypeError, "draw must be a Draw"),
        ([(one, 1.0, 1.0), (2, None, 1.0)], TypeError, "draw must be a Draw"),
    ):
        with pytest.raises(error, match=message):
            teacher.reward_all(outcomes)
        assert teacher.state_dict() == before
    with pytest.raises(TypeError, match="progress must be a number"):
        teacher.reward(one, None)
    assert teacher.state_dict() == before


def test_a_task_that_earns_more_is_drawn_more_by_steps_of_several(any_seed):
    teacher = make(scaler=QuantileScaler(window=200), seed=5 + any_seed, draws_per_step=8)
    for step in range(150):
        draws = teacher.draw_all(8)
        teacher.reward_all([(draw, (draw.task == "hard") + (step + draw.id) % 10 / 100, 1.0) for draw in draws])
    assert teacher.probabilities()[2] > 0.7


def test_an_open_draw_of_a_removed_task_is_rewarded_with_its_step():
    bandit = Recorder()
    teacher = make(bandit=bandit, scaler=Raw())
    draws = teacher.draw_all(8)
    teacher.remove_task(draws[0].task)
    teacher.reward_all([(draw, 0.5, 1.0) for draw in draws])
    assert [pull[0] for pull in bandit.steps[0][0]] == [draw.arm for draw in draws]


# State


@pytest.mark.parametrize("carry", [through_json, through_torch])
@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("scaler", [QuantileScaler, ByTheLargest])
def test_a_state_in_the_middle_of_a_step_goes_on_where_it_was_taken(carry, beta, scaler):
    def new():
        return Teacher(TASKS, bandit=Exp3S(beta=beta), scaler=scaler(), seed=3, horizon=100, draws_per_step=4)

    teacher, resumed = new(), new()
    work(teacher, 20, delay=2)
    teacher.draw_all(4)
    assert len(teacher.open_draws()) == 12
    state = carry(teacher.state_dict())
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert resumed.open_draws() == teacher.open_draws()
    assert work(resumed, 30, delay=1) == work(teacher, 30, delay=1)
    assert resumed.state_dict() == teacher.state_dict()


def test_a_fixed_policy_stays_where_it_is():
    teacher = make(bandit=FixedPolicy([1, 2, 1]))
    work(teacher, 20)
    assert teacher.probabilities().tolist() == [0.25, 0.5, 0.25]
