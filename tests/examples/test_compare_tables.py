"""From runs to tables, pictures and pages."""

from __future__ import annotations

import gzip
import math
from dataclasses import replace
from pathlib import Path

import pytest

from examples.compare.__main__ import main
from examples.compare.claims import claims, order_at_the_end
from examples.compare.figures import LABELS, draw
from examples.compare.methods import METHODS
from examples.compare.problem import Job
from examples.compare.problems import problem_of
from examples.compare.publish import (
    archive,
    between,
    mixing,
    overview,
    publish,
    read_archives,
    table,
    tables,
    with_archived,
)
from examples.compare.published import PUBLISHED, STATIC
from examples.compare.records import Record, Records, digest
from examples.compare.runs import Run, read_runs, run_of, write_runs
from examples.compare.schedule import FIRST_SEED
from examples.compare.statistics import best_static, has_head_room, holm, ratio_of_medians, summarise, to_goal
from examples.compare.tables import markdown, rate
from examples.compare.training import train
from tests.examples.test_compare import toy

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results" / "compare"


def run(method, seed, scores, *, lr=0.1, problem="toy", cost=3, budget=20):
    """A run whose target has these scores, evaluated every 5 steps."""
    steps = [5 * (place + 1) for place in range(len(scores))]
    return Run(
        problem, method, lr, seed, steps, [cost * step for step in steps], [float(step) for step in steps],
        {"target": scores, "mean": [0.1] * len(scores), "worst": scores}, {"large": scores[-1]}, [1, 1], None, budget,
        "x", {},
    )  # fmt: skip


def test_statistics_by_hand():
    assert to_goal(run("m", 0, [0.9, 0.5, 0.4]), toy()) == 10.0
    assert to_goal(run("m", 0, [0.9, 0.5]), toy(), "samples") == 80.0
    assert to_goal(run("m", 0, [0.9, 0.5]), toy(), "cost") == 30.0
    assert to_goal(run("m", 0, [0.9, 0.6]), toy()) == math.inf
    with pytest.raises(ValueError, match="one of"):
        to_goal(run("m", 0, [0.9]), toy(), "hours")
    assert holm([0.01, 0.04, 0.03]) == [0.03, 0.06, 0.06]
    assert ratio_of_medians([4.0, 4.0], [2.0, 2.0]) == (2.0, 2.0, 2.0)
    ratio, low, high = ratio_of_medians([10.0, 12.0, 14.0, 16.0], [5.0, 6.0, 7.0, math.inf])
    assert ratio == 2.0
    assert low < 2.0 < high
    assert math.isnan(ratio_of_medians([math.inf], [math.inf])[0])


BASE = [run("uniform, mixed", seed, [0.9, 0.9, 0.9, 0.4]) for seed in range(8)]
FAST = [run("target only", seed, [0.9, 0.4], cost=9) for seed in range(8)]
NEVER = [run("curriculum", seed, [0.9, 0.9]) for seed in range(8)]


def test_a_table_has_the_medians_and_says_never():
    rows = summarise([*BASE, *FAST, *NEVER], toy(), "uniform, mixed")
    found = {row.method: row for row in rows}
    fast = found["target only"]
    assert (fast.ratio, fast.solved, found["curriculum"].solved) == (2.0, 8, 0)
    assert found["curriculum"].ratio == 0.0
    assert fast.p < 0.01
    assert found["uniform, mixed"].p is None
    text = markdown(rows, toy())
    order = [line.split(" | ")[0].strip("| ") for line in text.splitlines()[2:]]
    assert order == ["target only", "uniform, mixed", "curriculum"]
    assert "| 8/8 | 10 [10 - 10] | 2.00 [2.00 - 2.00] |" in text
    assert "| 8/8 | 20 [20 - 20] |  |  |" in text, "the baseline is compared with nothing"
    assert "| 0/8 | never [never - never] | < 1.00 |" in text, "at most what the whole budget would give"
    swapped = markdown(summarise([*FAST, *NEVER], toy(), "curriculum"), toy())
    assert "| 8/8 | 10 [10 - 10] | > 2.00 |" in swapped
    with pytest.raises(ValueError, match=r"'target only' on 'toy' have several learning rates, \[0.1, 0.2\]"):
        summarise([*FAST, run("target only", 9, [0.9], lr=0.2)], toy(), "uniform, mixed")


