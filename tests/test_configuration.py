"""LightningCLI and jsonargparse: what a configuration file can set, and what it cannot."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pytest
import pytorch_lightning as pl
import torch
import yaml
from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch.cli import LightningCLI as OtherCLI
from pytorch_lightning.cli import LightningCLI

from curricula import CurriculumCallback, CurriculumDataModule, CurriculumLoader, Guard, Mixture, Schedule
from curricula import bandits as exported_bandits
from curricula.bandits import Exp3S
from curricula.rewards import QuantileScaler, RewardScaler
from curricula.signals import PredictionGain
from curricula.variational import Variational
from tests.bandits.checks import bandit_classes
from tests.models import Constant, Linear, tasks_of_constants
from tests.signals.kinds import signal_classes


def cost(batch: Any) -> float:
    return 1.0


def collate(samples: list[Any]) -> Any:
    return samples


def prepare(worker: int) -> object:
    return worker


class PerSample:
    """A cost that was written to be named in a configuration."""

    def __init__(self, of_each: float):
        self.of_each = of_each

    def __call__(self, batch: Any) -> float:
        return self.of_each * len(batch[0])

    def __repr__(self) -> str:
        return f"PerSample({self.of_each})"


class Curriculum(CurriculumCallback, lightning.Callback):
    """For trainers of ``lightning.pytorch``."""


class Open:
    """What an argument must not be."""

    def __init__(self, function: Callable[[Any], float] | None = None, anything: Any = None, more: Sequence[Any] = ()):
        self.given = function, anything, more


CONSTRUCTORS = [
    CurriculumCallback,
    CurriculumLoader,
    CurriculumDataModule,
    CurriculumDataModule.from_datamodule,
    Mixture,
    *bandit_classes(),
    Schedule,
    exported_bandits.Exp3S.paper,
    exported_bandits.FixedPolicy.uniform,
    exported_bandits.FixedPolicy.proportional,
    QuantileScaler,
    QuantileScaler.paper,
    *signal_classes(),
    Guard,
    Variational,
]


class Anything:
    """A class that no argument asks for."""

    made = 0

    def __init__(self) -> None:
        Anything.made += 1


ANYTHING = {"class_path": f"{__name__}.Anything"}
PATHS = [
    "os.system",
    "os._exit",
    "builtins.eval",
    "subprocess.call",
    "importlib.import_module",
    "torch.load",
    f"{__name__}.cost",
    f"{__name__}.collate",
    f"{__name__}.prepare",
]
ATTEMPTS: list[Any] = [
    *PATHS,
    *({"class_path": path} for path in PATHS),
    *(({"class_path": "functools.partial", "init_args": {"func": "os.system"}}), ANYTHING),
    *([value] for value in ("os.system", ANYTHING)),
    *({"a": value} for value in ("os.system", ANYTHING)),
    *({"a": [value]} for value in ("os.system", ANYTHING)),
]
"""What a configuration may try: import paths and classes, plain and in containers."""


def functions_in(value: Any) -> bool:
    """Tell whether a function came out of a configuration."""
    if isinstance(value, (dict, Namespace)):
        return any(functions_in(entry) for entry in value.values())
    if isinstance(value, (list, tuple)):
        return any(functions_in(entry) for entry in value)
    return callable(value)


def parser_of(constructor: Any) -> ArgumentParser:
    """Return a parser as LightningCLI makes them."""
    parser = ArgumentParser(exit_on_error=False)
    if isinstance(constructor, type):
        parser.add_class_arguments(constructor, "of", fail_untyped=False)
    else:
        parser.add_function_arguments(constructor, "of", fail_untyped=False)
    return parser


def parameters(parser: ArgumentParser) -> list[str]:
    return [action.dest.removeprefix("of.") for action in parser._actions if action.dest.startswith("of.")]


REQUIRED: dict[str, Any] = {
    "tasks": {"a": {"class_path": "tests.models.Constant", "init_args": {"value": 0.0}}},
    "datamodule": {"class_path": f"{__name__}.OtherData"},
    "module": {"class_path": "torch.nn.Linear", "init_args": {"in_features": 1, "out_features": 1}},
    "name": "return",
    "metrics": "val_loss/{task}",
    "samples": 10.0,
    "sizes": [1.0, 2.0],
    "counts": [3, 1],
    "points": [[0, {"easy": 0.7, "hard": 0.3}]],
}


def needed(parser: ArgumentParser) -> dict[str, Any]:
    """Return the arguments without which there is nothing to try."""
    return {name: copy.deepcopy(REQUIRED[name]) for name in parameters(parser) if name in REQUIRED}


def accepted(parser: ArgumentParser, name: str) -> list[Any]:
    """Return the attempts that become a function, or an instance of a class that was not asked for."""
    found = []
    for value in ATTEMPTS:
        before = Anything.made
        try:
            parsed = parser.parse_object({"of": {**needed(parser), name: copy.deepcopy(value)}}, defaults=False)
        except Exception:  # noqa: BLE001 - however it is refused
            continue
        with suppress(Exception):  # of what the constructor itself refuses
            parser.instantiate(parsed)
        if Anything.made > before or functions_in(parsed["of"].as_dict()):
            found.append(value)
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("constructor", CONSTRUCTORS, ids=lambda constructor: constructor.__qualname__)
def test_no_argument_takes_a_function_or_any_class_from_a_configuration(constructor):
    parser = parser_of(constructor)
    parser.instantiate(parser.parse_object({"of": needed(parser)}))
    for name in parameters(parser):
        assert accepted(parser, name) == [], name


@pytest.mark.filterwarnings("ignore")
def test_open_arguments_would_be_found():
    parser = parser_of(Open)
    assert {"os.system", f"{__name__}.cost"} <= {value for value in accepted(parser, "function") if value in PATHS}
    assert ANYTHING in accepted(parser, "anything")
    assert [ANYTHING] in accepted(parser, "more")


def test_the_arguments_are_all_there():
    assert {"cost", "target", "bandit", "signal", "scaler", "seed"} <= set(parameters(parser_of(CurriculumCallback)))
    assert {"tasks", "collate_fn", "worker_init_fn", "multiprocessing_context"} <= set(
        parameters(parser_of(CurriculumLoader))
    )
    assert {"tasks", "val_tasks", "collate_fn", "grid"} <= set(parameters(parser_of(CurriculumDataModule)))
    assert issubclass(QuantileScaler, RewardScaler)


def test_functions_are_given_in_code():
    callback = CurriculumCallback(cost=lambda batch: float(len(batch)))
    loader = CurriculumLoader(tasks_of_constants("ab"), collate_fn=collate, worker_init_fn=prepare, num_workers=1)
    assert callback._account.cost is not None
    assert next(iter(loader))[0][0].shape == (2,)


CALLBACK = {
    "bandit": {"class_path": "curricula.bandits.Exp3S", "init_args": {"epsilon": 0.25}},
    "signal": {"class_path": "curricula.signals.PredictionGain"},
    "scaler": {"class_path": "curricula.rewards.QuantileScaler", "init_args": {"window": 50}},
    "target": "hard",
    "seed": 5,
}
TASKS = {
    name: {"class_path": "tests.models.Constant", "init_args": {"value": value}}
    for value, name in enumerate(["easy", "hard"])
}


def trainer_settings(callback: str, **changes: Any) -> dict[str, Any]:
    return {
        "max_epochs": 2,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "callbacks": [{"class_path": callback, "init_args": {**CALLBACK, **changes}}],
    }


@pytest.fixture(autouse=True)
def _no_command_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program"])


def run(cli: Any, configuration: dict[str, Any], *classes: Any) -> Any:
    Path("given.yaml").write_text(yaml.safe_dump({"seed_everything": 7, **configuration}))
    return cli(Linear if cli is LightningCLI else OtherLinear, *classes, args=["fit", "--config", "given.yaml"])


def check(trainer: Any) -> None:
    (callback,) = (one for one in trainer.callbacks if isinstance(one, CurriculumCallback))
    assert isinstance(callback.teacher.bandit, Exp3S)
    assert callback.teacher.bandit.epsilon == 0.25
    assert isinstance(callback.signal, PredictionGain)
    assert callback.teacher.scaler.window == 50
    assert (callback.teacher.seed, callback.history.target) == (5, "hard")
    assert callback.teacher.tasks == ("easy", "hard")
    assert callback.history.steps == callback.teacher.updates == 20


def test_a_training_is_configured_from_yaml():
    data = {"batch_size": 8, "steps_per_epoch": 10, "seed": 3, "grid": {"level": ["low", "high"]}, "tasks": TASKS}
    configuration = {"model": {"lr": 0.001}, "data": data, "trainer": trainer_settings("curricula.CurriculumCallback")}
    cli = run(LightningCLI, configuration, CurriculumDataModule)
    check(cli.trainer)
    assert cli.trainer.train_dataloader.grid == {"level": ["low", "high"]}
    assert isinstance(cli.trainer.train_dataloader.tasks["hard"], Constant)


class OtherLinear(lightning.LightningModule):
    """The same of the other package."""

    def __init__(self, lr: float = 0.01):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.lr = lr

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return (self.layer(inputs) - targets).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class OtherData(lightning.LightningDataModule):
    def __init__(self, batch_size: int = 4):
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self):
        tasks = tasks_of_constants(["easy", "hard"])
        return CurriculumLoader(tasks, batch_size=self.batch_size, steps_per_epoch=10)


def test_so_is_one_of_the_other_package():
    configuration = {"data": {"batch_size": 8}, "trainer": trainer_settings(f"{__name__}.Curriculum")}
    cli = run(OtherCLI, configuration, OtherData)
    check(cli.trainer)
    assert cli.trainer.train_dataloader.batch_size == 8


@pytest.mark.parametrize(
    ("prior", "share"),
    [
        ({"easy": 0.75, "hard": 0.25}, 0.25),
        ({"class_path": "curricula.Schedule", "init_args": {"points": [[0, {"easy": 0.25, "hard": 0.75}]]}}, 0.75),
    ],
)
def test_a_mixture_and_a_schedule_are_plain_entries(prior, share):
    changes = {"mixture": {"prior": prior, "cap": {"easy": 1.0}, "max_passes": 30.0, "warmup": 3}}
    settings = trainer_settings("curricula.CurriculumCallback", **changes)
    cli = run(LightningCLI, {"data": {"tasks": TASKS}, "trainer": settings}, CurriculumDataModule)
    (callback,) = (one for one in cli.trainer.callbacks if isinstance(one, CurriculumCallback))
    mixture = callback.teacher.mixture
    assert (mixture.cap, mixture.max_passes, mixture.warmup) == ({"easy": 1.0}, 30.0, 3)
    assert callback.teacher.prior()["hard"] == share


def test_other_constructors_are_named_like_classes():
    changes = {"bandit": {"class_path": "curricula.bandits.Exp3S.paper"}}
    configuration = {"data": {"tasks": TASKS}, "trainer": trainer_settings("curricula.CurriculumCallback", **changes)}
    cli = run(LightningCLI, configuration, CurriculumDataModule)
    (callback,) = (one for one in cli.trainer.callbacks if isinstance(one, CurriculumCallback))
    assert callback.teacher.bandit.eta == 0.001


def test_a_class_that_is_written_for_it_can_be_a_function():
    changes = {"cost": {"class_path": f"{__name__}.PerSample", "init_args": {"of_each": 0.5}}}
    configuration = {"data": {"tasks": TASKS}, "trainer": trainer_settings("curricula.CurriculumCallback", **changes)}
    cli = run(LightningCLI, configuration, CurriculumDataModule)
    (callback,) = (one for one in cli.trainer.callbacks if isinstance(one, CurriculumCallback))
    assert repr(callback._account.cost) == "PerSample(0.5)"
    assert callback.teacher.updates == 128


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("callback", {"cost": "os.system"}),
        ("callback", {"cost": f"{__name__}.cost"}),
        ("callback", {"target": ANYTHING}),
        ("callback", {"bandit": ANYTHING}),
        ("data", {"collate_fn": "os.system"}),
        ("data", {"tasks": {"easy": ANYTHING}}),
        ("data", {"worker_init_fn": "os.system"}),
    ],
    ids=str,
)
def test_functions_and_other_classes_end_the_program(where, what, capsys):
    data = {"tasks": TASKS, **(what if where == "data" else {})}
    changes = what if where == "callback" else {}
    configuration = {"data": data, "trainer": trainer_settings("curricula.CurriculumCallback", **changes)}
    before = Anything.made
    with pytest.raises(SystemExit):
        run(LightningCLI, configuration, CurriculumDataModule)
    assert next(iter(what)) in capsys.readouterr().err.rpartition("error:")[2]
    assert Anything.made == before


def test_trainers_are_as_they_were():
    assert issubclass(CurriculumCallback, pl.Callback)
    assert not issubclass(CurriculumCallback, lightning.Callback)
