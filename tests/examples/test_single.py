"""One training from the command line, the demonstration, and the curricula to read from."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import pytest

from curricula.tracking import CurriculumHistory
from examples import demo, reading
from examples.compare.figures import comparison
from examples.compare.problem import Job
from examples.compare.problems import problem_of
from examples.compare.runs import read_runs
from examples.compare.single import add_run_options, middle_rate, run_from_command_line
from examples.compare.training import train
from examples.junk_arms.__main__ import main as junk_arms
from examples.parity_staircase.__main__ import main as parity_staircase
from examples.repeat_copy.__main__ import main as repeat_copy


def options(tmp_path, *arguments):
    parser = argparse.ArgumentParser()
    add_run_options(parser, tmp_path)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(("method", "has_history"), [("curriculum", True), ("uniform, mixed", False)])
def test_a_single_run_leaves_a_page_and_the_history_of_its_curriculum(tmp_path, capsys, method, has_history):
    problem = problem_of("digits_noise")
    assert run_from_command_line(problem, options(tmp_path, "--steps", "20", "--method", method)) == 0
    assert "goal not reached" in capsys.readouterr().out
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert f"Digits beside noise: {method}" in page
    files = list(tmp_path.glob("*.history.json"))
    assert len(files) == has_history
    if has_history:
        assert CurriculumHistory.load(files[0]).draws.sum() == 20


def test_a_single_run_that_cannot_be_made_is_refused(tmp_path, capsys):
    problem = problem_of("digits_noise")
    assert run_from_command_line(problem, options(tmp_path, "--method", "uniform mixed")) == 2
    assert "did you mean 'uniform, mixed'" in capsys.readouterr().err
    assert run_from_command_line(problem, options(tmp_path, "--method", "target only")) == 2
    assert "the problem has no target" in capsys.readouterr().err


def test_a_single_run_of_a_replay_makes_the_run_that_it_replays(tmp_path, capsys):
    problem = problem_of("digits_noise")
    method = "curriculum, replayed: its mixture, mixed"
    assert run_from_command_line(problem, options(tmp_path, "--steps", "20", "--method", method)) == 0
    assert "first the run that is replayed: curriculum\n" in capsys.readouterr().out
    assert f"Digits beside noise: {method}" in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("main", "option", "value", "allowed"),
    [
        (parity_staircase, "--steps", "0", "whole number of at least 1"),
        (parity_staircase, "--steps", "many", "whole number of at least 1"),
        (parity_staircase, "--threads", "0", "whole number of at least 1"),
        (parity_staircase, "--seed", "-1", "whole number of at least 0"),
        (parity_staircase, "--lr", "0", "number above 0"),
        (parity_staircase, "--lr", "nan", "number above 0"),
        (parity_staircase, "--duplicates", "-1", "whole number of at least 0"),
        (junk_arms, "--noise", "-1", "whole number of at least 0"),
        (junk_arms, "--useful", "0", "whole number of at least 1"),
        (repeat_copy, "--batch-size", "0", "whole number of at least 1"),
        (repeat_copy, "--size", "0", "whole number of at least 1"),
        (demo.main, "--seeds", "0", "whole number of at least 1"),
        (demo.main, "--jobs", "0", "whole number of at least 1"),
        (reading.main, "--steps", "0", "whole number of at least 1"),
    ],
)
def test_an_option_that_cannot_be_right_is_refused(main, option, value, allowed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["example", "--out", str(tmp_path / "out"), "--steps", "1", option, value])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert f"argument {option}: it must be a {allowed}, got {value!r}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_rate_of_a_single_run_is_the_middle_one():
    assert middle_rate(problem_of("parity_staircase")) == 2e-3
    assert middle_rate(problem_of("repeat_copy")) == 5e-3


@pytest.mark.parametrize(
    ("main", "arguments"),
    [(parity_staircase, ["--duplicates", "0"]), (repeat_copy, ["--size", "2"]), (junk_arms, ["--noise", "1"])],
)
def test_every_workload_trains_from_the_command_line(main, arguments, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["workload", *arguments, "--steps", "3", "--out", str(tmp_path)])
    assert main() == 0
    assert (tmp_path / "index.html").exists()


def test_the_demonstration_has_the_mixed_batch_beside_the_curriculum(tmp_path, monkeypatch, capsys):
    arguments = [
        "--out",
        str(tmp_path),
        "--problems",
        "parity_staircase_8",
        "--seeds",
        "1",
        "--steps",
        "60",
        "--jobs",
        "1",
    ]
    monkeypatch.setattr("sys.argv", ["demo", *arguments])
    demo.main()
    said = capsys.readouterr().out
    assert "Parity staircase, 8 tasks: uniform, mixed, seed 0" in said
    assert "| uniform, mixed | 0.002 | 0/1 | never [never - never] |" in (tmp_path / "table.md").read_text()
    runs = read_runs(tmp_path / "runs.jsonl.gz")
    assert [(run.method, run.seed) for run in runs] == sorted((method, 0) for method in demo.METHODS)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert all(method in page for method in demo.METHODS)
    assert "uniform, one task" in page
    for kind in ("comparison", "policy", "losses", "syllabus"):
        assert (tmp_path / f"parity_staircase_8-{kind}.png").exists()
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 3


def test_curricula_to_read_from_are_drawn_and_counted(tmp_path, monkeypatch, capsys):
    arguments = ["--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs"), "--steps", "60"]
    monkeypatch.setattr("sys.argv", ["reading", *arguments])
    reading.main()
    table = (tmp_path / "runs" / "table.md").read_text(encoding="utf-8")
    assert table in capsys.readouterr().out
    assert [line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]] == list(reading.CASES)
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {*reading.CASES, "healthy-losses", "noise-losses"}


def test_held_out_scores_are_logged_and_a_run_of_the_same_seed_is_the_same(tmp_path):
    from pytorch_lightning.loggers import CSVLogger

    problem = replace(problem_of("digits_noise"), budget=100)
    job = Job("digits_noise", "curriculum", 8e-3, 5)
    logger = CSVLogger(tmp_path, name="", version="")
    watched = train(problem, job, logger=logger, history=tmp_path / "history.json")
    logger.save()
    assert watched.scores == train(problem, job).scores, "neither logger nor history changes a run"
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert "held_out/mean" in lines[0]
    assert json.loads((tmp_path / "history.json").read_text())
    curves = comparison([], problem)
    assert curves.goal == 0.9
