"""Three thousand names that nobody would give to a task: wherever they come out, they are text and nothing else."""

from __future__ import annotations

import csv
import html
import json
import logging
import random
import re
import sys
import unicodedata
from pathlib import Path

import pytest
import torch
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from torch.utils.data import Dataset, IterableDataset

from curricula import CurriculumCallback, CurriculumLoader, Teacher
from curricula.cli import main
from curricula.data.faults import TaskError
from curricula.signals import GradientPredictionGain, SelfPredictionGain, Signal
from curricula.task_names import TaskChanges, printable
from curricula.teacher import Draw
from curricula.tracking import CurriculumHistory
from curricula.tracking.charts.style import label, labels
from curricula.tracking.curves import Comparison, Curve
from curricula.tracking.figures import losses_figure, policy_figure, syllabus_figure
from curricula.tracking.figures.style import shown
from curricula.tracking.loggers import weights_and_biases
from curricula.tracking.loggers.lines import mean_lines, policy_lines
from curricula.tracking.names import distinct, shortened
from curricula.tracking.panels import json_for_page
from curricula.tracking.report import Section, write_report
from curricula.tracking.table import write_table
from tests.models import Linear, tasks_of_constants, trainer
from tests.tracking.histories import staircase
from tests.tracking.loggers.wandb_run import WandbRun
from tests.tracking.test_report import read

PIECES = [
    *("../", "/", "\\", "..", "~", "C:", "con", "curriculum/"),
    *("\x00", "\n", "\r", "\t", "\x1b[31m", "\x1b]0;title\x07", "\x9b1m", "\x7f", "\b"),
    *("</script>", "<!--", "-->", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "javascript:", "]]>"),
    *("&lt;", "&", "'", '"', "`", "${x}", "{{x}}", "{%x%}", "{}", "{0}", "%s", "%d", "%n", "%{y}", "%(name)s"),
    *("$x^2$", "$", "\\$", "_", "#", "#0072B2"),
    *("=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", ";", ","),
    *("\u202e", "\u200f", "\u061c", "\u2066", "\u200b", "\u2028", "\ufeff", "\ud800", "\udfff", "\ufffe"),
    *("\U0001f600", "é", "ﬀ", "名", "\u0301", " ", "a" * 400),
    *(" (target)", " #1", " [2]", "all others", "mean of 2,990 others", "uniform"),
]

NUMBER = 3000


def collected() -> list[str]:
    """Return that many different names, the same ones every time."""
    numbers = random.Random(0)

    def part() -> str:
        kind = numbers.randrange(3)
        if kind == 0:
            return numbers.choice(PIECES)
        highest = numbers.choice([0x7F, 0x2FFF, sys.maxunicode])
        return "".join(chr(numbers.randint(0, highest)) for _ in range(1 if kind == 1 else numbers.randint(0, 8)))

    found = dict.fromkeys(PIECES)
    while len(found) < NUMBER:
        found.setdefault("".join(part() for _ in range(numbers.randint(1, 6))) or PIECES[0])
    return list(found)


NAMES = collected()

