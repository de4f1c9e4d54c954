"""Ten languages: what is extracted, what is held out, and that the model learns."""

from __future__ import annotations

import importlib.util
import math
import struct
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset, default_collate

from examples import multilingual
from examples.multilingual import extract
from examples.multilingual.data import (
    LANGUAGES,
    alphabet,
    corpus,
    decode,
    encode,
    held_out,
    tasks,
    training_texts,
    windows,
)
from tests.models import trainer


def write_catalogue(path: Path, messages: dict[str, str]) -> None:
    """Write a compiled gettext catalogue, as msgfmt does."""
    messages = {"": "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=n != 1;\n", **messages}
    keys = sorted(messages)
    strings = [key.encode() for key in keys] + [messages[key].encode() for key in keys]
    offset = 28 + 8 * len(strings)
    table = b""
    for string in strings:
        table += struct.pack("<II", len(string), offset)
        offset += len(string) + 1
    header = struct.pack("<7I", 0x950412DE, 0, len(keys), 28, 28 + 8 * len(keys), 0, offset)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + table + b"".join(string + b"\0" for string in strings))


@pytest.fixture
def django(tmp_path):
    """Return a folder with two catalogues of two languages, as Django's package has them."""
    for code, word in (("xx", "ba"), ("yy", "du")):
        messages = {f"message {'abcdefghij'[n]} of core": f"{word} {'abcdefghij'[n]}{word}" for n in range(10)}
        write_catalogue(tmp_path / f"conf/locale/{code}/LC_MESSAGES/django.mo", messages)
        more = {
            "one %(n)d day\0%(n)d days": f"{word} %(n)d dan\0{word} %(n)d dani",
            "verb\x04Open": f"{word}otvor",
            "Untranslated": "Untranslated",
            "%s": "%s",
            "Empty": "",
        }
        write_catalogue(tmp_path / f"contrib/admin/locale/{code}/LC_MESSAGES/django.mo", more)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("%(count)d objets sur %s, %5.2f, 100%% {name} {value:>8}", "¤ objets sur ¤, ¤, 100% ¤ ¤"),
        ('Voir <a href="%(url)s">la page</a>\n &amp; sortir', "Voir la page & sortir"),
        ("cafe\u0301 \u200fאבג\u200e", "café אבג"),
        ("20 % de plus", "20 % de plus"),
    ],
)
def test_a_text_becomes_what_a_reader_sees(text, plain):
    assert extract.normalise(text) == plain
    assert extract.normalise(plain) == plain


def test_a_doubled_percent_sign_begins_no_placeholder():
    assert extract.normalise("100%%s %%(name)s") == "100%s %(name)s"


def test_translations_come_in_a_fixed_order_with_all_plural_forms_and_without_what_is_no_translation(django):
    found = list(extract.translations(django, "yy"))
    assert found[0] == ("message a of core", "du adu")
    assert found[10:] == [("one %(n)d day", "du ¤ dan"), ("one %(n)d day", "du ¤ dani"), ("Open", "duotvor")]
    assert len(found) == 13


def test_a_message_is_held_out_in_all_languages_or_in_none(django):
    rows = extract.extract(django, ["xx", "yy"])
    messages = {code: dict(map(reversed, extract.translations(django, code))) for code in ("xx", "yy")}
    parts = {part: {code: set() for code in messages} for part in ("train", "held_out")}
    for code, part, text in rows:
        parts[part][code].add(messages[code][text])
    for of_language in parts.values():
        assert of_language["xx"] == of_language["yy"] != set()


def test_messages_that_differ_in_digits_and_placeholders_are_held_out_together():
    assert len({extract.is_held_out(f"Enter an IPv{n} address: %({name})s.") for n in (4, 6) for name in "ab"}) == 1


def test_about_one_message_in_five_is_held_out():
    letters = "abcdefghijklmnopqrstuvwxyz"
    messages = [first + second for first in letters for second in letters]
    assert sum(map(extract.is_held_out, messages)) / len(messages) == pytest.approx(0.2, abs=0.05)


