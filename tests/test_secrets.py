"""What is secret stays where it is: in no file of a run, and in nothing that it prints."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CANARY = "CaNaRy7f3b9e"

ENVIRONMENT = (
    *("WANDB_API_KEY", "WANDB_PASSWORD", "API_TOKEN", "GITHUB_TOKEN", "HF_TOKEN", "OPENAI_API_KEY", "PIP_INDEX_URL"),
    *("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "DATABASE_URL", "PASSWORD", "CURRICULA_SECRET"),
)

SCRIPT = '''
import logging
import os
import sys
from pathlib import Path

import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger
import wandb

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import Exp3S
from curricula.cli import main
from curricula.rewards import QuantileScaler
from curricula.signals import PredictionGain
from curricula.tracking.figures import policy_figure
from curricula.tracking.report import Section, write_report
from curricula.tracking.table import TABLES, write_table
from tests.models import Constant, Linear, trainer

logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
logging.getLogger("matplotlib").setLevel(logging.WARNING)
secret = os.environ["CURRICULA_SECRET"]
folder = Path(sys.argv[1])


class Bandit(Exp3S):
    """Of the user's own."""

    def __init__(self):
        super().__init__(beta=0.1)
        self.api_key = secret
        self.eta_of_mine = {secret: secret}


class Signal(PredictionGain):
    """Of the user's own."""

    def __init__(self):
        self.password = self.sign = secret


class Scaler(QuantileScaler):
    """Of the user's own."""

    def __init__(self):
        super().__init__()
        self.token = secret


class Module(Linear):
    """Of the user's own."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss)
        return loss


class Unreliable(Constant):
    """Fails now and then."""

    def __getitem__(self, index):
        self.password = secret
        if index == 3:
            raise ValueError("lost")
        return super().__getitem__(index)


def cost(batch, key=secret):
    return 1.0 + len(key)


def collate(samples, key=secret):
    return torch.utils.data.default_collate(samples)


settings = wandb.Settings(x_disable_meta=True, console="off", disable_code=True, disable_git=True)
loggers = [
    WandbLogger(save_dir=folder, offline=True, settings=settings),
    TensorBoardLogger(folder),
    CSVLogger(folder),
]
saver = ModelCheckpoint(folder, every_n_train_steps=10, save_top_k=-1)
callback = CurriculumCallback(Bandit(), Signal(), Scaler(), cost=cost, target="hard")
tasks = {name: Unreliable(value) for value, name in enumerate(["easy", "hard", "x"])}
loader = CurriculumLoader(tasks, batch_size=4, steps_per_epoch=20, collate_fn=collate, on_error="retry")
fitter = trainer(callback, saver, max_steps=40, logger=loggers, enable_checkpointing=True, log_every_n_steps=5)
fitter.fit(Module(lr=1e-3), loader)
loggers[0].experiment.finish()
callback.history.save(folder / "history.json")
write_report(folder / "page.html", [Section("A run", history=callback.history)])
for table in TABLES:
    write_table(callback.history, folder / f"{table}.csv", table=table)
    write_table(callback.history, folder / f"{table}.parquet", table=table)
policy_figure(callback.history).savefig(folder / "policy.svg")
assert main(["report", str(folder / "history.json"), "-o", str(folder / "again.html")]) == 0
assert main(["report", str(folder / "nothing.json"), "-o", str(folder / "none.html")]) == 1
assert callback.history.steps == 40
'''


def forms(secret: str) -> list[bytes]:
    """Return the secret as it is, in other encodings, and in base64 at every place of a longer text."""
    raw = secret.encode()
    found = [raw, secret.encode("utf-16-le"), raw.hex().encode(), raw[::-1]]
    for before in range(3):
        encoded = base64.b64encode(b" " * before + raw + b" " * (-(before + len(raw)) % 3))
        found.append(encoded[-(-before * 8 // 6) : -4])
    return found


def contents(path: Path) -> bytes:
    """Return the bytes of a file, and what a compressed one holds."""
    content = path.read_bytes()
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        content += (
            str(parquet.read_table(path).to_pydict()).encode() + str(parquet.read_metadata(path).metadata).encode()
        )
    return content


def holding(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(form in contents(path) for form in forms(CANARY))]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder, script = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("script") / "train.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment["HOME"] = str(folder / "home")  # what libraries keep there is searched as well
    environment |= {name: f"{CANARY}{number:028}" for number, name in enumerate(ENVIRONMENT)}
    (folder / "home").mkdir()
    command = [sys.executable, str(script), str(folder), f"--password={CANARY}", CANARY]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=240, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout + done.stderr


def test_no_file_of_a_run_holds_a_secret(run):
    folder, _ = run
    kinds = {"".join(path.suffixes[-1:]) for path in folder.rglob("*") if path.is_file()}
    assert {".wandb", ".ckpt", ".csv", ".json", ".html", ".parquet", ".svg"} <= kinds
    assert list(folder.rglob("events.out.tfevents.*"))
    assert holding(folder) == []


def test_nothing_that_a_run_prints_holds_a_secret(run):
    _, printed = run
    assert "curriculum: " in printed, "it prints what it does"
    assert "other data of the task are taken in its place" in printed
    assert CANARY not in printed


@pytest.mark.parametrize("number", range(3))
def test_a_secret_would_be_found(tmp_path, number):
    (tmp_path / "raw").write_bytes(b"\x00" * number + CANARY.encode())
    (tmp_path / "base64").write_bytes(base64.b64encode(b"x" * number + CANARY.encode() + b"yyy"))
    (tmp_path / "wide").write_bytes(CANARY.encode("utf-16-le"))
    (tmp_path / "innocent").write_bytes(b"CaNaRy")
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    parquet.write_table(pyarrow.table({"task": [CANARY]}), tmp_path / "table.parquet", compression="gzip")
    assert sorted(holding(tmp_path)) == ["base64", "raw", "table.parquet", "wide"]
