"""What a batch of a CurriculumLoader costs, side by side with a plain DataLoader over the same data in one run.

    python -m tests.benchmarks.data_path --out docs/results

The plain loader is ``DataLoader(ConcatDataset(tasks), shuffle=True)``. Both are iterated in turns of some batches, and
reported is the median over the turns of the ratio of their speeds: 1 is as fast as the plain loader, 0.5 half as fast.
Samples cost next to nothing here, so that everything else shows. Tasks are drawn uniformly, without a callback.
"""

from __future__ import annotations

import argparse
import csv
import gc
import inspect
import itertools
import statistics
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

from curricula import CurriculumLoader

BATCH_SIZE = 32
NUM_TASKS = (10, 169, 1_000, 10_000, 100_000)
DRAWS = (1, 16) if "draws_per_batch" in inspect.signature(CurriculumLoader).parameters else (1,)
TURNS = 9


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    num_tasks: int
    num_workers: int
    steps_per_epoch: str
    draws_per_batch: int
    plain_us_per_batch: float
    us_per_batch: float
    speed_ratio: float
    ratio_min: float
    ratio_max: float
    construction_us_per_task: float
    construction_bytes_per_task: int


def make_tasks(num_tasks: int, batches: int) -> dict[str, TensorDataset]:
    """Return tasks of at least two batches each, and together of at least so many."""
    size = max(2 * BATCH_SIZE, -(-batches * BATCH_SIZE // num_tasks))
    return {f"task {number}": TensorDataset(torch.randn(size, 8)) for number in range(num_tasks)}


def endless(loader: Any) -> Iterator[Any]:
    """Return the batches of a loader, epoch after epoch."""
    return itertools.chain.from_iterable(itertools.repeat(loader))


def seconds(batches: Iterator[Any], count: int) -> float:
    """Return the seconds that so many batches take."""
    start = time.perf_counter()
    for _ in itertools.islice(batches, count):
        pass
    return time.perf_counter() - start


def construction(tasks: dict[str, TensorDataset], options: dict[str, Any]) -> tuple[float, int]:
    """Return microseconds and bytes per task that it takes to make a loader."""
    times = []
    for _ in range(5):
        gc.collect()
        start = time.process_time()
        loader = CurriculumLoader(tasks, **options)
        times.append(time.process_time() - start)
        del loader
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    loader = CurriculumLoader(tasks, **options)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    number = len(loader.names)
    return 1e6 * min(times) / number, (after - before) // number


def measure(num_tasks: int, num_workers: int, given_steps: bool, draws: int, batches: int) -> Row:
    """Measure one line, in turns of so many batches."""
    total = (TURNS + 1) * batches
    tasks = make_tasks(num_tasks, total)
    options: dict[str, Any] = {"batch_size": BATCH_SIZE, "num_workers": num_workers}
    options["steps_per_epoch"] = total if given_steps else None
    if draws > 1:
        options["draws_per_batch"] = draws
    made_in, takes = construction(tasks, options)
    plain = endless(DataLoader(ConcatDataset(tasks.values()), BATCH_SIZE, shuffle=True, num_workers=num_workers))
    own = endless(CurriculumLoader(tasks, **options))
    for loader in (plain, own):  # workers start, and what is made for a whole epoch is there
        seconds(loader, max(10, batches // 4))
    plain_times, own_times = [], []
    for turn in range(TURNS):
        both = [(plain, plain_times), (own, own_times)]
        for loader, times in both[:: -1 if turn % 2 else 1]:
            times.append(seconds(loader, batches))
    ratios = [before / now for before, now in zip(plain_times, own_times, strict=True)]
    return Row(
        num_tasks=num_tasks,
        num_workers=num_workers,
        steps_per_epoch="given" if given_steps else "None",
        draws_per_batch=draws,
        plain_us_per_batch=round(1e6 * statistics.median(plain_times) / batches, 1),
        us_per_batch=round(1e6 * statistics.median(own_times) / batches, 1),
        speed_ratio=round(statistics.median(ratios), 3),
        ratio_min=round(min(ratios), 3),
        ratio_max=round(max(ratios), 3),
        construction_us_per_task=round(made_in, 2),
        construction_bytes_per_task=takes,
    )


def table(rows: list[Row]) -> str:
    """Return rows as a table in Markdown."""
    heads = [field.name.replace("_", " ") for field in fields(Row)]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *(f"| {' | '.join(str(value) for value in asdict(row).values())} |" for row in rows)])


def main() -> None:
    """Measure every line, print the table and write ``data_path.csv``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="+", default=NUM_TASKS, help="numbers of tasks")
    parser.add_argument("--workers", type=int, nargs="+", default=(0, 2), help="numbers of worker processes")
    parser.add_argument("--batches", type=int, default=200, help="per turn")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for num_tasks, workers, given, draws in itertools.product(options.tasks, options.workers, (True, False), DRAWS):
        rows.append(measure(num_tasks, workers, given, draws, options.batches))
        print(rows[-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "data_path.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    print(table(rows))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
