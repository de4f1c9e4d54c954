"""The commands that the pages give are ones that the examples take."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from examples.compare.__main__ import _parser
from examples.compare.methods import METHODS
from examples.compare.problems import PROBLEMS
from examples.compare.publish import BASELINE
from examples.compare.published import PUBLISHED

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"python -m (examples\.[\w.]+)([^`\n#\\]*(?:\\\n[^`\n#\\]*)*)")


def commands():
    for page in PAGES:
        for module, rest in COMMAND.findall(page.read_text(encoding="utf-8")):
            yield page.relative_to(ROOT).as_posix(), module, tuple(shlex.split(rest.replace("\\\n", " ")))


FOUND = sorted(set(commands()))


@pytest.mark.parametrize(("page", "module", "arguments"), FOUND, ids=[" ".join(found[:2]) for found in FOUND])
def test_commands_of_the_pages_name_what_there_is(page, module, arguments):
    path = ROOT.joinpath(*module.split("."))
    assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()
    if module != "examples.compare":
        return
    options = _parser().parse_args(arguments)
    if arguments[0] != "run":
        return
    assert set(options.problems) <= set(PROBLEMS)
    for problem in options.problems:
        methods = options.methods or PUBLISHED[problem]
        assert set(methods) <= set(METHODS)
        assert options.baseline in methods, f"the table would have no ratios to {options.baseline!r}"


def test_the_pages_have_commands_in_several_lines_too():
    assert sum(module == "examples.compare" for _, module, _ in FOUND) > 10
    assert any(len(arguments) > 10 and "--baseline" in arguments for _, _, arguments in FOUND)
    assert BASELINE in METHODS
