"""Resume a way to train at many points: ``python -m tests.generated.resumes --seed 17``."""

from __future__ import annotations

import argparse
import logging
import random
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from tests.generated.comparisons import differences
from tests.generated.runs import Kept, Run, train
from tests.generated.ways import Way, make_way

RESUMES = 4
"""Of every way."""

SEEDS = range(77)
"""Of the ways that are tested: so many that every signal meets every kind of checkpoint."""


def check_resumes(way: Way, folder: Path) -> None:
    """Raise unless all resumes of a way are exact."""
    found = [(f"after {point.batches} ({point.stage})", differences) for point, differences in resumes(way, folder)]
    assert len(found) == RESUMES
    wrong = [f"{place}: {'; '.join(differences)}" for place, differences in found if differences]
    assert not wrong, "\n".join([f"python -m tests.generated.resumes --seed {way.seed}", str(way), *wrong])


def resumes(way: Way, folder: Path, *, plain: bool = False) -> Iterator[tuple[Kept, list[str]]]:
    """Train in a way without interruption, then resume it, and yield what differs after every resume.

    Resumed are the first and the last checkpoint that leave something to train, others between them, and one that a
    resumed run wrote itself.

    Args:
        way: how to train.
        folder: to work in.
        plain: without the curriculum, as a control.
    """
    numbers = random.Random(way.seed)
    whole = train(way, folder / "whole", plain=plain)
    total = len(whole.steps)
    places: list[int] = []
    if way.checkpoints == "exception":
        places = _places(way, whole)
        points = [
            train(way, folder / f"interrupted-{after}", interrupted_after=after, plain=plain).kept[-1]
            for after in _chosen(way, places, numbers)
        ]
    else:
        points = _spread(_usable(whole, 0, total), RESUMES, numbers)
    later: list[Kept] = []
    for number in range(1, RESUMES + 1):
        if later and (number == RESUMES or not points):
            point = later.pop(numbers.randrange(len(later)))
        else:
            point = points.pop(0)
        further = [place for place in places if place > point.batches] if number == 1 else []
        if further:  # a run that is interrupted, goes on, and is interrupted again
            after = numbers.choice(further)
            again = train(way, folder / "again", seed=77, checkpoint=point.path, interrupted_after=after, plain=plain)
            later += _resumable(way, point, _usable(again, point.batches, total))
        resumed = train(way, folder / f"resumed-{number}", seed=number, checkpoint=point.path, plain=plain)
        later += _resumable(way, point, _usable(resumed, point.batches, total))
        yield point, differences(whole, resumed)


def _usable(run: Run, low: int, high: int) -> list[Kept]:
    """Checkpoints of whole steps after which something is left to train; one of those that tell the same place."""
    found = {(kept.batches, kept.stage): kept for kept in run.kept if kept.whole and low < kept.batches < high}
    return list(found.values())


def _resumable(way: Way, start: Kept, written: list[Kept]) -> list[Kept]:
    """Leave out what Lightning does not resume: it counts one epoch too few in a run that began at such a place."""
    at_the_end = start.stage == "batch" and start.batches % way.epoch_batches == 0
    return [] if at_the_end else written


def _spread(points: list[Kept], number: int, numbers: random.Random) -> list[Kept]:
    if len(points) <= number:
        return points
    between = sorted(numbers.sample(range(1, len(points) - 1), number - 2))
    return [points[k] for k in (0, len(points) - 1, *between)]


def _places(way: Way, whole: Run) -> list[int]:
    """Numbers of batches after which the error of a way can strike with no step half done and something left."""
    total, length = len(whole.steps), way.epoch_batches
    ends = {"batch end": range(1, total), "validation": whole.validated, "epoch end": range(length, total, length)}
    possible = {place for place in ends[way.error_at] if place < total}
    return sorted(place for place in possible if place % length % way.accumulate == 0 or place % length == 0)


def _chosen(way: Way, places: list[int], numbers: random.Random) -> list[int]:
    """The first in the middle of an epoch where there is one, so that a run that goes on from it can be resumed too."""
    first = numbers.choice([place for place in places if place % way.epoch_batches] or places)
    others = [place for place in places if place != first]
    return [first, *numbers.sample(others, min(len(others), RESUMES - 1))]


def main() -> None:
    """Tell the ways of one or many seeds, and what was not exact in them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, nargs="+", required=True)
    parser.add_argument("--control", action="store_true", help="Lightning alone, without the curriculum")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "curricula"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for seed in options.seed:
        way = make_way(seed)
        print(way)  # noqa: T201
        with tempfile.TemporaryDirectory() as folder:
            for point, found in resumes(way, Path(folder), plain=options.control):
                place = f"after {point.batches} batches ({point.stage})"
                print(f"  {place}: {'; '.join(found) if found else 'exact'}")  # noqa: T201


if __name__ == "__main__":
    main()
