"""Make ``text.tsv.gz`` from the translations of an installed Django.

python -m examples.multilingual.extract                                  # of the Django that is installed here
python -m pip install --no-deps --target django-5.2.19 django==5.2.19    # or of one that lies in a folder
python -m examples.multilingual.extract --django django-5.2.19/django
"""

from __future__ import annotations

import argparse
import gettext
import gzip
import hashlib
import html
import importlib.util
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

DATA = Path(__file__).with_name("text.tsv.gz")

CODES = ("ru", "fr", "pl", "es", "uk", "el", "ka", "gl", "sk", "he")
"""Django's codes of the languages. All have alphabets, so that one character means about as much in each of them."""

PLACEHOLDER = "¤"
"""The character that replaces a format placeholder."""

HELD_OUT_SHARE = 5
"""One message in so many is held out."""

_PERCENT = re.compile(r"%%|%(?:\(\w+\))?[-#0+]*\d*(?:\.\d+)?[sdifgr]")  # no space as a flag: "20 % de plus"
_BRACES = re.compile(r"\{\w*(?:[!:][^{}]*)?\}")
_TAGS = re.compile(r"</?\w[^<>]*>")
_WORD = re.compile(r"[^\W\d_]{2}")


def normalise(text: str) -> str:
    """Return the text on one line, in Unicode's composed form, without markup and names of variables.

    ``%(name)s``, ``%s`` and ``{name}`` become one character each, as their names are English in every language. HTML
    tags and invisible characters go; entities, runs of spaces and ``%%`` become the characters that a reader sees.

    Args:
        text: a message of a catalogue, or its translation.
    """
    text = _PERCENT.sub(lambda found: "%" if found[0] == "%%" else PLACEHOLDER, text)
    text = _BRACES.sub(PLACEHOLDER, text)
    text = html.unescape(_TAGS.sub("", text))
    text = "".join(sign for sign in unicodedata.normalize("NFC", text) if unicodedata.category(sign) != "Cf")
    return " ".join(text.split())


def letters(text: str) -> str:
    """Return the letters alone, in lower case: what two strings share that differ in digits or punctuation."""
    return "".join(sign for sign in normalise(text).casefold() if sign.isalpha())


def is_held_out(message: str) -> bool:
    """Whether a message is held out, in all languages; decided by a hash of its letters.

    Args:
        message: the English message that names the entry in Django's catalogues.
    """
    digest = hashlib.sha256(letters(message).encode()).digest()
    return int.from_bytes(digest[:8], "big") % HELD_OUT_SHARE == 0


def translations(django: Path, code: str) -> Iterator[tuple[str, str]]:
    """Yield pairs of English message and normalised translation, in an order that does not depend on the machine.

    Catalogues come by path, messages by alphabet, plural forms by number. Left out are strings without a word, and
    translations that are equal to their message: most of them were never translated.

    Args:
        django: the folder of the package.
        code: of a language.

    Raises:
        FileNotFoundError: if Django has no catalogue of the language there.
    """
    catalogues = sorted(django.rglob(f"locale/{code}/LC_MESSAGES/django.mo"))
    if not catalogues:
        raise FileNotFoundError(
            f"{django} has no translations into {code!r} (locale/{code}/LC_MESSAGES/django.mo): "
            "name the folder of a complete Django, or a language that it has"
        )
    for path in catalogues:
        with path.open("rb") as file:
            catalogue = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        for key in sorted(catalogue, key=lambda key: key if isinstance(key, tuple) else (key, 0)):
            message = (key[0] if isinstance(key, tuple) else key).rpartition("\x04")[2]  # "context\x04message"
            text = normalise(catalogue[key])
            if message and _WORD.search(text) and text != normalise(message):
                yield message, text


def extract(django: Path, codes: Iterable[str]) -> list[tuple[str, str, str]]:
    """Return rows of language, ``"train"`` or ``"held_out"``, and text; every text once per language.

    A message is held out in all languages or in none. Two messages can have the same translation ("Delete" and
    "Remove"), and two languages the same word: a training text with the letters of any held-out text, of whichever
    language, is left out.

    Args:
        django: the folder of the package.
        codes: of the languages.
    """
    pairs = [(code, message, text) for code in codes for message, text in translations(django, code)]
    held_out = {letters(text) for _, message, text in pairs if is_held_out(message)}
    rows = dict.fromkeys(
        (code, "held_out" if is_held_out(message) else "train", text)
        for code, message, text in pairs
        if is_held_out(message) or letters(text) not in held_out
    )
    return list(rows)


def write(rows: Iterable[tuple[str, str, str]], path: Path) -> None:
    """Write the rows as compressed tab-separated text, equal for equal rows.

    Args:
        rows: language, part, text.
        path: of the file.
    """
    content = "".join("\t".join(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(content.encode(), compresslevel=9, mtime=0))


def installed_django() -> Path:
    """Return the folder of the installed Django.

    Raises:
        ModuleNotFoundError: if there is none.
    """
    found = importlib.util.find_spec("django")
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            "Django is not installed here: pip install django==5.2.19, or name the folder of one with --django"
        )
    return Path(found.origin).parent


def main() -> None:
    """Read the options and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--django", type=Path, help="folder of the package; the installed one if left out")
    parser.add_argument("--out", type=Path, default=DATA)
    options = parser.parse_args()
    rows = extract(options.django or installed_django(), CODES)
    write(rows, options.out)
    print(f"{options.out}: {len(rows)} texts, {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
