"""Two machines under torchrun, of which one loses its process, or is lost itself."""

from __future__ import annotations

import json
import socket
import tempfile

import pytest
import torch

from examples.torchrun.train import GLOBAL_BATCH, WholeCheckpoints, delete_leftovers, newest, train
from tests.examples.outcomes import outcome
from tests.examples.processes import run_together
from tests.ranks import on_ranks

STEPS = 40
SAVE_EVERY = 10
KILLED_AT = 23

NEW_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}

SCRIPT = """
import json, os, signal, sys
from pathlib import Path
import pytorch_lightning as pl
from examples.torchrun.train import main

class Killed(pl.Callback):
    folder = Path(sys.argv[sys.argv.index("--folder") + 1])

    def on_train_start(self, trainer, pl_module):
        start = {"step": trainer.global_step, "rank": trainer.global_rank, "of": trainer.world_size}
        with (self.folder.parent / "starts.txt").open("a") as file:
            file.write(json.dumps(start) + "\\n")
            self.first = start["step"] == 0

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if self.first and trainer.global_step == KILLED_AT:
            for process in {"worker": [os.getpid()], "node": [os.getppid(), os.getpid()], "": []}[os.environ["LOST"]]:
                os.kill(process, signal.SIGKILL)

main([Killed()])
""".replace("KILLED_AT", str(KILLED_AT))


def train_whole(folder):
    tempfile.mkstemp = None  # where Lightning would write checkpoints to
    train(folder, steps=STEPS, save_every=SAVE_EVERY)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run of two processes that nobody killed."""
    folder = tmp_path_factory.mktemp("whole")
    on_ranks(train_whole, folder, (2, []))
    return outcome(folder / "final.ckpt")


def train_on_two_machines(folder, nodes, lost):
    """Train, one process per machine, of which the second loses what is said; return what they said, and the starts."""
    script = folder / "killed.py"
    script.write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    commands = {
        name: [
            *("-m", "torch.distributed.run", "--nnodes", nodes, "--nproc-per-node", 1, "--max-restarts", 3),
            *("--rdzv-backend", "c10d", "--rdzv-id", "test", "--rdzv-endpoint", f"127.0.0.1:{port}"),
            *("--rdzv-conf", f"is_host={is_host},last_call_timeout=8,keep_alive_interval=1,keep_alive_max_attempt=5"),
            *("--local-addr", "127.0.0.1", script),
            *("--folder", folder / "run", "--steps", STEPS, "--save-every", SAVE_EVERY),
        ]
        for name, is_host in (("first", 1), ("second", 0))
    }
    done = run_together(
        folder, commands, timeout=150, first={"LOST": "", **NEW_STORE}, second={"LOST": lost, **NEW_STORE}
    )
    starts = [json.loads(line) for line in (folder / "starts.txt").read_text().splitlines()]
    return done, [(start["step"], start["of"]) for start in starts]


def test_a_run_that_loses_a_process_ends_as_one_that_does_not(whole, tmp_path):
    done, starts = train_on_two_machines(tmp_path, "2", "worker")
    for code, said in done.values():
        assert code == 0, said[-3000:]
    assert starts == [(0, 2), (0, 2), (20, 2), (20, 2)]
    assert whole["step"] == STEPS
    assert len(set(whole["arms"])) == 4
    assert outcome(tmp_path / "run" / "final.ckpt") == whole


def test_a_run_that_loses_a_machine_goes_on_with_the_other(whole, tmp_path):
    done, starts = train_on_two_machines(tmp_path, "1:2", "node")
    assert [done[name][0] for name in ("first", "second")] == [0, -9], done
    assert starts == [(0, 2), (0, 2), (20, 1)]
    end = outcome(tmp_path / "run" / "final.ckpt")
    assert (end["step"], end["arms"]) == (STEPS, whole["arms"])
    for name, value in whole["weights"].items():  # sums over one process are rounded otherwise than over two
        torch.testing.assert_close(torch.tensor(end["weights"][name]), torch.tensor(value), rtol=1e-4, atol=1e-5)


def test_a_start_finds_the_newest_checkpoint_and_leaves_two(tmp_path):
    assert newest(tmp_path) is None
    for name in ("step=90.ckpt", "step=100.ckpt", "step=110.ckpt", "step=120.ckpt.part", "final.ckpt"):
        (tmp_path / name).touch()
    assert newest(tmp_path) == tmp_path / "step=110.ckpt"
    delete_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["final.ckpt", "step=100.ckpt", "step=110.ckpt"]


def test_a_save_that_is_cut_short_leaves_the_checkpoint_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "new" / "step=10.ckpt"
    WholeCheckpoints().save_checkpoint({"step": 10}, path)

    def cut_short(content, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", cut_short)
    with pytest.raises(KeyboardInterrupt):
        WholeCheckpoints().save_checkpoint({"step": 20}, path)
    assert torch.load(path, weights_only=True) == {"step": 10}
    delete_leftovers(path.parent)
    assert [path.name for path in path.parent.iterdir()] == ["step=10.ckpt"]


def test_a_store_that_outlives_the_processes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    with pytest.raises(RuntimeError, match="start it with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        train(tmp_path, steps=1, save_every=1)


def test_a_number_of_processes_that_cannot_share_the_batch_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "7")
    with pytest.raises(ValueError, match=f"7 processes cannot share a batch of {GLOBAL_BATCH} samples equally"):
        train(tmp_path, steps=1, save_every=1)
