"""The page: self-contained, complete, and safe with any name."""

from __future__ import annotations

import builtins
import json
from html.parser import HTMLParser

import pytest

from curricula.tracking import CurriculumHistory
from curricula.tracking.curves import Comparison, Curve
from curricula.tracking.report import Section, task_table, write_report
from tests.tracking.histories import HOSTILE, staircase

PLOTLY = 4_900_000
"""Bytes of a page without a chart: plotly.js."""


class Page(HTMLParser):
    """What a browser would find."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: dict[str, str] = {}
        self._script: str | None = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._script = dict(attributes).get("id", "") if tag == "script" else None

    def handle_data(self, data):
        if self._script is None:
            self.text.append(data)
        else:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data

    def every(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def charts(self) -> list[dict[str, str | None]]:
        return [attributes for attributes in self.every("div") if attributes.get("class") == "chart"]


def read(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


COMPARISON = Comparison({"uniform": [Curve([1, 2], [1.0, 0.5])], "curriculum": [Curve([1, 2], [1.0, 0.05], 2)]}, 0.1)


def test_the_page_has_every_part(tmp_path):
    rows = [{"method": "uniform", "steps": "1,200"}, {"method": "curriculum", "steps": "300"}]
    sections = [
        Section("First", "What it is.", table=rows, history=staircase(5), comparison=COMPARISON),
        Section("Second", history=staircase(12, grid={"a": ["1", "2", "3"], "b": ["1", "2", "3", "4"]})),
    ]
    page = read(write_report(tmp_path / "deep" / "page.html", sections, title="Two runs"))
    charts = page.charts()
    assert len(charts) == (1 + 6) + 7
    assert len(page.every("table")) == 1 + 1 + 1
    assert [link["href"] for link in page.every("a")] == ["#section-1", "#section-2"]
    assert [section["id"] for section in page.every("section")] == ["section-1", "section-2"]
    for part in ("Two runs", "What it is.", "Policy over time", "Curriculum against others", "1,200", "task 4"):
        assert part in page.text, part
    assert all(chart["role"] == "img" and len(chart["aria-label"]) > 60 for chart in charts)


def test_runs_of_one_name_are_shown_as_one(tmp_path):
    runs = {"ours": [staircase(3, steps=50), staircase(3, steps=60)], "uniform": [staircase(3, steps=50)]}
    page = read(write_report(tmp_path / "page.html", [Section("All", runs=runs)]))
    assert len(page.charts()) == 1
    assert "ours: 2 runs" in page.charts()[0]["aria-label"]


def test_every_chart_has_its_specification(tmp_path):
    page = read(write_report(tmp_path / "page.html", [Section("A run", history=staircase(169))]))
    for chart in page.charts():
        specification = json.loads(page.scripts[f"{chart['id']}-data"])
        assert specification["data"]
        assert not specification["layout"]["template"]


def test_the_page_loads_nothing_and_runs_what_it_names(tmp_path):
    path = write_report(tmp_path / "page.html", [Section("A run", history=staircase(40), comparison=COMPARISON)])
    page = read(path)
    assert not [tag for tag, attributes in page.tags if "src" in attributes or tag == "link"]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert len([script for script in page.every("script") if "type" not in script]) == 2
    policy = next(meta["content"] for meta in page.every("meta") if meta.get("http-equiv"))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.split("style-src")[0]


def test_hostile_names_are_text_and_nothing_else(tmp_path):
    history = staircase(HOSTILE, steps=100, target=HOSTILE[0])
    curves = Comparison({name: [Curve([1, 2], [1.0, 0.5])] for name in HOSTILE}, 0.1, label=HOSTILE[0])
    section = Section(HOSTILE[0], HOSTILE[2], table=[{HOSTILE[0]: HOSTILE[2]}], history=history, comparison=curves)
    page = read(write_report(tmp_path / "page.html", [section, section], title=HOSTILE[0]))
    assert len([script for script in page.every("script") if "type" not in script]) == 2
    assert not page.every("b")
    assert not any("<" in text for name, text in page.scripts.items() if name)
    assert HOSTILE[0] in page.text


def test_many_tasks_are_left_out_of_the_table_and_counted(tmp_path):
    path = write_report(tmp_path / "page.html", [Section("A run", history=staircase(100, steps=500))])
    page = read(path)
    assert len(page.every("tr")) == 1 + 40
    assert any(text.startswith("The 40 most practised of 100 tasks; the other 60, with ") for text in page.text)


def test_the_target_is_in_the_table_however_little_it_was_practised(tmp_path):
    history = staircase(100, steps=500, target="task 99")
    history._tallies.draws[99] = 0
    page = read(write_report(tmp_path / "page.html", [Section("A run", history=history)]))
    assert len(page.every("tr")) == 1 + 40
    assert "task 99 (target)" in page.text


def test_characters_that_no_page_can_hold_are_replaced(tmp_path):
    names = ["half \ud800", "back \u202ewards", "bell \x07", "naïve"]
    path = write_report(tmp_path / "page.html", [Section(names[0], history=staircase(names, steps=50))])
    page = read(path)
    assert {"half \ufffd", "back \ufffdwards", "bell \ufffd", "naïve"} <= set(page.text)


def test_a_page_of_many_runs_stays_small(tmp_path):
    sections = [Section(str(size), history=staircase(size, steps=500)) for size in (8, 32, 169, 1000)]
    assert write_report(tmp_path / "page.html", sections).stat().st_size < PLOTLY + 3_000_000


def test_the_table_of_tasks_in_numbers():
    row = task_table(staircase(3, steps=200, target="task 2"))[2]
    assert row["task"] == "task 2 (target)"
    assert set(row) == {"task", "draws", "share of draws", "first loss", "last loss", "most probable at step"}
    assert row["first loss"] == "1"


def test_an_empty_history_makes_a_page(tmp_path):
    page = read(write_report(tmp_path / "page.html", [Section("Nothing yet", history=CurriculumHistory(["a", "b"]))]))
    assert len(page.charts()) == 6
    assert "No step was recorded." in page.charts()[0]["aria-label"]


def test_a_report_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one Section"):
        write_report(tmp_path / "page.html", [])


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path, monkeypatch):
    path = write_report(tmp_path / "page.html", [Section("Old", history=staircase(3, steps=20))])
    old = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(path, [Section("New", history=staircase(3, steps=20))])
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_without_the_extra_the_way_to_get_it_is_told(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *arguments, **options):
        if name.startswith("jinja2"):
            raise ImportError("No module named 'jinja2'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"pip install 'lightning-curricula\[plots\]'"):
        write_report(tmp_path / "page.html", [Section("A run", history=CurriculumHistory(["a"]))])