def test_rates_at_the_end_of_the_grid_are_marked():
    problem = toy(learning_rates=(0.1, 0.2, 0.4))
    assert [rate(lr, problem) for lr in (0.1, 0.2, 0.4)] == ["0.1†", "0.2", "0.4†"]
    assert rate(0.1, toy(learning_rates=(0.1,))) == "0.1"


def test_head_room_is_what_the_best_static_mixture_wins():
    rows = summarise([*BASE, *FAST, *NEVER], toy(), "uniform, mixed")
    best = best_static(rows, STATIC)
    assert best.method == "target only"
    assert has_head_room(best)
    assert best_static(rows, ["no such method"]) is None
    assert not has_head_room(None)
    even = summarise(
        [*BASE, *[run("target only", seed, [0.9, 0.9, 0.9, 0.4]) for seed in range(8)]], toy(), BASE[0].method
    )
    assert not has_head_room(best_static(even, STATIC))
    assert "**Head room**: the best static mixture is *target only*" in table([*BASE, *FAST], toy())
    assert "**No head room**" in table([*BASE, *[run("target only", s, [0.9, 0.9, 0.9, 0.4]) for s in range(8)]], toy())
    assert "no other static mixture was tried" in table(BASE, toy())


def test_a_page_has_ratios_by_cost_where_it_differs_and_says_what_was_left_out():
    text = table([*BASE, *FAST], toy())
    assert "ratio by cost | ratio by seconds" in text
    assert "| 2.00 [2.00 - 2.00] |" in text
    assert "| 0.67 | 2.00 |" in text, "60 of cost against 90"
    assert "| 0/8 | never [never - never] | < 1.00 | 0.00014 |  |" in table([*BASE, *NEVER], toy()), (
        "no ratio by seconds"
    )
    assert "ratio by cost" not in table([*BASE, *[run("target only", s, [0.9, 0.4]) for s in range(8)]], toy())
    left_out = table(BASE, toy(of="mean", target=None, goal=0.05))
    assert "Left out: *proportional, mixed*" in left_out
    assert "the problem has no target." in left_out
    assert "*curriculum, GL2G*" in left_out
    assert "not run." in left_out


def test_the_overview_has_a_line_per_problem():
    text = overview([*BASE, *FAST, *NEVER], [toy()])
    assert text.splitlines()[2] == (
        "| toy | target ≤ 0.5 loss | 20 (8/8) |  | < 1.00, 0/8 |  |  | 2.00 [2.00 - 2.00]: target only |"
    )
    assert "neither, 0/8" in overview([*NEVER, *[run("uniform, mixed", s, [0.9]) for s in range(8)]], [toy()])


def test_a_record_is_kept_without_what_only_replays_need():
    record = Record(
        "toy", "curriculum", 0.1, 3, [5, 10], [40, 80], [40.2, 80.4], [1.234, 2.0],
        {"small": [0.123456, 0.3], "large": [0.9, 0.6]}, [3, 7], "batches", [0, 0, 0, 1, 1, 1, 1, 1, 1, 1], 10, "x", {},
    )  # fmt: skip
    kept = run_of(record, toy())
    assert kept.curves["mean"] == [0.5117, 0.45]
    assert kept.curves["worst"] == kept.curves["target"] == [0.9, 0.6]
    assert kept.curves["solved"] == [1.0, 1.0]
    assert kept.final == {"small": 0.3, "large": 0.6}
    assert kept.quarters == [[3, 0], [0, 3], [0, 2], [0, 2]]
    assert kept.cost == [40, 80]
    assert kept.seconds == [1.23, 2.0]