CONTROL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of what a terminal or a browser obeys, or cannot show."""


def obeyed(text: str, *, allowed: str = "\n") -> set[str]:
    return {sign for sign in text if unicodedata.category(sign) in CONTROL and sign not in allowed}


def record(history: CurriculumHistory) -> CurriculumHistory:
    """Draw every task once."""
    policy = torch.full((len(history.tasks),), 1 / len(history.tasks), dtype=torch.float64).numpy()
    for arm, name in enumerate(history.tasks):
        draw = Draw(arm, arm, name, float(policy[arm]), arm)
        history.record(draw, progress=0.1 * arm, reward=0.5, loss=1.0 + arm, policy=policy)
    return history


@pytest.fixture(scope="module")
def history():
    return record(CurriculumHistory(NAMES, target=NAMES[4]))


def test_the_names_are_what_they_should_be():
    assert len(set(NAMES)) == NUMBER
    for sign in ("\x00", "\x1b", "\ud800", "\u202e", "../", "</script>", "%s", "{}", "\U0001f600"):
        assert sum(sign in name for name in NAMES) > 20, ascii(sign)
    assert max(map(len, NAMES)) > 400


def test_labels_are_short_text_on_one_line():
    for name in NAMES:
        for length in (1, 12, 32):
            text = shortened(name, length)
            assert 0 < len(text) <= max(length, len("(unnamed)"))
            assert not obeyed(text, allowed="")
            assert html.unescape(label(name, length)) == text
            assert not set("<>\"'$%{}") & set(label(name, length))
            assert "&" not in label(name, length).replace("&#", "")
            assert not re.search(r"(?<!\\)\$", shown(name, length))
            assert not shown(name, length).startswith("_")


def test_no_two_tasks_get_one_label():
    for length in (4, 32):
        assert len(set(labels(NAMES, NAMES[7], length))) == NUMBER
        assert len(set(distinct(NAMES, length))) == NUMBER
    assert distinct(["a", "a ", "a #1"], 9) == ["a #2", "a #3", "a #1"]
    assert labels(["a", "a ", "a [2]"]) == ["a", "a [3]", "a [2]"]


def test_no_line_of_a_task_is_taken_for_that_of_all_others(history):
    few = record(CurriculumHistory(["all others", "all others…", "x", "x (target)", *"abcdefgh"], target="x"))
    for lines in (policy_lines(few), mean_lines(few, "loss"), policy_lines(history)):
        assert len(set(lines.names)) == len(lines.names)
        assert not any(obeyed(name, allowed="") for name in lines.names)


def test_a_page_has_the_same_elements_whatever_the_names_are(history, tmp_path):
    def page(names, path):
        small = staircase(names[:9], steps=60, target=names[0], grid={names[1]: names[:3], names[2]: names[3:6]})
        rows = [{names[0]: name} for name in names]
        curves = Comparison({name: [Curve([1, 2], [1.0, 0.5])] for name in names[:8]}, 0.1, label=names[5])
        sections = [
            Section(names[0], names[1], table=rows, history=small, comparison=curves, runs={names[3]: [small]}),
            Section(names[2], history=record(CurriculumHistory(names, target=names[4]))),
        ]
        return read(write_report(path, sections, title=names[6])), path.read_text(encoding="utf-8")

    tame = [f"task {number}" for number in range(NUMBER)]
    (found, text), (expected, _) = page(NAMES, tmp_path / "hostile.html"), page(tame, tmp_path / "tame.html")
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in expected.tags]
    assert [sorted(attributes) for _, attributes in found.tags] == [sorted(given) for _, given in expected.tags]
    assert found.every("meta") == expected.every("meta")
    assert found.every("a") == expected.every("a")
    start = text.index("<script>")  # plotly.js, which has control characters of its own
    assert not obeyed(text[:start], allowed="\n\t\r\xad\u200b\u200c\u200d\ufeff\u2060") & set("\x1b\x00\u202e\u200f")
    for name, script in found.scripts.items():
        if name:
            json.loads(script)
            assert not set("<>&") & set(script)
    shown_in_page = {text for text in found.text if text.strip()}
    assert {text for text in shown_in_page if "alert(1)" in text}, "the names are there, as text"


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("draw", [policy_figure, losses_figure, syllabus_figure])
def test_figures_are_drawn_with_any_names(draw):
    for first in range(0, 60, 10):
        few = staircase(NAMES[first : first + 10], steps=40, target=NAMES[first])
        legends = draw(few).get_axes()[0].get_legend()
        if legends is not None:
            assert len(legends.get_texts()) == len(set(few.column("arm"))) or draw is policy_figure
            assert draw is not policy_figure or len(legends.get_texts()) == 10


def test_a_table_for_spreadsheets_holds_no_formula_and_nothing_that_a_terminal_obeys(history, tmp_path):
    path = write_table(history, tmp_path / "tasks.csv", table="tasks")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == NUMBER
    for name, row in zip(NAMES, rows, strict=True):
        cell = row["task"]
        assert not {sign for sign in cell if unicodedata.category(sign) == "Cc"} - set("\n\t")
        assert not re.match(r"\s*[=+\-@]", cell) or re.fullmatch(r"[+-]?\d+", cell), cell
        if re.fullmatch(r"[ \w.,é名/]+", name) and name[0] not in "=+-@":
            assert cell == name
    assert "'=1+1" in {row["task"] for row in rows}
    assert "-1" in {row["task"] for row in rows}


def test_parquet_and_the_saved_history_have_the_names_as_they_are(history, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    found = parquet.read_table(write_table(history, tmp_path / "tasks.parquet", table="tasks"))["task"].to_pylist()
    assert found == [name.encode("utf-8", "replace").decode("utf-8") for name in NAMES]
    saved = history.save(tmp_path / "history.json")
    assert CurriculumHistory.load(saved).tasks == tuple(NAMES)
    assert not obeyed(saved.read_text(encoding="ascii"), allowed="")


class Broken(IterableDataset):
    """Is read once, and then no more."""

    def __iter__(self):
        yield torch.zeros(2), torch.zeros(1)
        raise ValueError("lost")


class Unreadable(Dataset):
    """Has samples, and gives none."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise KeyError(index)


