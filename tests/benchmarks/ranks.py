"""What several ranks cost: the collective of every update, and draws of their own for every rank.

    python -m tests.benchmarks.ranks --out docs/results

Processes on this machine, joined by gloo. Steps of the second part sleep 10, 20, 40 or 80 ms by their task, so that
what is measured is the waiting for the slowest rank.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from curricula import CurriculumCallback, CurriculumLoader, Teacher
from curricula.agreement import Outcome, Ranks
from curricula.bandits import FixedPolicy
from curricula.signals import Signal, Step
from tests.ranks import on_ranks
from tests.test_ranks import make_trainer

MILLISECONDS = {f"task of {length} ms": length for length in (10, 20, 40, 80)}


def agreement(folder: Path, updates: int) -> dict[str, float]:
    """Return what it takes this rank to agree, median and mean, and what a bare all-reduce of the same size takes."""
    torch.distributed.init_process_group("gloo")
    size = torch.distributed.get_world_size()
    teacher = Teacher([str(task) for task in range(169)], horizon=updates)
    ranks = Ranks(size, torch.device("cpu"))
    times, bare = [], []
    for step in range(updates):
        draw = teacher.draw()
        torch.distributed.barrier()
        start = time.perf_counter()
        (outcome,) = ranks.agree([Outcome(0.1 * draw.arm, 1.0, 0.5, True)], teacher, step)
        times.append(time.perf_counter() - start)
        teacher.reward(draw, outcome.progress)
        torch.distributed.barrier()
        start = time.perf_counter()
        torch.distributed.all_reduce(torch.zeros(8, dtype=torch.float64))
        bare.append(time.perf_counter() - start)
    torch.distributed.destroy_process_group()
    return {
        "median_ms": round(1e3 * statistics.median(times), 3),
        "mean_ms": round(1e3 * statistics.fmean(times), 3),
        "bare_all_reduce_median_ms": round(1e3 * statistics.median(bare), 3),
    }


class Loss(Signal):
    """The loss itself."""

    needs_loss = True

    def after_step(self, step: Step) -> float:
        """Return the loss."""
        return step.loss


class Sleeper(pl.LightningModule):
    """A step takes as long as its batch says."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Sleep, and return a loss."""
        time.sleep(float(batch[0, 0]) / 1e3)
        return self.layer(batch).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return SGD."""
        return torch.optim.SGD(self.parameters(), lr=1e-6)


def train(folder: Path, steps: int, independent: bool) -> float:
    """Return the seconds of a training under uniform draws."""
    tasks = {name: [torch.tensor([float(length)])] * 64 for name, length in MILLISECONDS.items()}
    callback = CurriculumCallback(FixedPolicy.uniform(), Loss(), independent_ranks=independent)
    fitter = make_trainer(callback, max_steps=steps)
    start = time.perf_counter()
    fitter.fit(Sleeper(), CurriculumLoader(tasks, batch_size=2, steps_per_epoch=steps))
    return time.perf_counter() - start


def expected(ranks: int) -> float:
    """Return the mean of the longest of so many uniform draws over the mean of one."""
    lengths = sorted(MILLISECONDS.values())
    below = [((place + 1) / len(lengths)) ** ranks for place in range(len(lengths))]
    longest = sum(length * (now - before) for length, now, before in zip(lengths, below, [0.0, *below], strict=False))
    return longest / statistics.fmean(lengths)


def main() -> None:
    """Run both parts and write ``ranks.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    options = parser.parse_args()
    result: dict[str, Any] = {"torch": torch.__version__, "agreement": {}, "independent_ranks": {}}
    with tempfile.TemporaryDirectory() as folder:
        for size in (2, 4):
            (found,) = on_ranks(agreement, Path(folder), (size, [options.updates]))
            result["agreement"][f"{size} ranks"] = found[0]
        for size in (2, 4):
            stages = [
                (size, [options.steps, independent]) for _ in range(options.rounds) for independent in (False, True)
            ]
            seconds = [max(found) for found in on_ranks(train, Path(folder), *stages, timeout=600)]
            ratios = [own / shared for shared, own in zip(seconds[0::2], seconds[1::2], strict=True)]
            result["independent_ranks"][f"{size} ranks"] = {
                "ms_per_step_shared": round(1e3 * statistics.median(seconds[0::2]) / options.steps, 2),
                "ms_per_step_independent": round(1e3 * statistics.median(seconds[1::2]) / options.steps, 2),
                "ratio": round(statistics.median(ratios), 2),
                "ratio_min": round(min(ratios), 2),
                "ratio_max": round(max(ratios), 2),
                "ratio_of_the_sleeping_alone": round(expected(size), 2),
            }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "ranks.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