def test_a_training_text_with_the_letters_of_a_held_out_one_is_left_out(tmp_path):
    words = ["m" * length for length in range(1, 99)]
    held = next(word for word in words if extract.is_held_out(word))
    training = next(word for word in words if not extract.is_held_out(word))
    write_catalogue(tmp_path / "locale/xx/LC_MESSAGES/django.mo", {held: "Weg damit!", training: "weg, damit"})
    write_catalogue(tmp_path / "locale/yy/LC_MESSAGES/django.mo", {held: "anders", training: "WEG damit 2"})
    assert extract.extract(tmp_path, ["xx", "yy"]) == [("xx", "held_out", "Weg damit!"), ("yy", "held_out", "anders")]


def test_what_is_written_is_equal_for_equal_rows_and_read_again(django, tmp_path, monkeypatch):
    rows = extract.extract(django, ["xx", "yy"])
    for name in ("one.gz", "two.gz"):
        extract.write(rows, tmp_path / name)
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()
    assert (tmp_path / "one.gz").read_bytes()[4:8] == bytes(4), "no time of writing"
    monkeypatch.setattr("examples.multilingual.data.DATA", tmp_path / "one.gz")
    read = corpus.__wrapped__()
    assert {(code, part, text) for code in read for part in read[code] for text in read[code][part]} == set(rows)