def test_archives_are_read_back_and_always_the_same_file(tmp_path):
    first = write_runs([*BASE, *FAST], tmp_path / "a.jsonl.gz").read_bytes()
    assert write_runs([*FAST, *BASE], tmp_path / "b.jsonl.gz").read_bytes() == first
    assert sorted(read_runs(tmp_path / "a.jsonl.gz"), key=lambda r: r.method) == [*FAST, *BASE]
    (tmp_path / "c.jsonl.gz").write_bytes(first[:50])
    with pytest.raises(ValueError, match="holds no runs of a comparison"):
        read_runs(tmp_path / "c.jsonl.gz")
    with gzip.open(tmp_path / "d.jsonl.gz", "wt") as file:
        file.write('{"format": 9}\n')
    with pytest.raises(ValueError, match="format 9"):
        read_runs(tmp_path / "d.jsonl.gz")
    archive([*BASE, run("curriculum", 0, [0.4], problem="other")], tmp_path / "runs")
    assert [path.name for path in sorted((tmp_path / "runs").iterdir())] == ["other.jsonl.gz", "toy.jsonl.gz"]
    assert len(read_archives(tmp_path / "runs")) == 9


def test_the_papers_claims_stand_beside_what_was_found():
    def babi(method, seed, solved):
        return Run(
            "babi", method, 0.1, seed, [250], [1], [1.0], {"mean": [0.2], "worst": [0.9], "solved": [solved]}, {},
            [1], None, 3_500, "x", {},
        )  # fmt: skip

    def ngram(quarter):
        return replace(run("curriculum, GL2G", 0, [1.2], problem="ngram"), quarters=[[1, 0], [1, 0], [1, 0], quarter])

    assert order_at_the_end([ngram([1, 3]), ngram([0, 4])], "curriculum, GL2G") == [0.75, 1.0]
    runs = [babi("uniform, one task a batch", seed, solved) for seed, solved in enumerate([5.0, 6.0, 8.0])]
    runs += [ngram([1, 3]), *[run("curriculum, PG", 0, [0.4], problem="repeat_copy")]]
    runs += [run("uniform, one task a batch", 0, [0.9, 0.4], problem="repeat_copy")]
    text = claims(runs, lambda name: toy(name, of="solved" if name == "babi" else "target"))
    assert "uniform 6 [5 - 8]; PG not measured" in text
    assert "with gradient L2 gain | 0.8 [0.8 - 0.8] |" in text
    assert "uniform 10 steps (1/1); PG 5 steps (1/1, 2.00x); SPG: not measured" in text
    assert "not measured yet" in claims([], toy)


def test_several_draws_stand_beside_one_where_they_were_run():
    several = [replace(each, method="curriculum, 16 draws a batch") for each in FAST]
    other = [replace(each, problem="other") for each in BASE]
    text = mixing([*BASE, *NEVER, *several, *other], [toy(), toy("other")])
    assert text.splitlines() == [
        "| signal, draws | toy |",
        "|---|---|",
        "| the default, one task a batch | < 1.00, 0/8 |",
        "| the default, 16 draws a batch | 2.00 [2.00 - 2.00] |",
    ]


def test_publishing_writes_tables_and_pictures(tmp_path):
    publish([*BASE, *FAST, *NEVER], toy, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"overview.md", "claims.md", "mixing.md", "toy.md", "toy.png"}
    assert (tmp_path / "toy.png").read_bytes().startswith(b"\x89PNG")
    assert set(LABELS) <= set(METHODS)


def test_a_picture_is_drawn_for_every_kind_of_goal(tmp_path):
    for of in ("mean", "worst", "solved"):
        solved = [
            Run(**{**vars(one), "curves": {**one.curves, "solved": [0.0] * len(one.steps)}}) for one in [*BASE, *FAST]
        ]
        assert draw(solved, toy(of=of), tmp_path / f"{of}.png").stat().st_size > 10_000


