"""Train with a curriculum under Ray Train; a worker that is lost is replaced, and the run goes on where it was saved.

    pip install 'lightning-curricula[ray]'
    python -m examples.ray.train --workers 2 --storage runs/ray
    python -m examples.ray.train --workers 1 4 --storage /shared/runs

The second starts with one to four workers, as many as there is room for, and goes on without those that are lost. On a
cluster, the storage is on a disk that all machines share.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning.pytorch as pl  # Ray's strategies are made for it, wherever it is installed
import ray.train
import torch
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment, prepare_trainer
from ray.train.torch import TorchTrainer
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from curricula import CurriculumCallback, CurriculumLoader
from examples.ray.report import CHECKPOINT, ReportEveryNSteps

GLOBAL_BATCH = 96


class Regression(pl.LightningModule):
    """An MLP; it knows nothing of curricula, nor of Ray."""

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
    """Return the tasks: sine waves, from slow to fast. They have to be the same on every worker."""
    x = torch.linspace(-1, 1, 480)[:, None]
    return {
        f"frequency {frequency}": TensorDataset(
            torch.cat([x, torch.full_like(x, frequency / 8)], dim=1), torch.sin(frequency * x)
        )
        for frequency in (1, 2, 4, 8)
    }


def train(config: dict[str, Any]) -> None:
    """Train on one worker, from the checkpoint reported last, or from the start.

    Args:
        config: ``steps`` of the whole run; ``report_every`` so many of them; further ``callbacks``.
    """
    pl.seed_everything(0, verbose=False)
    workers = ray.train.get_context().get_world_size()
    loader = CurriculumLoader(waves(), batch_size=GLOBAL_BATCH // workers, steps_per_epoch=100, seed=0)
    # A list of anything: the curriculum's callback is one of `pytorch_lightning`, and runs in this trainer as well.
    callbacks: list[Any] = [CurriculumCallback(seed=0), ReportEveryNSteps(config["report_every"]), *config["callbacks"]]
    trainer = pl.Trainer(
        max_steps=config["steps"],
        devices="auto",
        strategy=RayDDPStrategy(),
        plugins=[RayLightningEnvironment()],
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer = prepare_trainer(trainer)
    with ExitStack() as stack:
        path = None
        if (checkpoint := ray.train.get_checkpoint()) is not None:
            path = Path(stack.enter_context(checkpoint.as_directory())) / CHECKPOINT
        trainer.fit(Regression(), loader, ckpt_path=path)


def run(
    storage: Path,
    name: str,
    *,
    workers: tuple[int, int],
    steps: int,
    report_every: int,
    callbacks: Sequence[pl.Callback] = (),
) -> ray.train.Result:
    """Train on several workers, through the loss of workers.

    Args:
        storage: for the checkpoints.
        name: of the run; one of this name in the storage goes on.
        workers: fewest and most, one process each.
        steps: of the whole run.
        report_every: steps from one checkpoint to the next.
        callbacks: further ones.

    Returns:
        The result, with the last checkpoint.

    Raises:
        ValueError: if ``GLOBAL_BATCH`` cannot be shared equally.
    """
    fewest, most = workers
    for count in range(fewest, most + 1):
        if GLOBAL_BATCH % count:
            raise ValueError(f"{count} workers cannot share a batch of {GLOBAL_BATCH} samples equally")
    trainer = TorchTrainer(
        train,
        train_loop_config={"steps": steps, "report_every": report_every, "callbacks": list(callbacks)},
        scaling_config=ScalingConfig(
            num_workers=fewest if fewest == most else workers, use_gpu=torch.cuda.is_available()
        ),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage.resolve()),
            failure_config=FailureConfig(max_failures=3),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    return trainer.fit()


def main() -> None:
    """Read the options, train, and print where the last checkpoint is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", type=Path, default=Path("runs/ray"))
    parser.add_argument("--name", default="waves")
    parser.add_argument("--workers", type=int, nargs="+", default=[2], help="number, or fewest and most")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--report-every", type=int, default=100)
    options = vars(parser.parse_args())
    workers = options.pop("workers")
    result = run(**options, workers=(workers[0], workers[-1]))
    print(result.metrics, result.checkpoint)


if __name__ == "__main__":
    main()
