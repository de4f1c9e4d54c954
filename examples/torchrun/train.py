"""Train with a curriculum under torchrun, on as many processes as there are; whatever is killed, the run goes on.

On one machine, two processes, started again up to three times:

    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    torchrun --standalone --nproc-per-node 2 --max-restarts 3 examples/torchrun/train.py --folder runs/torchrun

On one to four machines, the same lines on each. The run starts with those that are there, takes in those that come, and
goes on without those that are lost. The one whose address is given has to stay; the folder is on a disk of all:

    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    torchrun --nnodes 1:4 --nproc-per-node 8 --max-restarts 100 \
        --rdzv-backend c10d --rdzv-id 1 --rdzv-endpoint first-machine:29400 \
        examples/torchrun/train.py --folder /shared/run

Whenever a process or a machine is lost or comes, torchrun starts all processes anew, and each of them goes on from the
newest checkpoint. A step is one batch of ``GLOBAL_BATCH`` samples, shared by all processes, so that the run is the same
one on any number of them.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from curricula import CurriculumCallback, CurriculumLoader

GLOBAL_BATCH = 96


class Regression(pl.LightningModule):
    """An MLP; it knows nothing of curricula, nor of the other processes."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the mean squared error."""
        inputs, targets = batch
        return nn.functional.mse_loss(self.network(inputs), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def waves() -> dict[str, TensorDataset]:
    """Return the tasks: sine waves, from slow to fast. They have to be the same in every process."""
    x = torch.linspace(-1, 1, 480)[:, None]
    return {
        f"frequency {frequency}": TensorDataset(
            torch.cat([x, torch.full_like(x, frequency / 8)], dim=1), torch.sin(frequency * x)
        )
        for frequency in (1, 2, 4, 8)
    }


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there, so that one of that name is always whole.

    Lightning writes to ``TMPDIR``, and where that is on another disk, a process that is killed while it copies leaves
    half a checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save to a path on a local or a shared disk."""
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f"{place.name}.part")
        with part.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(place)


def train(folder: Path, *, steps: int, save_every: int, callbacks: Sequence[pl.Callback] = ()) -> CurriculumCallback:
    """Train from the newest checkpoint in the folder, or from the start.

    Args:
        folder: for the checkpoints, on a disk that all machines share.
        steps: of the whole run.
        save_every: steps from one checkpoint to the next: what is lost is at most so many.
        callbacks: further ones.

    Returns:
        The callback that has the curriculum.

    Raises:
        ValueError: if ``GLOBAL_BATCH`` cannot be shared equally.
        RuntimeError: if torchrun is to restart processes, and they would meet what those before them left.
    """
    check_restarts()
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if GLOBAL_BATCH % processes:
        raise ValueError(f"{processes} processes cannot share a batch of {GLOBAL_BATCH} samples equally")
    if int(os.environ.get("RANK", "0")) == 0:
        delete_leftovers(folder)
    pl.seed_everything(0, verbose=False)
    loader = CurriculumLoader(waves(), batch_size=GLOBAL_BATCH // processes, steps_per_epoch=100, seed=0)
    curriculum = CurriculumCallback(seed=0)
    saver = ModelCheckpoint(folder, "{step}", monitor="step", mode="max", save_top_k=2, every_n_train_steps=save_every)
    trainer = pl.Trainer(
        max_steps=steps,
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),  # what Lightning is told has to be what torchrun did
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        strategy=DDPStrategy(timeout=timedelta(minutes=5)),  # NCCL waits so long for a process that is gone
        callbacks=[curriculum, saver, *callbacks],
        plugins=[WholeCheckpoints()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Regression(), loader, ckpt_path=newest(folder))
    trainer.save_checkpoint(folder / "final.ckpt", weights_only=False)
    return curriculum


def check_restarts() -> None:
    """Refuse the store of torchrun's own: restarted processes find the addresses of those before in it, and hang."""
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if shared and os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0":
        raise RuntimeError(
            "torchrun keeps one store over all restarts, in which restarted processes find the addresses of those that "
            "are gone (pytorch/pytorch#135712): start it with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its environment"
        )


def newest(folder: Path) -> Path | None:
    """Return the newest checkpoint in the folder; ``None`` before the first."""
    saved = saved_in(folder)
    return saved[-1] if saved else None


def saved_in(folder: Path) -> list[Path]:
    """Return the checkpoints in the folder, the newest last."""
    return sorted(folder.glob("step=*.ckpt"), key=lambda path: int(path.stem.removeprefix("step=")))


def delete_leftovers(folder: Path) -> None:
    """Delete what processes that were killed left half-written, and checkpoints but the two newest.

    Lightning deletes older ones as well, but never the one that it resumed from: every restart would leave one.
    """
    for path in [*folder.glob("*.part"), *saved_in(folder)[:-2]]:
        path.unlink()


def main(callbacks: Sequence[pl.Callback] = ()) -> None:
    """Read the options, train, and print how often each task was drawn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/torchrun"))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--save-every", type=int, default=100)
    options = parser.parse_args()
    curriculum = train(options.folder, steps=options.steps, save_every=options.save_every, callbacks=callbacks)
    if int(os.environ.get("RANK", "0")) == 0:
        print(dict(zip(curriculum.teacher.tasks, curriculum.history.draws.tolist(), strict=True)))


if __name__ == "__main__":
    main()