def test_marks_in_a_text_must_be_there_once():
    text = "before\n<!-- a -->\nold\n<!-- end of a -->\nafter"
    assert between(text, "a", "new\nlines") == "before\n<!-- a -->\nnew\nlines\n<!-- end of a -->\nafter"
    for wrong in ("nothing", text + text):
        with pytest.raises(ValueError, match=r"must have the lines '<!-- a -->' and '<!-- end of a -->' once"):
            between(wrong, "a", "new")


def test_the_command_publishes_the_problems_that_are_whole(tmp_path, capsys, monkeypatch):
    problem = replace(problem_of("digits_noise"), budget=2, seeds=2)
    monkeypatch.setattr("examples.compare.__main__.problem_of", lambda name: problem)
    monkeypatch.setitem(PUBLISHED, "digits_noise", ("uniform, mixed", "target only"))
    records = Records(tmp_path / "records")
    readme = tmp_path / "README.md"
    readme.write_text("<!-- overview -->\n\n<!-- end of overview -->\n", encoding="utf-8")
    command = ["publish", "--out", str(records.folder), "--to", str(tmp_path / "to"), "--readme", str(readme)]
    for seed in (0, 1_000, 1_001):
        job = Job("digits_noise", "uniform, mixed", 0.01, seed)
        assert main(command) == 0
        assert "0 new runs" in capsys.readouterr().out
        records.add(job, train(problem, job))
    assert main(command) == 0
    assert "2 new runs" in capsys.readouterr().out
    assert "| Digits beside noise | mean ≥ 0.9 accuracy | never (0/2) |" in readme.read_text(encoding="utf-8")
    assert "Left out: *target only*: the problem has no target." in (tmp_path / "to" / "digits_noise.md").read_text()
    problem = replace(problem, goal=0.8)
    assert main(command) == 2
    assert "must not be mixed" in capsys.readouterr().err


def test_methods_that_were_not_run_anew_are_published_from_the_archive():
    problem = toy()
    old = [replace(each, configuration=digest(problem)) for each in (*BASE, *FAST)]
    replay = [replace(each, method="curriculum, replayed: its mixture, mixed") for each in old[:8]]
    assert with_archived(NEVER, [*old, *replay], problem) == [*NEVER, *old], "the replays are of other runs"
    again = [replace(each, cost=[1.0] * len(each.cost)) for each in FAST]
    assert with_archived(again, old, problem) == [*again, *old[:8]]
    assert with_archived([], [replace(each, problem="other") for each in old], problem) == []
    with pytest.raises(ValueError, match="of another configuration of 'toy': run them anew"):
        with_archived(NEVER, BASE, problem)


def test_every_published_number_comes_from_the_archived_runs():
    runs = read_archives(RESULTS / "archive")
    assert {run.problem for run in runs} <= set(PUBLISHED)
    for name, content in tables(runs, problem_of).items():
        assert (RESULTS / f"{name}.md").read_text(encoding="utf-8") == content + "\n", f"{name}: publish anew"
        assert name in ("overview", "claims", "mixing") or (RESULTS / f"{name}.png").exists()
    overview_text = (RESULTS / "overview.md").read_text(encoding="utf-8").rstrip()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert between(readme, "overview", overview_text) == readme


def test_published_runs_are_of_the_problems_as_they_are_and_of_fresh_seeds():
    runs = read_archives(RESULTS / "archive")
    for name in {run.problem for run in runs}:
        problem = problem_of(name)
        own = [run for run in runs if run.problem == name]
        assert {run.configuration for run in own} == {digest(problem)}
        assert {run.lr for run in own} <= set(problem.learning_rates)
        assert all(run.seed >= FIRST_SEED for run in own)
        for method in PUBLISHED[name]:
            if METHODS[method].refuses(problem) is None:
                assert len({run.seed for run in own if run.method == method}) == problem.seeds, (name, method)
