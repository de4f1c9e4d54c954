"""The page in a real browser: charts are drawn, nothing is loaded, and no name does anything."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from curricula.tracking.curves import Comparison, Curve
from curricula.tracking.report import Section, write_report
from tests.tracking.histories import HOSTILE, staircase
from tests.tracking.test_costs import spent
from tests.tracking.test_report import Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

EVIL = "document.title='owned'"
NAMES = [
    *HOSTILE,
    f"</script><script>{EVIL}</script>",
    f'<img src=x onerror="{EVIL}">',
    f'<a href="javascript:{EVIL}">x</a>',
    "%{fullData.name} %{y}",
    "<!-- <script>",
]
DARK = "--blink-settings=preferredColorScheme=0"
BLUE = {"light": "rgb(0, 114, 178)", "dark": "rgb(74, 168, 224)"}


@pytest.fixture
def opened(tmp_path):
    """Open a page and return what it became and what the browser said of it."""

    def open_page(path, *flags):
        done = subprocess.run(
            [
                CHROMIUM,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--host-resolver-rules=MAP * ~NOTFOUND",
                f"--user-data-dir={tmp_path / 'profile'}",
                "--enable-logging=stderr",
                "--virtual-time-budget=20000",
                "--dump-dom",
                *flags,
                path.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return open_page


def drawn(page: Page) -> int:
    return sum("main-svg" in (picture.get("class") or "").split() for picture in page.every("svg"))


def test_every_chart_is_drawn(tmp_path, opened):
    grid = {"a": [str(k) for k in range(13)], "b": [str(k) for k in range(13)]}
    sections = [
        Section("Few", history=staircase(3, steps=300), runs={"a": [staircase(3, steps=300)] * 2}),
        Section("Grid", history=staircase(169, steps=300, grid=grid)),
        Section("Many", history=staircase(1000, steps=300)),
    ]
    text, console = opened(write_report(tmp_path / "page.html", sections))
    page = Page(text)
    assert console == []
    assert page.every("html")[0]["data-charts"] == "drawn"
    charts = [attributes for attributes in page.every("div") if "chart" in (attributes.get("class") or "").split()]
    assert len(charts) == (6 + 1) + 7 + 6
    assert drawn(page) >= len(charts)
    assert "could not be drawn" not in "".join(page.text)
    ranges = page.every("input")
    assert [(one["type"], one["max"]) for one in ranges] == [("range", "23")]
    assert ranges[0]["aria-valuetext"].startswith("from step ")
    titles = {button.get("data-title") for button in page.every("button")}
    assert "Zoom" in titles
    assert not [title for title in titles if title and ("hare" in title or "loud" in title)]


def test_the_charts_have_the_colours_of_the_readers_scheme(tmp_path, opened):
    path = write_report(tmp_path / "page.html", [Section("A run", history=staircase(3, steps=50))])
    for scheme, other, flags in (("light", "dark", ()), ("dark", "light", (DARK,))):
        text, console = opened(path, *flags)
        assert console == []
        assert BLUE[scheme] in text
        assert BLUE[other] not in text


def test_charts_move_to_an_axis_of_cost_where_that_is_ticked(tmp_path, opened):
    path = write_report(tmp_path / "page.html", [Section("A run", history=spent([1.0, 2.0] * 20))])
    text, ticked = path.read_text(encoding="utf-8"), 'id="against-cost" checked'
    path.write_text(text.replace('id="against-cost"', ticked, 1), encoding="utf-8")
    page = Page(opened(path)[0])
    assert page.text.count("tokens so far") == 6
    assert page.text.count("optimiser steps") == 2, "at a glance, and of the syllabus"
    assert "could not be drawn" not in "".join(page.text)


def test_names_are_shown_and_do_nothing(tmp_path, opened):
    history = staircase(NAMES[:8], steps=60, target=NAMES[5])
    many = staircase([*NAMES, "eleven"], steps=60, grid={NAMES[0]: ["1"], NAMES[6]: [*NAMES, "eleven"]})
    curves = Comparison({name: [Curve([1, 2], [1.0, 0.5])] for name in NAMES}, 0.1, label=NAMES[6])
    runs = {name: [history] for name in NAMES}
    sections = [
        Section(NAMES[5], NAMES[6], table=[{NAMES[5]: NAMES[7]}], history=history, comparison=curves, runs=runs),
        Section(NAMES[6], history=many),
    ]
    text, console = opened(write_report(tmp_path / "page.html", sections, title="Safe"))
    page = Page(text)
    assert console == []
    assert page.every("html")[0]["data-charts"] == "drawn"
    assert "<title>Safe</title>" in text
    assert not [link for link in page.every("a") if not (link.get("href") or "#").startswith("#")]
    assert not [image for image in page.every("img") if image.get("src") == "x"]
    assert not page.every("b")
    assert len([script for script in page.every("script") if "type" not in script]) == 2
    shown = "".join(page.text)
    assert "%{fullData.name} %{y}" in shown
    assert "$x^2$ and $" in shown
    assert 'a "quoted" & <b>name</b>' in shown


def test_a_script_that_is_not_of_the_page_does_not_run(tmp_path, opened):
    path = write_report(tmp_path / "page.html", [Section("A run", history=staircase(3, steps=20))], title="Safe")
    text = path.read_text(encoding="utf-8").replace("</body>", f"<script>{EVIL}</script><img src=x></body>")
    path.write_text(text, encoding="utf-8")
    text, console = opened(path)
    assert "<title>Safe</title>" in text
    assert len([line for line in console if "Content Security Policy" in line]) == 2
