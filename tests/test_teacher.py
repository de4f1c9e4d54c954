"""The teacher: every reward reaches the draw that earned it, and a state goes on where it was taken."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
import torch

from curricula.bandits import Exp3, Exp3S, FixedPolicy
from curricula.randomness import CounterGenerator, Stream
from curricula.rewards import QuantileScaler, RewardScaler
from curricula.teacher import Draw, Teacher
from tests.test_state import damaged

TASKS = ["easy", "medium", "hard"]


class Raw(RewardScaler):
    """Progress is the reward: for tests in which the reward must be known."""

    def reset(self, seed=0):
        pass

    def scale(self, rate):
        return rate

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Recorder(Exp3S):
    """Exp3.S that writes down what it was taught."""

    def __init__(self, **options):
        super().__init__(eta=0.05, epsilon=0.3, **options)
        self.taught = []

    def update(self, arm, reward, probability, policy=None):
        super().update(arm, reward, probability, policy)
        self.taught.append((arm, reward, probability, None if policy is None else policy.tolist()))


def make(**options):
    return Teacher(TASKS, **{"seed": 5, "horizon": 200, "bandit": Exp3S(eta=0.05, epsilon=0.3), **options})


def progress_of(draw):
    return ((draw.id * 7 + draw.arm * 3) % 11 - 4) / (1 + draw.arm)


def work(teacher, steps, delay=0):
    """Draw and reward with the oldest open draw first, keeping ``delay`` open; return the tasks drawn."""
    tasks = []
    for _ in range(steps):
        tasks.append(teacher.draw().task)
        while len(teacher.open_draws()) > delay:
            draw = teacher.open_draws()[0]
            teacher.reward(draw, progress_of(draw))
    return tasks


# Draws


def test_a_draw_says_what_was_drawn_and_how_likely_it_was():
    teacher = make()
    work(teacher, 30, delay=4)
    teacher.discard(teacher.open_draws()[0])
    policy = teacher.probabilities()
    draw = teacher.draw()
    assert draw.id == 30
    assert draw.task == TASKS[draw.arm]
    assert draw.probability == policy[draw.arm]
    assert draw.step == teacher.updates == 26
    assert teacher.draws == 31


def test_draws_are_numbered_from_0_and_open_until_rewarded_or_discarded():
    teacher = make()
    draws = [teacher.draw() for _ in range(4)]
    assert [draw.id for draw in draws] == [0, 1, 2, 3]
    assert teacher.open_draws() == draws
    teacher.reward(draws[2], 0.5)
    teacher.discard(draws[0])
    assert teacher.open_draws() == [draws[1], draws[3]]


def test_draw_n_is_a_function_of_the_seed_n_and_the_policy():
    weights = [1, 2, 3]
    teacher = make(bandit=FixedPolicy(weights))
    tasks = work(teacher, 50, delay=3)  # rewards come and go, the policy stays
    bandit, numbers = FixedPolicy(weights), CounterGenerator(5, Stream.DRAWS)
    bandit.reset(3)
    for number in reversed(range(50)):
        assert tasks[number] == TASKS[bandit.draw(numbers.at(number))]


def test_another_seed_draws_other_tasks():
    assert work(make(seed=5), 50) == work(make(seed=5), 50)
    assert work(make(seed=5), 50) != work(make(seed=6), 50)


def test_two_teachers_that_are_told_the_same_draw_the_same():
    one, other = make(), make()
    assert work(one, 100, delay=2) == work(other, 100, delay=2)
    assert one.state_dict() == other.state_dict()


def test_every_task_name_can_be_drawn(any_seed):
    assert set(work(make(seed=5 + any_seed), 100)) == set(TASKS)


def test_the_policy_that_is_handed_out_is_a_copy():
    teacher = make()
    teacher.probabilities()[:] = 0.0
    assert teacher.probabilities().tolist() == [1 / 3] * 3


# Rewards


def test_a_late_reward_out_of_order_reaches_its_draw_with_the_probability_of_then():
    bandit = Recorder()
    teacher = make(bandit=bandit, scaler=Raw())
    first = teacher.draw()
    for _ in range(10):
        teacher.reward(teacher.draw(), 0.9)
    second = teacher.draw()
    for _ in range(10):
        teacher.reward(teacher.draw(), -0.9)
    now = teacher.probabilities()
    assert now[first.arm] != first.probability
    assert now[second.arm] != second.probability
    bandit.taught.clear()
    teacher.reward(second, 0.25)
    teacher.reward(first, -0.75)
    assert bandit.taught == [
        (second.arm, 0.25, second.probability, None),
        (first.arm, -0.75, first.probability, None),
    ]


def test_with_optimism_a_late_reward_comes_with_the_whole_policy_of_then():
    bandit = Recorder(beta=0.1)
    teacher = make(bandit=bandit, scaler=Raw())
    policy = teacher.probabilities().tolist()
    late = teacher.draw()
    for _ in range(10):
        teacher.reward(teacher.draw(), 0.9)
    assert teacher.probabilities().tolist() != policy
    teacher.reward(late, 0.5)
    assert bandit.taught[-1] == (late.arm, 0.5, late.probability, policy)


class InPlace(Recorder):
    """A bandit that writes its next policy over the last one."""

    def _settle(self, log_weights):
        policy = self._policy
        super()._settle(log_weights)
        policy[:] = self._policy
        self._policy = policy


def test_the_policy_of_then_is_kept_even_from_a_bandit_that_writes_over_it():
    teacher = make(bandit=InPlace(beta=0.1), scaler=Raw())
    late = teacher.draw()
    for _ in range(10):
        teacher.reward(teacher.draw(), 0.9)
    teacher.reward(late, 0.5)
    assert teacher.bandit.taught[-1] == (late.arm, 0.5, 1 / 3, [1 / 3] * 3)


def test_the_reward_is_of_progress_per_cost():
    cheap, dear = (make(scaler=QuantileScaler(warmup=1)) for _ in range(2))
    for step in range(60):
        progress = float(step * 7 % 13)
        one = cheap.reward(cheap.draw(), progress)
        other = dear.reward(dear.draw(), progress * (1 + step % 4), cost=1.0 + step % 4)
        assert one == other
    assert cheap.probabilities().tolist() == dear.probabilities().tolist()


def test_what_is_returned_is_what_was_taught():
    bandit = Recorder()
    teacher = make(bandit=bandit)
    rewards = [teacher.reward(teacher.draw(), float(step % 7)) for step in range(40)]
    assert rewards == [reward for _, reward, _, _ in bandit.taught]
    assert {-1.0, 1.0} < set(rewards)


def test_a_task_that_earns_more_is_drawn_more(any_seed):
    teacher = make(scaler=QuantileScaler(window=50), seed=5 + any_seed)
    for step in range(300):
        draw = teacher.draw()
        teacher.reward(draw, (1.0 if draw.task == "hard" else 0.0) + step % 10 / 100)
    assert teacher.probabilities()[2] > 0.7


@pytest.mark.parametrize("progress", [math.nan, math.inf, -math.inf])
def test_progress_that_is_not_finite_is_counted_and_goes_no_further(progress):
    teacher = make()
    work(teacher, 20)
    draw = teacher.draw()
    bandit, scaler = teacher.bandit.state_dict(), teacher.scaler.state_dict()
    assert teacher.reward(draw, progress) is None
    assert teacher.skipped == [int(arm == draw.arm) for arm in range(3)]
    assert teacher.updates == 20
    assert teacher.bandit.state_dict() == bandit
    assert teacher.scaler.state_dict() == scaler
    assert teacher.open_draws() == []


def test_progress_per_cost_that_overflows_is_skipped():
    teacher = make()
    assert teacher.reward(teacher.draw(), 1e308, cost=1e-10) is None
    assert sum(teacher.skipped) == 1


@pytest.mark.parametrize("cost", [0.0, -1.0, math.nan, math.inf])
def test_a_cost_out_of_range_is_refused_and_the_draw_stays_open(cost):
    teacher = make()
    draw = teacher.draw()
    before = teacher.state_dict()
    with pytest.raises(
        ValueError, match=rf"the cost of a step must be finite and > 0, got {cost} for task '{draw.task}'"
    ):
        teacher.reward(draw, 1.0, cost=cost)
    assert teacher.state_dict() == before


def close_by_reward(teacher, draw):
    teacher.reward(draw, 0.5)


def close_by_discard(teacher, draw):
    teacher.discard(draw)


@pytest.mark.parametrize("again", [close_by_reward, close_by_discard])
@pytest.mark.parametrize("close", [close_by_reward, close_by_discard])
def test_a_draw_is_closed_once(close, again):
    teacher = make()
    draw = teacher.draw()
    close(teacher, draw)
    before = teacher.state_dict()
    with pytest.raises(
        ValueError, match=rf"draw 0 of task '{draw.task}' is not open: it was rewarded or discarded already"
    ):
        again(teacher, draw)
    assert teacher.state_dict() == before


@pytest.mark.parametrize("close", [close_by_reward, close_by_discard])
def test_a_draw_that_was_never_made_here_is_refused(close):
    teacher = make()
    own = teacher.draw()
    other = Draw(own.id, (own.arm + 1) % 3, TASKS[(own.arm + 1) % 3], own.probability, own.step)
    for foreign in (Draw(7, 0, "easy", 0.5, 0), other):
        with pytest.raises(
            ValueError, match=f"draw {foreign.id} of task '{foreign.task}' is not open: it was never drawn"
        ):
            close(teacher, foreign)
    assert teacher.open_draws() == [own]


def test_a_discarded_draw_teaches_nothing():
    teacher = make(bandit=Exp3S(beta=0.1))
    before = teacher.bandit.state_dict(), teacher.scaler.state_dict()
    teacher.discard(teacher.draw())
    assert (teacher.bandit.state_dict(), teacher.scaler.state_dict()) == before
    assert teacher.updates == 0
    assert teacher.state_dict()["content"]["policies"] == []


# State


def through_json(state):
    return json.loads(json.dumps(state, allow_nan=False))


def through_torch(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def variants():
    return {
        "Exp3S": make,
        "Exp3S()": lambda: make(bandit=None),
        "Exp3S(beta)": lambda: make(bandit=Exp3S(beta=0.1)),
        "Exp3": lambda: make(bandit=Exp3()),
        "FixedPolicy": lambda: make(bandit=FixedPolicy([1, 2, 3])),
        "reservoir": lambda: make(scaler=QuantileScaler(window=15, reservoir=True)),
        "numpy seed": lambda: make(seed=np.int64(5)),
        "largest seed": lambda: make(seed=2**64 - 1),
    }


every_variant = pytest.mark.parametrize("new", variants().values(), ids=variants().keys())


@every_variant
@pytest.mark.parametrize("carry", [through_json, through_torch])
@pytest.mark.parametrize("taken_after", [0, 7, 60])
def test_a_state_goes_on_where_it_was_taken_with_its_open_draws(new, carry, taken_after):
    teacher, resumed = new(), new()
    work(teacher, taken_after, delay=4)
    teacher.skipped[1] += 2
    state = carry(teacher.state_dict())
    work(resumed, 33)  # to be forgotten
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert resumed.open_draws() == teacher.open_draws()
    assert work(resumed, 60, delay=2) == work(teacher, 60, delay=2)
    assert resumed.state_dict() == teacher.state_dict()


def test_a_resumed_teacher_refuses_a_reward_it_got_before():
    teacher, resumed = make(), make()
    rewarded, waiting = teacher.draw(), teacher.draw()
    teacher.reward(rewarded, 1.0)
    resumed.load_state_dict(teacher.state_dict())
    with pytest.raises(ValueError, match="rewarded or discarded already"):
        resumed.reward(rewarded, 1.0)
    assert resumed.reward(waiting, 1.0) == 0.0


def test_a_state_does_not_change_with_its_teacher():
    teacher = make(bandit=Exp3S(beta=0.1))
    work(teacher, 10, delay=2)
    state = teacher.state_dict()
    frozen = json.dumps(state)
    work(teacher, 10, delay=1)
    teacher.skipped[0] += 1
    assert json.dumps(state) == frozen


def test_a_loaded_state_is_not_changed_by_the_teacher():
    teacher, resumed = make(), make()
    work(teacher, 30)
    state = teacher.state_dict()
    frozen = json.dumps(state)
    resumed.load_state_dict(state)
    work(resumed, 30)
    resumed.reward(resumed.draw(), math.nan)
    assert json.dumps(state) == frozen


def test_every_single_damage_is_noticed_and_changes_nothing():
    donor = make(bandit=Exp3S(beta=0.1), scaler=QuantileScaler(window=10))
    work(donor, 12, delay=1)
    teacher = make(bandit=Exp3S(beta=0.1), scaler=QuantileScaler(window=10))
    work(teacher, 5)
    before = teacher.state_dict()
    count = 0
    for state in damaged(donor.state_dict()):
        count += 1
        with pytest.raises(ValueError, match=r"is damaged|not the state of a curricula teacher|has format"):
            teacher.load_state_dict(state)
    assert count > 2000
    assert teacher.state_dict() == before


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 6}, "has seed 5, this one has 6: give seed=5, or start the curriculum anew"),
        ({"bandit": FixedPolicy()}, "state is of the bandit 'Exp3S', this one is 'FixedPolicy': make the same bandit"),
        ({"bandit": Exp3()}, "state is of the bandit 'Exp3S', this one is 'Exp3'"),
        ({"scaler": QuantileScaler(window=50)}, "state is of another reward scaler .*: make the same scaler"),
        ({"scaler": QuantileScaler(reservoir=True)}, "state is of another reward scaler"),
    ],
)
def test_the_state_of_another_teacher_is_refused_and_changes_nothing(other, message):
    saved, teacher = make(), make(**other)
    work(saved, 40)
    work(teacher, 20, delay=2)
    before, policy = teacher.state_dict(), teacher.probabilities().tolist()
    with pytest.raises(ValueError, match=message):
        teacher.load_state_dict(saved.state_dict())
    assert teacher.state_dict() == before
    assert teacher.probabilities().tolist() == policy
    work(teacher, 20)


@pytest.mark.parametrize(
    ("tasks", "difference"),
    [
        (["easy", "medium"], r"missing now: \['hard'\]; new: none"),
        (["easy", "medium", "hard", "harder"], r"missing now: none; new: \['harder'\]"),
        (["easy", "medium", "HARD"], r"missing now: \['hard'\]; new: \['HARD'\]"),
        (["hard", "medium", "easy"], "the same names in another order"),
    ],
)
def test_the_state_of_other_tasks_is_refused_with_the_difference(tasks, difference):
    saved, teacher = make(), Teacher(tasks, seed=5)
    before = teacher.state_dict()
    with pytest.raises(ValueError, match=f"has other tasks .{difference}.: give the same tasks in the same order"):
        teacher.load_state_dict(saved.state_dict())
    assert teacher.state_dict() == before


def test_the_state_of_something_else_is_refused():
    with pytest.raises(ValueError, match="not the state of a curricula teacher: found no key 'kind'"):
        make().load_state_dict({"epoch": 3})


# Options


def test_the_defaults_are_exp3s_and_the_quantile_scaler():
    teacher = Teacher(TASKS)
    assert type(teacher.bandit) is Exp3S
    assert type(teacher.scaler) is QuantileScaler
    assert teacher.seed == 0
    assert teacher.tasks == tuple(TASKS)


def test_the_horizon_and_the_number_of_tasks_reach_the_bandit():
    teacher = make()
    assert (teacher.bandit.num_arms, teacher.bandit.horizon) == (3, 200)


def test_the_seed_reaches_the_reservoir():
    teacher = make(scaler=QuantileScaler(reservoir=True))
    assert teacher.scaler.state_dict()["seed"] == 5


def test_a_bandit_and_a_scaler_from_an_earlier_teacher_start_anew():
    bandit, scaler = Exp3S(), QuantileScaler()
    work(make(bandit=bandit, scaler=scaler), 30)
    assert make(bandit=bandit, scaler=scaler).state_dict() == make(bandit=Exp3S()).state_dict()


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        ([], ValueError, "a curriculum needs at least one task, got none"),
        ("easy", TypeError, "tasks must be a sequence of names, got the single string 'easy'"),
        (["easy", 3], TypeError, r"task names must be strings, got 3 \(int\): use str\(3\)"),
        (["easy", ""], ValueError, "a task name must not be empty"),
        (["a", "b", "c", "b", "a"], ValueError, "task names must be unique, 'b' is given twice"),
    ],
)
def test_task_names_are_checked(tasks, error, message):
    with pytest.raises(error, match=message):
        Teacher(tasks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bandit": Exp3S}, r"bandit must be an instance of Bandit, got .*: write Exp3S\(\)"),
        ({"bandit": "exp3s"}, "bandit must be an instance of Bandit, got 'exp3s'$"),
        ({"scaler": QuantileScaler}, r"scaler must be an instance of RewardScaler, got .*: write QuantileScaler\(\)"),
        ({"scaler": 1.0}, "scaler must be an instance of RewardScaler, got 1.0$"),
        ({"seed": 1.5}, r"seed must be an int, got 1.5 \(float\)"),
    ],
)
def test_options_of_another_type_are_refused(options, message):
    with pytest.raises(TypeError, match=message):
        make(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"seed": -1}, r"seed must be in \[0, 2\*\*64\), got -1"), ({"horizon": 0}, "horizon must be at least 1 update")],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_one_task_is_a_curriculum():
    teacher = Teacher(["only"])
    assert work(teacher, 30) == ["only"] * 30
    assert teacher.probabilities().tolist() == [1.0]