class Unknown(Signal):
    """Progress that cannot be told."""

    def after_step(self, step):
        return float("nan")


def said_about(name: str, *, read: bool) -> list[str]:
    """Return the errors about a task of this name, also those that come of reading it."""
    texts = []

    def attempt(action):
        try:
            action()
        except (ValueError, TypeError, TaskError) as error:
            texts.append(str(error))

    other = name + "x"
    attempt(lambda: Teacher([name, name]))
    attempt(lambda: Teacher([name, other]).remove_task(name + "y"))
    attempt(lambda: Teacher([name]).remove_task(name))
    attempt(lambda: Teacher([other]).load_state_dict(Teacher([name]).state_dict()))
    attempt(lambda: CurriculumHistory([other]).load_state_dict(CurriculumHistory([name]).state_dict()))
    attempt(lambda: CurriculumHistory([name], target=other))
    attempt(lambda: CurriculumLoader({name: []}))
    attempt(lambda: CurriculumLoader({name: iter([1])}))
    attempt(lambda: CurriculumLoader({name: 3}))
    attempt(lambda: CurriculumLoader({name: [1]}, grid={name: 2}))
    attempt(lambda: CurriculumLoader({name: [1]}, probe_tasks={other: [1]}))
    attempt(lambda: CurriculumLoader({name: [1]}, batch_size=4, drop_last=True))
    attempt(lambda: CurriculumLoader({name: Broken()}))
    if read:
        tasks = {name: Unreadable(), other: [torch.zeros(2)]}
        attempt(lambda: list(CurriculumLoader(tasks, steps_per_epoch=16)))
        attempt(lambda: list(CurriculumLoader(tasks, steps_per_epoch=16, on_error="drop")))
        attempt(lambda: list(CurriculumLoader({name: Broken()}, steps_per_epoch=3)))
        attempt(lambda: list(CurriculumLoader({name: Broken()}, steps_per_epoch=3, on_error="retry")))
    attempt(lambda: CurriculumLoader({name: [1]}, steps_per_epoch=1).add_task(name, [1]))
    attempt(lambda: TaskChanges.between([name], [other]).refusal("loader") and Teacher([name]).add_task(name))
    texts.append(TaskChanges.between([name], [other]).refusal("curriculum"))
    return texts


def test_messages_write_control_characters_as_escapes(caplog):
    caplog.set_level(logging.DEBUG, logger="curricula")
    found = 0
    for number, name in enumerate(NAMES):
        read = number % 10 == 0
        texts = said_about(name, read=read)
        assert len(texts) >= (18 if read else 15)
        assert len(caplog.messages) >= 2 * read
        found += len(texts) + len(caplog.messages)
        for text in [*texts, *caplog.messages]:
            assert not obeyed(text), ascii(text)
        caplog.clear()
    assert found >= 15 * NUMBER


def test_what_is_printed_is_one_line_of_signs(tmp_path, capsys):
    for number, name in enumerate(NAMES[:300]):
        file = re.sub("[/\x00]", "-", name).encode("utf-8", "replace")[:120].decode("utf-8", "ignore")
        folder = tmp_path / str(number)
        saved = [record(CurriculumHistory([name, "other"])).save(folder / f"{file}{ending}.json") for ending in "ab"]
        assert main(["table", str(folder), "-o", str(folder / "out.csv")]) == 1
        assert main(["table", str(saved[0]), "-o", str(folder / f"{file}.csv")]) == 0
        assert main(["table", str(folder / file), "-o", str(folder / "out.csv")]) == 1
        said = capsys.readouterr()
        assert not obeyed(said.out + said.err)
        assert (said.out.count("\n"), said.err.count("\n")) == (1, 2)


def test_a_checkpoint_has_the_names_as_they_are(tmp_path):
    def fit(max_steps, **options):
        callback = CurriculumCallback(signal=GradientPredictionGain(), target=NAMES[3])
        loader = CurriculumLoader(tasks_of_constants(NAMES, size=2), batch_size=2, steps_per_epoch=40)
        fitter = trainer(callback, max_steps=max_steps)
        fitter.fit(Linear(lr=1e-9), loader, **options)
        return fitter, callback

    fitter, _ = fit(10)
    fitter.save_checkpoint(tmp_path / "last.ckpt")
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert content["callbacks"]["CurriculumCallback"]["teacher"]["content"]["tasks"] == NAMES
    resumed = fit(20, ckpt_path=tmp_path / "last.ckpt")[1]
    whole = fit(20)[1]
    assert resumed.teacher.tasks == tuple(NAMES)
    assert resumed.history.column("arm").tolist() == whole.history.column("arm").tolist()