def test_the_command_writes_the_file_of_a_folder(django, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(extract, "CODES", ("xx",))
    monkeypatch.setattr("sys.argv", ["extract", "--django", str(django), "--out", str(tmp_path / "out.gz")])
    extract.main()
    assert "13 texts" in capsys.readouterr().out
    assert (tmp_path / "out.gz").stat().st_size > 0


def test_a_language_that_django_lacks_and_a_missing_django_are_errors(django, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no translations into 'zz'"):
        extract.extract(django, ["xx", "zz"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install django==5\.2\.19, or name the folder"):
        extract.installed_django()


def test_the_file_is_small_and_normalised():
    assert extract.DATA.stat().st_size <= 600_000
    assert set(corpus()) == set(extract.CODES) == {code for code, _ in LANGUAGES.values()}
    texts = [text for parts in corpus().values() for part in parts.values() for text in part]
    assert [text for text in texts if extract.normalise(text) != text] == []


def test_no_held_out_text_of_any_language_is_trained_on():
    held = {extract.letters(text) for parts in corpus().values() for text in parts["held_out"]}
    trained = {extract.letters(text) for parts in corpus().values() for text in parts["train"]}
    assert len(held) > 1_000
    assert not held & trained


@pytest.mark.parametrize("seed", [0, 7])
def test_what_the_tasks_show_is_made_of_training_texts_alone(seed):
    held = {extract.letters(text) for parts in corpus().values() for text in parts["held_out"]}
    for name, task in tasks(seed).items():
        shown = "".join(decode(inputs) for inputs, _ in task)
        whole_lines = set(shown.split("\n")[:-1])
        assert whole_lines <= set(training_texts(name)) <= set(corpus()[LANGUAGES[name][0]]["train"])
        assert not held & {extract.letters(line) for line in whole_lines}
        assert len(shown) >= sum(len(text) + 1 for text in training_texts(name)) - 65


def test_sizes_are_three_rich_three_middling_and_four_poor_whatever_the_seed():
    sizes = {name: len(task) * 64 for name, task in tasks(3).items()}
    assert list(sizes) == list(LANGUAGES)
    values = list(sizes.values())
    assert min(values[:3]) > 19_000
    assert all(7_800 <= value <= 8_000 for value in values[3:6])
    assert all(3_800 <= value <= 4_000 for value in values[6:])
    assert sizes == {name: len(task) * 64 for name, task in tasks(4).items()}


def test_tasks_repeat_by_seed_and_differ_between_seeds():
    one, again, other = tasks(0), tasks(0), tasks(1)
    for name in LANGUAGES:
        assert one[name].tensors[0].equal(again[name].tensors[0])
        assert not one[name].tensors[0].equal(other[name].tensors[0])


def test_making_tasks_and_batches_touches_no_global_random_numbers():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    tasks(0)
    held_out()
    assert torch.random.get_rng_state().equal(before)
    assert torch.rand(3).equal(expected)


def test_held_out_batches_are_fixed_and_of_the_held_out_texts():
    first = held_out()
    tasks(11)
    for name, (inputs, targets) in held_out().items():
        assert inputs.equal(first[name][0])
        assert inputs.shape == targets.shape
        lines = decode(inputs.flatten()).split("\n")[:-1]
        assert set(lines) <= set(corpus()[LANGUAGES[name][0]]["held_out"])


def test_targets_are_the_next_characters_and_every_one_comes_once():
    task = windows(["Été", "из Киева", "abc"], length=4)
    inputs, targets = task.tensors
    assert decode(inputs.flatten()) == "Été\nиз Киева\nabc"
    assert decode(targets.flatten()) == "té\nиз Киева\nabc\n"


def test_text_comes_back_from_its_numbers():
    text = "\n".join(corpus()["ka"]["train"][:20] + corpus()["he"]["held_out"][:20])
    assert decode(encode(text)) == text
    assert alphabet()[0] == "\n"
    assert len(set(alphabet())) == len(alphabet())


def test_samples_of_all_languages_collate_together():
    inputs, targets = default_collate([task[0] for task in tasks(0).values()])
    assert inputs.shape == targets.shape == (10, 64)


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: tasks(0, length=1), "length=1: a window predicts 2 characters or more"),
        (lambda: held_out(length=100_000), "do not fill a window of 100000"),
        (lambda: encode("漢字"), r"no characters \['字', '漢'\]"),
        (lambda: tasks(-1), "seed=-1: give an integer of 0 or more"),
        (lambda: tasks("1"), "seed='1': give an integer of 0 or more"),
    ],
)
def test_bad_options_are_errors_that_say_why(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()


def test_losses_are_per_sample_and_their_mean_is_what_is_trained_on():
    model = multilingual.Model(dropout=0.0)
    batch = default_collate([task[0] for task in tasks(0).values()])
    losses = model.losses(batch)
    assert losses.shape == (10,)
    assert model.training_step(batch, 0)["loss"].item() == pytest.approx(losses.mean().item())
    alone = model.losses((batch[0][3:4], batch[1][3:4]))
    assert alone.item() == pytest.approx(losses[3].item(), rel=1e-5)
    assert model.score(batch) == pytest.approx(losses.mean().item() / math.log(2), rel=1e-5)


def test_a_model_that_knows_nothing_needs_the_logarithm_of_the_alphabet():
    model = multilingual.Model()
    torch.nn.init.zeros_(model.readout.weight)
    torch.nn.init.zeros_(model.readout.bias)
    assert model.score(held_out()["Greek"]) == pytest.approx(math.log2(len(alphabet())), rel=1e-5)


def test_a_score_is_without_dropout_and_leaves_the_mode_as_it_was():
    model = multilingual.Model()
    batch = held_out()["Hebrew"]
    assert model.score(batch) == model.score(batch)
    assert model.training
    model.eval()
    assert model.score(batch) == model.score(batch)
    assert not model.training


def test_the_model_learns_all_languages_from_mixed_batches():
    pl.seed_everything(0)
    task = ConcatDataset(list(tasks(0).values()))
    loader = DataLoader(task, batch_size=multilingual.BATCH_SIZE, shuffle=True)
    model = multilingual.Model(multilingual.LEARNING_RATES[1])
    before = {name: model.score(batch) for name, batch in held_out().items()}
    trainer(max_steps=120).fit(model, loader)
    after = {name: model.score(batch) for name, batch in held_out().items()}
    assert all(after[name] < 0.75 * before[name] for name in LANGUAGES)
    assert isinstance(tasks(0)["Greek"], TensorDataset)
