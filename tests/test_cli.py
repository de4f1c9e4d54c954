"""``python -m curricula``: pages and tables of saved runs, and never a traceback for what a user does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import curricula
from curricula.cli import main
from curricula.export import average_mixture, learned_schedule
from curricula.schedule import Schedule
from curricula.tracking import CurriculumHistory
from tests.tracking.histories import staircase
from tests.tracking.test_report import read


@pytest.fixture
def runs(tmp_path):
    for name, tasks in (("a", 3), ("b", 3), ("c", 4)):
        staircase(tasks, steps=60).save(tmp_path / "runs" / f"{name}.history.json")
    return tmp_path / "runs"


def headings(page):
    return [text for text in page.text if text.strip()]


def test_a_page_of_one_run(runs, capsys):
    assert main(["report", str(runs / "a.history.json"), "-o", "one.html", "--title", "Mine"]) == 0
    assert capsys.readouterr().out == "one.html\n"
    page = read(Path("one.html"))
    assert len(page.charts()) == 6
    assert "Mine" in page.text


def test_runs_of_one_name_are_seeds(runs):
    files = [f"ours={runs / 'a.history.json'}", f"ours={runs / 'b.history.json'}", f"other={runs / 'c.history.json'}"]
    assert main(["report", *files, "-o", "many.html"]) == 0
    page = read(Path("many.html"))
    assert len(page.every("section")) == 1 + 3
    assert "ours: 2 runs" in page.charts()[0]["aria-label"]
    assert {"ours, run 1 of 2", "other"} <= set(page.text)
    assert any("different tasks" in text for text in page.text)


def test_a_folder_is_all_its_runs(runs):
    assert main(["report", str(runs), "-o", "all.html"]) == 0
    page = read(Path("all.html"))
    assert {"Side by side", "a", "b", "c"} <= set(page.text)


def test_a_path_may_hold_an_equals_sign(runs):
    path = runs / "epoch=0-step=9.json"
    (runs / "a.history.json").rename(path)
    assert main(["report", str(path), f"named={path}", "-o", "page.html"]) == 0
    assert {"epoch=0-step=9", "named"} <= set(read(Path("page.html")).text)


def test_a_table(runs):
    assert main(["table", str(runs / "a.history.json"), "-o", "a.csv"]) == 0
    assert len(Path("a.csv").read_text().splitlines()) == 1 + 60
    assert main(["table", str(runs / "a.history.json"), "-o", "tasks.csv", "--table", "tasks"]) == 0
    assert len(Path("tasks.csv").read_text().splitlines()) == 1 + 3


def test_a_mixture_and_a_schedule(runs, capsys):
    run = str(runs / "a.history.json")
    history = CurriculumHistory.load(run)
    assert main(["export", run, "--to", "mixture.yaml"]) == 0
    assert capsys.readouterr().out == "mixture.yaml\n"
    assert Schedule.load("mixture.yaml").points == ((0, average_mixture(history)),)
    assert main(["export", run, "--to", "schedule.json", "--schedule", "--points", "5"]) == 0
    assert Schedule.load("schedule.json") == learned_schedule(history, 5)
    assert main(["export", run, "--to", "schedule.json", "--schedule"]) == 0
    assert Schedule.load("schedule.json") == learned_schedule(history)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "nowhere.json"], "there is no file or folder nowhere.json"),
        (["report", "me=nowhere.json"], "there is no file or folder nowhere.json"),
        (["report", "note.txt"], "note.txt is no curriculum history"),
        (["table", "runs", "-o", "a.csv"], "runs holds 3 runs (['a', 'b', 'c']): give one file"),
        (["report", "runs", "-o", "note.txt/page.html"], "note.txt"),
        (["export", "nowhere.ckpt", "--to", "a.json"], "there is no file or folder nowhere.ckpt"),
        (["export", "runs", "--to", "a.json"], "runs holds 3 runs (['a', 'b', 'c']): give one file"),
        (["export", "runs/a.history.json", "--to", "a.json", "--schedule", "--points", "0"], "at least 1 point, got"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(runs, tmp_path, capsys, arguments, message):
    (tmp_path / "note.txt").write_text("hello")
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("python -m curricula: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["report"], "RUN"),
        (["report", "a.json", "-o", "page.pdf"], "ends in .html, got 'page.pdf'"),
        (["table", "a.json", "-o", "a.xlsx"], "ends in .csv or .parquet, got 'a.xlsx'"),
        (["table", "a.json"], "-o"),
        (["export", "a.json", "--to", "a.toml"], "is a .json, .yaml or .yml file, got 'a.toml'"),
        (["export", "a.json", "--to", "a.json", "--points", "9"], "give --schedule as well"),
        (["export", "a.json"], "--to"),
    ],
)
def test_arguments_without_sense_end_with_code_2(capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_module_runs():
    command = [sys.executable, "-m", "curricula", "report", "nowhere.json"]
    root = Path(curricula.__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 1
    assert done.stderr == "python -m curricula: there is no file or folder nowhere.json\n"