def files_of(folder: Path) -> set[str]:
    """Return the files, without the numbers and digests that differ from run to run."""
    paths = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file() or file.is_symlink()]
    return {
        re.sub(r"_[0-9a-f]{20}(?=\.)|\d{8,}[^/]*|[0-9a-z]{8}(?=\.wandb)|-[0-9a-z]{8}(?=/)", "*", path) for path in paths
    }


class Logged(Linear):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss)
        return loss


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """Folders of runs with hostile names and with tame ones."""
    patch = pytest.MonkeyPatch()
    patch.setattr(weights_and_biases, "_LARGEST", 10**8)  # long names make large charts, which would become pictures
    folders = []
    for names in (NAMES, [f"task {number}" for number in range(NUMBER)]):
        folder = tmp_path_factory.mktemp("logged") / "deep" / "er"
        loggers = [
            WandbLogger(save_dir=folder, offline=True, project="test"),
            TensorBoardLogger(folder),
            CSVLogger(folder),
        ]
        callback = CurriculumCallback(signal=GradientPredictionGain(), target=names[0])
        grid = {names[2]: names[:3], "task": names[: NUMBER // 3]}
        data = CurriculumLoader(tasks_of_constants(names, size=2), batch_size=2, steps_per_epoch=20, grid=grid)
        fitter = trainer(callback, max_steps=20, logger=loggers, log_every_n_steps=5)
        fitter.fit(Logged(lr=1e-9), data)
        loggers[0].experiment.finish()
        folders.append(folder)
    patch.undo()
    return folders


def test_names_are_in_no_key_of_a_metric_and_in_no_path(logged):
    hostile, tame = logged
    keys = [{key for row in WandbRun(folder).rows for key in row} for folder in logged]
    assert keys[0] == keys[1]
    assert all(re.fullmatch(r"[\w/]+", key) for key in keys[0])
    headers = [next(folder.rglob("metrics.csv")).read_text(encoding="utf-8").splitlines()[0] for folder in logged]
    assert sorted(headers[0].split(",")) == sorted(headers[1].split(","))
    assert files_of(hostile) == files_of(tame)
    assert files_of(hostile.parents[1]) == files_of(tame.parents[1]), "nothing lies beside the folder of the run"


def test_loggers_get_text_on_one_line(logged):
    run = WandbRun(logged[0])
    table = run.table("curriculum/tasks")
    assert len(set(table["columns"])) == len(table["columns"])
    for row in table["data"]:
        assert not any(obeyed(text, allowed="") for text in row if isinstance(text, str))
    for chart in ("policy", "losses", "syllabus", "grid"):
        ((_, value),) = run.series(f"curriculum/{chart}")[-1:]
        text = json.dumps(json.loads(run.media(value).read_text(encoding="utf-8")), ensure_ascii=False)
        assert not obeyed(text, allowed="\xad")
        assert "<script" not in text
        assert "onerror" not in text or "<img" not in text


def test_a_terminals_commands_are_shown():
    assert printable("a\x1b[31m\u202e\ud800\n") == r"a\x1b[31m\u202e\ud800\n"
    assert printable("naïve 名 \U0001f600") == "naïve 名 \U0001f600"


def test_samples_and_progress_are_told_with_escapes(caplog):
    caplog.set_level(logging.DEBUG, logger="curricula")
    for name in NAMES[:40]:
        loader = CurriculumLoader({name: tasks_of_constants("a")["a"], "b": tasks_of_constants("b")["b"]}, batch_size=4)
        trainer(CurriculumCallback(signal=Unknown()), max_steps=3).fit(Linear(), loader)
        same = [(torch.zeros(1, 2), torch.zeros(1, 1))]
        stream = CurriculumLoader({name: iter_again(same), "b": iter_again(same)}, steps_per_epoch=4)
        with pytest.raises(ValueError, match="gives the same batches") as raised:
            trainer(CurriculumCallback(signal=SelfPredictionGain()), max_steps=3).fit(Linear(), stream)
        assert not obeyed(str(raised.value))
    assert any("was not finite" in message for message in caplog.messages)
    for message in caplog.messages:
        assert not obeyed(message), ascii(message)


def iter_again(batches):
    return torch.utils.data.DataLoader(batches, batch_size=None, sampler=[0])


def test_json_in_a_page_cannot_end_its_element():
    for name in NAMES:
        text = json_for_page([name])
        assert not set("<>&") & set(text)
        assert json.loads(text) == [name]
