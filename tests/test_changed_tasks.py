"""A curriculum that goes on with other tasks: from a checkpoint by name, and with tasks added while it trains."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest
import pytorch_lightning as pl
from hypothesis import given
from hypothesis import strategies as st

from curricula import CurriculumCallback, CurriculumLoader, Teacher
from curricula.bandits import Bandit, Exp3, Exp3S, FixedPolicy
from curricula.signals import MeanPredictionGain
from curricula.task_names import TaskChanges
from curricula.tracking.history import CurriculumHistory
from tests.models import Linear, Rows, StreamedRows, rows_of, tasks_of_constants, tasks_of_rows, trainer

BANDITS = {
    "Exp3": lambda: Exp3(eta=0.05, epsilon=0.1),
    "Exp3S": lambda: Exp3S(eta=0.05, epsilon=0.1),
    "Exp3S beta": lambda: Exp3S(eta=0.05, epsilon=0.1, beta=0.1),
    "uniform": FixedPolicy.uniform,
}


def taught(names, make=BANDITS["Exp3S"], steps=200, seed=3):
    teacher = Teacher(list(names), bandit=make(), seed=seed)
    for _ in range(steps):
        draw = teacher.draw()
        teacher.reward(draw, float(teacher.tasks.index(draw.task)))
    return teacher


def weights(bandit):
    return np.exp(bandit.log_weights())


# ---------------------------------------------------------------- the bandit's arms


@pytest.mark.parametrize("name", ["Exp3", "Exp3S", "Exp3S beta"])
@given(order=st.permutations(range(5)), kept=st.integers(1, 5), new=st.integers(0, 3))
def test_arms_that_stay_keep_their_ratios_and_new_ones_get_their_mean(name, order, kept, new):
    bandit = taught("abcde", BANDITS[name], steps=60).bandit
    before = weights(bandit)
    stay = order[:kept]
    bandit.rearrange([*stay, *[None] * new])
    after = weights(bandit)
    np.testing.assert_allclose(after[:kept] / after[0], before[stay] / before[stay[0]], rtol=1e-12)
    np.testing.assert_allclose(after[kept:], after[:kept].mean(), rtol=1e-12)
    assert after.sum() == pytest.approx(1.0, abs=1e-12)
    assert bandit.probabilities().sum() == pytest.approx(1.0, abs=1e-12)
    assert bandit.num_arms == kept + new


def test_rates_that_were_not_set_by_hand_are_those_of_the_new_number_of_arms():
    bandit, whole = Exp3S(), Exp3S()
    bandit.reset(4, 1000)
    whole.reset(5, 1000)
    bandit.rearrange([0, 1, 2, 3, None])
    assert (bandit.eta, bandit.epsilon) == (whole.eta, whole.epsilon)
    assert bandit.probabilities() == pytest.approx([0.2] * 5, abs=1e-12)


def test_sharing_goes_on_where_it_was():
    bandit = taught("abc", steps=50).bandit
    updates = bandit.state_dict()["updates"]
    bandit.rearrange([2, 0, None])
    assert bandit.state_dict()["updates"] == updates == 50


def test_weights_given_by_hand_are_rearranged_too():
    bandit = FixedPolicy([1.0, 2.0, 5.0])
    bandit.reset(3)
    bandit.rearrange([2, 0, None])
    assert bandit.probabilities().tolist() == pytest.approx([5 / 9, 1 / 9, 3 / 9])
    with pytest.raises(ValueError, match="FixedPolicy has no weight above 0 for the arms that stay"):
        bandit.rearrange([None])
    assert bandit.probabilities().tolist() == pytest.approx([5 / 9, 1 / 9, 3 / 9])


@pytest.mark.parametrize("arms", [[], [0, 0], [3], [-1]])
def test_arms_that_are_none_are_refused(arms):
    bandit = taught("abc").bandit
    before = bandit.state_dict()
    with pytest.raises(ValueError, match="arms must name each of 3 arms at most once, and None for a new one"):
        bandit.rearrange(arms)
    assert bandit.state_dict() == before


def test_a_bandit_without_arms_is_told_to_start_first():
    with pytest.raises(RuntimeError, match=r"call Exp3S.reset\(num_arms\) before rearrange"):
        Exp3S().rearrange([None])


class Rigid(Bandit):
    """A bandit of one's own that knows nothing of changing arms."""

    def _start(self):
        self.policy = np.full(self.num_arms, 1.0 / self.num_arms)

    def probabilities(self):
        return self.policy

    def _learn(self, arm, reward, probability, policy):
        pass

    def _state(self):
        return {}

    def _load_state(self, state):
        pass


