"""The runner that compares methods: records, schedules, mixtures, statistics."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import TensorDataset, default_collate

from examples.compare import schedule
from examples.compare.__main__ import main
from examples.compare.methods import METHODS, Setting, named
from examples.compare.mixing import Mixture, Script, samples_of, sizes_of, tempered
from examples.compare.problem import Job, Problem, Scored
from examples.compare.problems import PROBLEMS, Samples, problem_of
from examples.compare.published import PUBLISHED
from examples.compare.records import COLUMNS, Record, Records, digest, read, write_csv, write_parquet
from examples.compare.schedule import choose_rates, expand, make_all, tuning_jobs
from examples.compare.training import Evaluation, train
from tests.forked import call_forked

DEADLY = "dies"


class Line(Scored):
    """Linear regression, scored by its loss."""

    def __init__(self, lr):
        super().__init__()
        self.layer, self.lr = nn.Linear(2, 1), lr

    def training_step(self, batch, batch_idx):
        losses = (self.layer(batch[0]) - batch[1]).square().squeeze(1)
        return {"loss": losses.mean(), "losses": losses}

    def score(self, batch):
        return float(self.training_step(batch, 0)["loss"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def line(seed, scale, size):
    inputs = torch.randn(size, 2, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, scale * inputs.sum(1, keepdim=True))


def lines(seed):
    return {"small": line(seed, 1.0, 40), "large": line(seed + 1000, 2.0, 120)}


def toy(name="toy", **options):
    usual = {
        "tasks": lines,
        "held_out": lambda: {name: task.tensors for name, task in lines(987_654).items()},
        "model": Line,
        "goal": 0.5,
        "of": "target",
        "unit": "loss",
        "higher_is_better": False,
        "target": "large",
        "budget": 20,
        "evaluate_every": 5,
        "batch_size": 8,
        "learning_rates": (0.01, 0.1),
        "task_goal": 0.5,
        "order": ["small", "large"],
        "useful": ["large"],
        "one_size": False,
    }
    return Problem(name=name, title=name, text=name, **{**usual, **options})


class Deadly(Line):
    """Ends its process in the middle of a training."""

    def training_step(self, batch, batch_idx):
        if batch_idx == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(batch, batch_idx)


def toy_of(name):
    return toy(name, model=Deadly) if name == DEADLY else toy(name)


class InThisProcess:
    """A pool that does the work at once."""

    def __init__(self, *arguments, **options):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def submit(self, function, *arguments):
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:  # noqa: BLE001 - as a pool's, at the call of result()
            future.set_exception(error)
        return future


@pytest.fixture
def in_this_process(monkeypatch):
    """Trainings are made at once: starting a process takes longer than they do."""
    monkeypatch.setattr("examples.compare.schedule.ProcessPoolExecutor", InThisProcess)


def test_a_mixture_follows_its_weights_and_reads_every_sample_once_a_pass():
    mixture = Mixture(lines(0), [1.0, 3.0], batch_size=8, steps=100, seed=0, how="quotas")
    batches = list(mixture)
    assert len(batches) == len(mixture) == 100
    assert mixture.counts.tolist() == [200, 600]
    assert batches[0][0].shape == (8, 2)
    rows = torch.cat([inputs for inputs, _ in batches])
    own = [row for row in rows if (lines(0)["small"].tensors[0] == row).all(dim=1).any()]
    assert len(torch.stack(own[:40]).unique(dim=0)) == 40


@pytest.mark.parametrize(("how", "least"), [("independent", 2), ("one", 1)])
def test_a_mixture_draws_tasks_per_sample_or_per_batch(how, least):
    mixture = Mixture(lines(0), [1.0, 3.0], batch_size=8, steps=400, seed=0, how=how)
    small = lines(0)["small"].tensors[0]
    counts = [sum(bool((small == row).all(dim=1).any()) for row in inputs) for inputs, _ in mixture]
    assert np.mean(counts) == pytest.approx(2.0, abs=0.4)
    assert (set(counts) <= {0, 8}) == (least == 1)


def test_quotas_are_exact_over_batches_that_do_not_divide():
    mixture = Mixture({k: [torch.zeros(1)] for k in "abc"}, [1, 1, 1], batch_size=4, steps=3, seed=0, how="quotas")
    for number, _ in enumerate(mixture, 1):
        assert mixture.counts.sum() == 4 * number
        assert np.ptp(mixture.counts) <= 1


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [1.0, -1.0], [math.nan, 1.0]])
def test_weights_that_cannot_be_right_are_refused(weights):
    with pytest.raises(ValueError, match="weights must be 2 numbers >= 0"):
        Mixture(lines(0), weights, batch_size=8, steps=1, seed=0)


def test_a_script_has_its_tasks_in_another_order_in_every_pass():
    tasks = {name: [torch.full((1,), float(arm))] for arm, name in enumerate("abcdef")}
    script = Script(tasks, list(range(6)), batch_size=2, seed=0)
    passes = [[int(batch[0]) for batch in script] for _ in range(3)]
    assert all(sorted(one) == list(range(6)) for one in passes)
    assert len({*map(tuple, passes), tuple(range(6))}) == 4
    assert script.given_out == [arm for one in passes for arm in one]


def test_streams_are_read_on_and_sized_alike():
    stream = Samples([(torch.arange(3.0), torch.arange(3.0))])
    samples = samples_of(stream, np.random.default_rng(0))
    assert [float(next(samples)[0]) for _ in range(5)] == [0.0, 1.0, 2.0, 0.0, 1.0]
    assert sizes_of(lines(0)).tolist() == [40.0, 120.0]
    assert sizes_of({"a": stream, "b": stream}).tolist() == [1.0, 1.0]


def test_temperatures_by_hand():
    sizes = np.array([1.0, 16.0])
    assert tempered(sizes, 1.0).round(4).tolist() == [0.0588, 0.9412]
    assert tempered(sizes, 2.0).tolist() == [0.2, 0.8]
    assert tempered(sizes, math.inf).tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="temperature must be > 0"):
        tempered(sizes, 0.0)


ALIKE = [name for name in METHODS if name.endswith(("16 draws a batch", "a draw per sample"))]  # as with 4 draws
POLICIES = [name for name in METHODS if name.startswith("policy: ")]  # as with the first of them
USABLE = [
    name
    for name, method in METHODS.items()
    if method.replays is None and method.refuses(toy()) is None and name not in [*ALIKE[2:], *POLICIES[1:]]
]


@pytest.mark.parametrize(
    ("problem", "method"),
    [
        ("parity_staircase_8_halves", "curriculum, UGPG"),
        ("parity_staircase_8_variational", "curriculum, VCG"),
        ("parity_staircase_8_variational", "curriculum, GVCG"),
        ("junk_arms_8_24_0", "by hand: 10% on useless tasks, one task a batch"),
    ],
)
def test_methods_for_some_problems_train_there_and_say_why_not_elsewhere(problem, method):
    record = train(problem_of(problem), Job(problem, method, 2e-3, 3, steps=4))
    assert record.steps == [4]
    assert record.samples == [4 * 64]
    with pytest.raises(ValueError, match=r"one batch|not Gaussian|all of its tasks are useful"):
        train(toy(useful=None), Job("toy", method, 0.1, 3))
    assert {*USABLE, *ALIKE, *POLICIES, method} != set(METHODS)


@pytest.mark.parametrize("name", USABLE)
def test_every_method_trains_and_says_what_it_trained_on(name):
    record = train(toy(), Job("toy", name, 0.1, 3))
    assert record.steps == [5, 10, 15, 20]
    assert record.samples == [40, 80, 120, 160]
    assert set(record.scores) == {"small", "large"}
    assert sum(record.draws) == (20 if record.unit_of_draws == "batches" else 160)
    assert (record.arms is None) == (record.unit_of_draws == "samples")
    if record.arms is not None:
        assert np.bincount(record.arms, minlength=2).tolist() == record.draws


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_makes_a_plan_for_batches_of_one_task(name):
    assert METHODS[name].refuses(toy()) is None
    assert METHODS[name].make(Setting(toy(), lines(0), 3, 40)).unit_of_draws == "batches"


@pytest.mark.parametrize(
    "name", ["uniform, mixed", "uniform, exact quotas", "by hand: syllabus, mixed", "curriculum, SPG, 4 draws a batch"]
)
def test_a_run_is_the_same_every_time(name):
    first, again = (train(toy(), Job("toy", name, 0.1, 3)) for _ in range(2))
    assert again.scores == first.scores
    assert again.draws == first.draws


def test_a_replay_has_the_mixture_or_the_draws_of_its_run():
    original = train(toy(), Job("toy", "curriculum", 0.1, 3))
    shuffle = train(toy(), Job("toy", "curriculum, replayed: its draws, shuffled", 0.1, 3), original)
    assert sorted(shuffle.arms) == sorted(original.arms)
    assert shuffle.arms != original.arms
    mixed = train(toy(), Job("toy", "curriculum, replayed: its mixture, mixed", 0.1, 3), original)
    assert sum(mixed.draws) == 160
    shorter = train(toy(), Job("toy", "curriculum", 0.1, 3, 7))
    longer = train(toy(), Job("toy", "curriculum, replayed: its draws, shuffled", 0.1, 3), shorter)
    assert len(longer.arms) == sum(longer.draws) == 20
    assert sorted(longer.arms[:7]) == sorted(longer.arms[7:14]) == sorted(shorter.arms)
    assert np.bincount(longer.arms, minlength=2).tolist() == longer.draws
    with pytest.raises(ValueError, match="no run to replay"):
        train(toy(), Job("toy", "curriculum, replayed: its mixture, mixed", 0.1, 3))


def test_draws_of_steps_of_several_batches_are_not_replayed_one_by_one():
    problem = toy(trainer_options={"accumulate_grad_batches": 2})
    original = train(problem, Job("toy", "curriculum", 0.1, 3))
    with pytest.raises(ValueError, match="cannot be used on 'toy': a step is several batches"):
        train(problem, Job("toy", "curriculum, replayed: its draws, shuffled", 0.1, 3), original)
    assert METHODS["curriculum, replayed: its draws, shuffled"].refuses(toy()) is None


@pytest.mark.parametrize("method", ["uniform, mixed", "UniMax, mixed"])
def test_steps_of_several_batches_are_whole_and_counted(method):
    problem = toy(budget=7, trainer_options={"accumulate_grad_batches": 2})
    record = train(problem, Job("toy", method, 0.1, 3))
    assert record.steps == [5, 7]
    assert sum(record.draws) == record.samples[-1] == 7 * 2 * 8
    plan = METHODS["UniMax, mixed"].make(Setting(problem, lines(0), 3, 40))
    assert plan.loader.weights.tolist() == [0.25, 0.75]  # 640 samples are 4 passes over 40 and 480 of the other


def test_what_does_not_exist_or_fit_is_told_with_what_does():
    with pytest.raises(ValueError, match="no method 'uniform mixed': did you mean 'uniform, mixed'"):
        named("method", "uniform mixed", METHODS)
    with pytest.raises(ValueError, match="no problem 'digit_noise': did you mean 'digits_noise'"):
        problem_of("digit_noise")
    with pytest.raises(ValueError, match="cannot be used on 'toy': the problem has no target"):
        train(toy(of="mean", target=None), Job("toy", "target only", 0.1, 0))
    with pytest.raises(ValueError, match="do not collate into one batch"):
        train(toy(mixes=False), Job("toy", "uniform, mixed", 0.1, 0))
    with pytest.raises(ValueError, match="has its goal for 'means': did you mean 'mean'"):
        toy(of="means")
    with pytest.raises(ValueError, match="goal for a target, and no target"):
        toy(target=None)
    with pytest.raises(ValueError, match="cannot be used on 'toy': nobody would know an order"):
        train(toy(order=None), Job("toy", "by hand: syllabus, mixed", 0.1, 0))
    with pytest.raises(ValueError, match="cannot be used on 'toy': all of its tasks are useful"):
        train(toy(useful=None), Job("toy", "by hand: useful tasks alone, mixed", 0.1, 0))
    for options in ({"of": "solved"}, {"order": ["small", "large"]}):
        with pytest.raises(ValueError, match="give task_goal"):
            toy(task_goal=None, **options)
    with pytest.raises(ValueError, match="does not say when a task is solved"):
        toy(task_goal=None, order=None).solves(0.1)
    with pytest.raises(ValueError, match="seeds of problem 'toy' must be at least 1, got 0"):
        toy(seeds=0)


def test_a_syllabus_by_hand_goes_on_when_a_task_is_solved():
    problem = toy()
    plan = METHODS["by hand: syllabus, mixed"].make(Setting(problem, {"other": lines(0)["small"], **lines(0)}, 0, 20))
    assert plan.loader.weights.tolist() == [0.0, 0.75, 0.25]
    plan.on_scores({"small": 0.6, "large": 0.9})
    assert plan.loader.weights.tolist() == [0.0, 0.75, 0.25]
    plan.on_scores({"small": 0.5, "large": 0.9})
    assert plan.loader.weights.tolist() == [0.0, 0.25, 0.75]
    plan.on_scores({"small": 0.6, "large": 0.9})
    assert plan.loader.weights.tolist() == [0.0, 0.75, 0.25], "what is forgotten is practised again"
    plan.on_scores({"small": 0.1, "large": 0.1})
    assert plan.loader.weights.tolist() == [0.0, 0.25, 0.75]
    told = []
    evaluation = Evaluation(problem, 20, told.append)
    assert train_with(evaluation, problem) == 20
    assert [set(scores) for scores in told] == [{"small", "large"}] * 4


def train_with(evaluation, problem):
    mixture = Mixture(lines(0), [1, 1], batch_size=8, steps=20, seed=0)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(max_steps=20, callbacks=[evaluation], accelerator="cpu", enable_model_summary=False, **options)
    trainer.fit(problem.model(0.1), mixture)
    return trainer.global_step


def test_a_run_ends_at_its_goal_where_the_problem_says_so():
    job = Job("toy", "uniform, mixed", 0.1, 3)
    whole, short = train(toy(goal=2.0), job), train(toy(goal=2.0, stops_at_goal=True), job)
    first = next(place for place in range(4) if whole.scores["large"][place] <= 2.0)
    assert first < 3
    assert short.steps == whole.steps[: first + 1]
    assert short.scores["large"] == whole.scores["large"][: first + 1]


def test_the_cost_of_batches_adds_up():
    job = Job("toy", "uniform, mixed", 0.1, 3)
    assert train(toy(), job).cost == [40.0, 80.0, 120.0, 160.0]
    assert train(toy(cost=lambda batch: float(batch[0].numel())), job).cost == [80.0, 160.0, 240.0, 320.0]


def test_samples_are_collated_as_the_problem_says():
    def collate(samples):
        seen.append(len(samples))
        return default_collate(samples)

    for name in ("uniform, mixed", "curriculum", "curriculum, replayed: its draws, shuffled"):
        seen = []
        replayed = train(toy(), Job("toy", "curriculum", 0.1, 3))
        train(toy(collate=collate), Job("toy", name, 0.1, 3), replayed)
        assert set(seen) == {8}
        assert len(seen) >= 20


def test_records_are_read_back_and_those_of_another_configuration_are_refused(tmp_path):
    records, job = Records(tmp_path / "records"), Job("toy", "uniform, mixed", 0.1, 3)
    assert records.get(job, toy()) is None
    record = train(toy(), job)
    records.add(job, record)
    assert records.get(job, toy()) == record
    assert records.all() == [record]
    assert record.configuration == digest(toy())
    assert {"torch", "numpy", "pytorch-lightning", "python"} <= set(record.versions)
    with pytest.raises(ValueError, match=r"another configuration of 'toy'.*must not be mixed"):
        records.get(job, toy(goal=0.4))
    records.path(job).write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="no record of a run"):
        records.get(job, toy())
    records.path(job).write_text(json.dumps({"format": 99}), encoding="utf-8")
    with pytest.raises(ValueError, match="format 99"):
        read(records.path(job))


def test_rows_are_written_for_every_evaluation_and_task(tmp_path):
    record = train(toy(), Job("toy", "uniform, mixed", 0.1, 3))
    lines_written = write_csv([record], tmp_path / "runs.csv").read_text().splitlines()
    assert lines_written[0] == ",".join(COLUMNS)
    assert len(lines_written) == 1 + 4 * 2
    from pyarrow import parquet

    table = parquet.read_table(write_parquet([record], tmp_path / "runs.parquet"))
    assert table.num_rows == 8
    assert table.column_names == list(COLUMNS)


def test_jobs_are_made_once_and_replays_after_their_runs(tmp_path, in_this_process):
    records = Records(tmp_path)
    methods = ["uniform, mixed", "curriculum, replayed: its draws, shuffled"]
    tuning = tuning_jobs([toy()], methods)
    assert len(tuning) == 2 * 2 * 2  # two methods that are run themselves, two rates, two seeds
    assert make_all(tuning, toy_of, records) == []
    rates = choose_rates([toy()], methods, records)
    assert set(rates.values()) <= {0.01, 0.1}
    assert rates["toy", methods[1]] == rates["toy", "curriculum"]
    jobs = expand([toy()], methods, range(100, 102), rates)
    assert len(jobs) == 6
    seen = []
    assert make_all(jobs, toy_of, records, report=lambda done, total, job: seen.append((done, total))) == []
    assert seen == [(number, 6) for number in range(1, 7)]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert make_all(jobs, toy_of, records) == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_rates_are_chosen_in_shorter_runs_where_the_problem_says_so(tmp_path):
    problem = toy(tuning_steps=10)
    jobs = tuning_jobs([problem], ["uniform, mixed"])
    assert {job.steps for job in jobs} == {10}
    records = Records(tmp_path)
    for job in jobs:
        records.add(job, train(problem, job))
    assert {record.steps[-1] for record in records.all()} == {10}
    assert choose_rates([problem], ["uniform, mixed"], records) == {("toy", "uniform, mixed"): 0.1}


def test_a_run_that_ended_at_its_goal_stays_there_when_rates_are_chosen(tmp_path):
    # At its goal after 5 of 20 steps, and three evaluations more at .4: a mean of .475; the other has .575.
    problem, records = toy(learning_rates=(1.0, 2.0)), Records(tmp_path)
    for seed in (0, 1):
        for lr, scores in ((1.0, [0.7, 0.4]), (2.0, [0.6, 0.55, 0.45, 0.4])):
            record = replace(recorded("uniform, mixed", seed, scores), lr=lr, configuration=digest(problem))
            records.add(Job("toy", "uniform, mixed", lr, seed), record)
    assert choose_rates([problem], ["uniform, mixed"], records) == {("toy", "uniform, mixed"): 1.0}


def run_jobs_of_which_some_die(folder):
    fork = multiprocessing.get_context("fork")  # a spawned process imports everything anew, in every pool
    schedule.multiprocessing = SimpleNamespace(get_context=lambda method: fork)
    records = Records(folder)
    jobs = [Job(name, "uniform, mixed", 0.1, seed) for seed in (0, 1) for name in ("toy", DEADLY)]
    failures = schedule.make_all(jobs, toy_of, records, processes=2)
    assert [failure.job.problem for failure in failures] == [DEADLY, DEADLY]
    assert {failure.error for failure in failures} == {"its process died"}
    assert len(records.all()) == 2


def test_a_process_that_dies_takes_no_other_run_with_it(tmp_path):
    call_forked(run_jobs_of_which_some_die, tmp_path)


def test_an_error_of_one_run_is_told_and_the_others_go_on(tmp_path, in_this_process):
    jobs = [Job("toy", "no such method", 0.1, 0), Job("toy", "uniform, mixed", 0.1, 0)]
    with pytest.raises(KeyError):
        make_all(jobs, toy_of, Records(tmp_path))
    jobs[0] = Job("toy", "target only", 0.1, 0, steps=-1)
    failures = make_all(jobs, toy_of, Records(tmp_path))
    assert len(failures) == 1
    assert len(Records(tmp_path).all()) == 1


def recorded(method, seed, scores, problem="toy"):
    steps = [5 * (place + 1) for place in range(len(scores))]
    return Record(
        problem, method, 0.1, seed, steps, [8 * s for s in steps], [3.0 * s for s in steps], [float(s) for s in steps],
        {"small": [0.1] * len(scores), "large": scores}, [1, 1], "batches", None, 20, "x", {},
    )  # fmt: skip


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_is_trained_on_for_some_steps(name):
    problem = problem_of(name)
    record = train(problem, Job(name, "uniform, mixed", problem.learning_rates[0], 7, steps=3))
    assert record.steps == [3]
    assert set(record.scores) <= set(problem.tasks(7))
    assert all(math.isfinite(value) for values in record.scores.values() for value in values)
    assert problem.summary(record.at(-1))[problem.of] is not None


def test_the_command_lists_refuses_and_goes_on(tmp_path, capsys):
    assert main(["list"]) == 0
    assert "uniform, mixed" in capsys.readouterr().out
    assert main(["run", "--problems", "digit_noise", "--out", str(tmp_path)]) == 2
    assert "did you mean 'digits_noise'" in capsys.readouterr().err
    assert main(["run", "--seeds", "0", "--out", str(tmp_path / "nothing")]) == 2
    assert "--seeds must be at least 1, got 0" in capsys.readouterr().err
    assert main(["table", "--out", str(tmp_path / "nothing")]) == 2
    assert "has no records" in capsys.readouterr().err


def test_a_full_disk_ends_the_command_and_what_was_recorded_is_kept(tmp_path, capsys, monkeypatch, in_this_process):
    added = Records.add

    def add(self, job, record):
        if len(self.all()) == 2:
            raise OSError(28, "No space left on device")
        added(self, job, record)

    command = ["run", "--problems", "digits_noise", "--methods", "uniform, mixed", "--lr", "0.01", "--jobs", "1"]
    command += ["--out", str(tmp_path), "--seeds", "3"]
    short = replace(problem_of("digits_noise"), budget=2)
    monkeypatch.setattr("examples.compare.__main__.problem_of", lambda name: short)
    with monkeypatch.context() as full:
        full.setattr(Records, "add", add)
        assert main(command) == 1
    assert "No space left on device. Make room or give another --out" in capsys.readouterr().err
    assert len(Records(tmp_path).all()) == 2
    assert main(command) == 0
    assert "reported 3/3" in capsys.readouterr().out


def test_what_is_published_exists_and_fits():
    for name, methods in PUBLISHED.items():
        problem = problem_of(name)
        assert {"uniform, mixed", "uniform, one task a batch", "curriculum"} <= set(methods)
        assert len(set(methods)) == len(methods)
        left_out = [method for method in methods if METHODS[method].refuses(problem) is not None]
        assert left_out == [] or name.startswith("digits"), "the digits try everything"
