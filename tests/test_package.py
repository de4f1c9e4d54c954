"""The package itself: what importing it costs, what it exports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import curricula


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    root = str(Path(curricula.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import curricula", {"torch", "numpy", "pytorch_lightning", "wandb", "matplotlib"}),
        ("import curricula.bandits, curricula.rewards, curricula.teacher", {"torch", "pytorch_lightning", "wandb"}),
        (
            "from curricula import CurriculumCallback, CurriculumDataModule",
            {"wandb", "curricula.tracking.figures", "curricula.testing"},
        ),
        ("import curricula.tracking", {"wandb", "matplotlib", "plotly"}),
        ("import curricula.tracking.report, curricula.tracking.table", {"matplotlib", "plotly", "jinja2", "pyarrow"}),
        ("import curricula.tracking.charts", {"matplotlib", "wandb"}),
    ],
)
def test_importing_a_part_loads_nothing_that_it_does_not_need(statement, absent):
    assert not modules_after(statement) & absent


def test_every_public_name_is_there():
    for name in curricula.__all__:
        assert getattr(curricula, name) is not None
    assert set(curricula.__all__) == set(dir(curricula))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'curricula' has no attribute 'Curriculum'"):
        curricula.Curriculum  # noqa: B018


def test_imports_point_downwards_only():
    layers = [
        "checks",
        "batches",
        "encoding",
        "generators",
        "state",
        "randomness",
        "task_names",
        "task_shares",
        "held_out",
        "schedule",
        "skipped_steps",
        "bandits",
        "rewards",
        "draws",
        "shares",
        "mixture",
        "drawn_policy",
        "task_policy",
        "teacher",
        "agreement",
        "variational",
        "signals",
        "data",
        "tracking",
        "guard",
        "trainers",
        "validations",
        "setups",
        "account",
        "manual_steps",
        "measures",
        "meter",
        "checkpoint",
        "ledger",
        "handover",
        "curriculum",
        "steps",
        "callback_state",
        "callback",
        "testing",
        "export",
        "cli",
        "__main__",
    ]
    allowed = {
        "randomness": {"state"},
        "signals": {
            "batches",
            "checks",
            "generators",
            "held_out",
            "randomness",
            "task_names",
            "teacher",
            "variational",
        },
        "data": {
            "bandits",
            "batches",
            "checks",
            "encoding",
            "generators",
            "mixture",
            "randomness",
            "state",
            "task_names",
            "teacher",
        },
    }
    package = Path(curricula.__file__).parent
    for path in package.rglob("*.py"):
        layer = path.relative_to(package).parts[0].removesuffix(".py")
        if layer == "__init__":
            continue
        below = set(layers[: layers.index(layer)]) | {layer}
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] == ["from"] and words[1].startswith("curricula."):
                imported = words[1].split(".")[1]
                assert imported in below, f"{path.name} imports {imported}"
                if layer in allowed:
                    assert imported in allowed[layer] | {layer}, f"{path.name} imports {imported}"