def test_a_bandit_that_cannot_change_its_arms_says_so_and_nothing_has_changed():
    teacher = Teacher(["a", "b"], bandit=Rigid())
    before = teacher.state_dict()
    with pytest.raises(ValueError, match=r"Rigid cannot change its arms: implement Rigid._rearrange\(arms\)"):
        teacher.add_task("c")
    assert teacher.state_dict() == before
    other = Teacher(["a", "c"], bandit=Rigid())
    with pytest.raises(ValueError, match="Rigid cannot change its arms"):
        other.load_state_dict(before, strict=False)
    assert other.bandit.num_arms == 2


# ---------------------------------------------------------------- the teacher


@pytest.mark.parametrize("make", BANDITS.values(), ids=BANDITS)
def test_a_state_of_other_tasks_is_matched_by_name(make):
    teacher = taught("abcd", make)
    teacher.remove_task("b")
    open_draws = [teacher.draw() for _ in range(30)]
    other = Teacher(list("dxb"), bandit=make(), seed=3)
    changes = other.load_state_dict(teacher.state_dict(), strict=False)
    assert changes == TaskChanges(kept=("d", "b"), new=("x",), gone=("a", "c"))
    assert other.removed == ("b",)
    assert (other.draws, other.updates) == (teacher.draws, teacher.updates)
    assert [draw.id for draw in other.open_draws()] == [draw.id for draw in open_draws if draw.task == "d"]
    assert {(draw.task, draw.arm) for draw in other.open_draws()} == {("d", 0)}
    other.restore_task("b")
    if make is not BANDITS["uniform"]:
        old, new = weights(teacher.bandit), weights(other.bandit)
        assert new[0] / new[2] == pytest.approx(old[3] / old[1], rel=1e-12)
        assert new[1] == pytest.approx((new[0] + new[2]) / 2, rel=1e-12)
    for draw in [*other.open_draws(), *(other.draw() for _ in range(20))]:
        other.reward(draw, 1.0)
    assert other.probabilities().sum() == pytest.approx(1.0, abs=1e-12)


def test_another_order_is_refused_unless_it_is_matched_by_name():
    teacher, other = taught("abc"), Teacher(list("cab"), bandit=BANDITS["Exp3S"](), seed=3)
    with pytest.raises(ValueError, match=r"the same names in another order.*CurriculumCallback\(strict=False\)"):
        other.load_state_dict(teacher.state_dict())
    assert other.load_state_dict(teacher.state_dict(), strict=False) == TaskChanges(tuple("cab"), (), ())
    assert other.probabilities() == pytest.approx(teacher.probabilities()[[2, 0, 1]], rel=1e-12)


def test_a_state_whose_tasks_were_all_removed_is_refused():
    teacher = taught("abc")
    teacher.remove_task("a")
    with pytest.raises(
        ValueError, match=r"all of the tasks \['a'\] were removed in the checkpoint: give one that was not"
    ):
        Teacher(["a"], bandit=BANDITS["Exp3S"](), seed=3).load_state_dict(teacher.state_dict(), strict=False)


@pytest.mark.parametrize("make", BANDITS.values(), ids=BANDITS)
def test_an_added_task_gets_the_mean_weight_and_open_draws_stay(make):
    teacher = taught("abc", make)
    before = weights(teacher.bandit) if make is not BANDITS["uniform"] else np.full(3, 1 / 3)
    waiting = [teacher.draw() for _ in range(5)]
    teacher.add_task("d")
    expected = np.append(before, before.mean())
    expected /= expected.sum()
    if make is not BANDITS["uniform"]:
        np.testing.assert_allclose(weights(teacher.bandit), expected, rtol=1e-12)
    assert teacher.open_draws() == waiting
    for draw in waiting:
        assert teacher.reward(draw, 0.5) is not None
    assert "d" in {teacher.draw().task for _ in range(200)}
    again = Teacher(list("abcd"), bandit=make(), seed=3)
    again.load_state_dict(teacher.state_dict())
    assert again.state_dict() == teacher.state_dict()
    assert again.draw() == teacher.draw()


def test_a_name_that_is_there_or_is_none_is_refused():
    teacher = Teacher(["a"])
    with pytest.raises(ValueError, match="task names must be unique, 'a' is given twice"):
        teacher.add_task("a")
    with pytest.raises(TypeError, match="task names must be strings, got 3"):
        teacher.add_task(3)
    assert teacher.tasks == ("a",)


# ---------------------------------------------------------------- the history


def test_a_history_keeps_what_is_known_of_tasks_that_are_gone():
    history = CurriculumHistory(list("abc"), grid={"axis": ["1", "2", "3"]})
    teacher = Teacher(list("abc"), bandit=FixedPolicy([0.5, 0.3, 0.2]))
    for _ in range(30):
        draw = teacher.draw()
        policy = teacher.probabilities()
        history.record(draw, progress=0.1, reward=0.0, loss=float(draw.arm), policy=policy)
    counts, table = history.draws, history.to_columns()["task"]
    history.adopt(["c", "x"])
    assert history.tasks == ("c", "x", "a", "b")
    assert history.grid is None
    assert history.draws.tolist() == [counts[2], 0, counts[0], counts[1]]
    assert history.to_columns()["task"] == table
    assert history.policies()[1][-1].tolist() == pytest.approx([0.2, 0.0, 0.5, 0.3])
    assert history.last_losses[[0, 2, 3]].tolist() == [2.0, 0.0, 1.0]
    history.record(teacher.draw(), progress=0.0, reward=0.0, loss=0.0, policy=np.array([0.25, 0.75]))
    assert history.policies()[1][-1].tolist() == [0.25, 0.75, 0.0, 0.0]
    other = CurriculumHistory(history.tasks)
    other.load_state_dict(history.state_dict())
    assert other.to_columns()["task"] == history.to_columns()["task"]


def test_the_same_tasks_change_nothing():
    history = CurriculumHistory(["a", "b"], grid={"axis": ["1", "2"]})
    history.adopt(["a", "b"])
    assert history.grid == {"axis": ["1", "2"]}


# ---------------------------------------------------------------- the loader


def delivered(iterator, count):
    return [rows_of(batch) for batch in itertools.islice(iterator, count)]


@pytest.mark.parametrize("stream", [False, True])
def test_tasks_that_stay_go_on_where_they_were_whatever_their_place(stream):
    def tasks(names):
        kind = StreamedRows if stream else Rows
        return {name: kind(int(name), 12) for name in names}

    loader = CurriculumLoader(tasks("012"), batch_size=2, steps_per_epoch=60, seed=4)
    teacher = Teacher(loader.names, bandit=FixedPolicy.uniform(), seed=1)
    loader.attach(teacher)
    seen = {"2": [], "0": []}
    for task, rows in delivered(iter(loader), 20):
        seen.setdefault(str(task), []).extend(rows)
    state, teacher_state = loader.state_dict(), teacher.state_dict()

    other = CurriculumLoader(tasks("302"), batch_size=2, steps_per_epoch=60, seed=4)
    other.load_state_dict(state)
    again = Teacher(other.names, bandit=FixedPolicy.uniform(), seed=1)
    again.load_state_dict(teacher_state, strict=False)
    other.attach(again, strict=False)
    later = {}
    for task, rows in delivered(iter(other), 40):
        later.setdefault(str(task), []).extend(rows)
    assert set(later) == {"3", "0", "2"}
    for name in "02":
        rows = seen[name] + later[name]
        for start in range(0, len(rows) - 11, 12):
            assert sorted(rows[start : start + 12]) == list(range(12)), "every pass has every sample once"
    assert sorted(later["3"][:12]) == list(range(12))


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_a_task_added_in_the_middle_of_an_epoch_is_drawn_after_what_was_planned(workers, persistent):
    options = {"num_workers": workers, "persistent_workers": persistent}
    loader = CurriculumLoader(tasks_of_rows(12, 12), batch_size=2, steps_per_epoch=60, seed=4, **options)
    teacher = Teacher(loader.names, bandit=FixedPolicy.uniform(), seed=1)
    loader.attach(teacher)
    iterator = iter(loader)
    found = delivered(iterator, 10)
    loader.add_task("2", Rows(2, 12))
    planned = teacher.draws
    found += delivered(iterator, 50)
    assert teacher.draws == 60
    assert 2 not in [task for task, _ in found[:planned]]
    assert 2 in [task for task, _ in found[planned:]]
    for task in range(3):
        rows = [row for owner, part in found if owner == task for row in part]
        for start in range(0, len(rows) - 11, 12):
            assert sorted(rows[start : start + 12]) == list(range(12))
    assert next(iterator, None) is None


def test_a_run_with_an_added_task_is_resumed_by_the_loader_that_has_it():
    loader = CurriculumLoader(tasks_of_rows(12, 12), batch_size=2, steps_per_epoch=60)
    iterator = iter(loader)
    delivered(iterator, 7)
    loader.add_task("2", Rows(2, 12))
    delivered(iterator, 7)
    state = loader.state_dict()
    other = CurriculumLoader(tasks_of_rows(12, 12, 12), batch_size=2, steps_per_epoch=60)
    other.load_state_dict(state)
    assert delivered(iter(other), 46) == delivered(iterator, 46)


def test_what_cannot_be_added_is_refused_and_nothing_has_changed():
    loader = CurriculumLoader(tasks_of_rows(12, 12), batch_size=8, steps_per_epoch=60, drop_last=True)
    with pytest.raises(ValueError, match="there is a task '0' already"):
        loader.add_task("0", Rows(0, 12))
    with pytest.raises(ValueError, match="task '2' has 4 samples, fewer than one batch"):
        loader.add_task("2", Rows(2, 4))
    with pytest.raises(ValueError, match="task '2' is an empty dataset"):
        loader.add_task("2", Rows(2, 0))
    with pytest.raises(TypeError, match="task '2' must be a Dataset"):
        loader.add_task("2", 7)
    assert loader.names == loader.teacher.tasks == ("0", "1")
    assert len(list(loader)) == 60
    with pytest.raises(ValueError, match=r"task '2' would change the length of the epoch: .* steps_per_epoch="):
        CurriculumLoader(tasks_of_rows(12)).add_task("2", Rows(2, 4))
    with pytest.raises(ValueError, match=r"the grid \['axis'\] has no cell for task '2'"):
        CurriculumLoader(tasks_of_rows(12, 12), grid={"axis": 2}, steps_per_epoch=5).add_task("2", Rows(2, 4))


# ---------------------------------------------------------------- with a trainer


class Adding(pl.Callback):
    """Adds a task, and takes another out, while the model trains."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 30:
            trainer.train_dataloader.add_task("late", tasks_of_constants("x")["x"])
        if trainer.global_step == 50:
            trainer.train_dataloader.teacher.remove_task("a")


def fit(callback, names, steps, *others, ckpt_path=None):
    pl.seed_everything(0, verbose=False)
    loader = CurriculumLoader(tasks_of_constants(names), batch_size=4, steps_per_epoch=40)
    fitter = trainer(callback, *others, max_steps=steps)
    fitter.fit(Linear(), loader, ckpt_path=ckpt_path)
    return fitter


@pytest.mark.parametrize("signal", [None, MeanPredictionGain()])
def test_a_task_added_while_training_is_trained_on_and_recorded(signal):
    callback = CurriculumCallback(Exp3S(eta=0.01, epsilon=0.5), signal)
    fit(callback, "abc", 120, Adding())
    history = callback.history
    assert history.tasks == ("a", "b", "c", "late")
    tasks = history.to_columns()["task"]
    assert "late" not in tasks[:30]
    assert "late" in tasks[30:]
    assert "a" not in tasks[51:]
    assert history.policies()[1][29].tolist()[3] == 0.0
    assert history.policies()[1][-1].tolist()[3] > 0.0
    assert len(history.policies()[1][-1]) == 4


def test_a_checkpoint_goes_on_with_other_tasks_and_says_which(tmp_path, caplog):
    first = CurriculumCallback()
    fit(first, "abc", 60).save_checkpoint(tmp_path / "last.ckpt")
    second = CurriculumCallback(strict=False)
    with caplog.at_level(logging.WARNING, logger="curricula"):
        fit(second, "cbx", 120, ckpt_path=tmp_path / "last.ckpt")
    (message,) = [message for message in caplog.messages if "had other tasks" in message]
    assert "['c', 'b'] kept the ratios" in message
    assert "['x'] are new" in message
    assert "['a'] are gone" in message
    assert second.history.steps == 120
    assert second.history.tasks == ("c", "b", "x", "a")
    assert second.history.to_columns()["task"][:60] == first.history.to_columns()["task"]
    assert second.history.draws.sum() == 120
    assert second.history.draws[3] == first.history.draws[0]


def test_after_a_change_of_tasks_the_run_is_resumed_exactly(tmp_path):
    fit(CurriculumCallback(), "abc", 60).save_checkpoint(tmp_path / "first.ckpt")
    whole = CurriculumCallback(strict=False)
    fit(whole, "cbx", 120, ckpt_path=tmp_path / "first.ckpt")
    half = CurriculumCallback(strict=False)
    fit(half, "cbx", 90, ckpt_path=tmp_path / "first.ckpt").save_checkpoint(tmp_path / "second.ckpt")
    rest = CurriculumCallback()
    fit(rest, "cbx", 120, ckpt_path=tmp_path / "second.ckpt")
    assert rest.history.tasks == whole.history.tasks
    assert rest.history.column("arm").tolist() == whole.history.column("arm").tolist()
    assert rest.teacher.state_dict()["content"]["bandit"]["weights"] == pytest.approx(
        whole.teacher.state_dict()["content"]["bandit"]["weights"], abs=0
    )
