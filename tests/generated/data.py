"""The tasks, loaders and datamodules of a way to train."""

from __future__ import annotations

import importlib
from functools import cache, partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from curricula import CurriculumDataModule, CurriculumLoader
from tests.generated.ways import SIZES, Way

WIDTH = 4


class Augmented(Dataset):
    """Samples with noise from torch's global stream, anew at every reading."""

    def __init__(self, samples: TensorDataset):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        inputs, targets = self.samples[index]
        return inputs + 0.1 * torch.randn(WIDTH), targets


class Stream(IterableDataset):
    """The samples one after the other; an endless one goes on with new ones."""

    def __init__(self, samples: TensorDataset, seed: int, endless: bool):
        self.samples = samples
        self.seed = seed
        self.endless = endless

    def __iter__(self):
        yield from self.samples
        numbers = torch.Generator().manual_seed(self.seed)
        while self.endless:
            yield torch.randn(WIDTH, generator=numbers), torch.randn(1, generator=numbers)


def regressions(seed: int = 0) -> dict[str, TensorDataset]:
    """Random regressions of the sizes that the ways count with; the noise differs between tasks."""
    numbers = torch.Generator().manual_seed(seed)
    return {
        name: TensorDataset(
            torch.randn(size, WIDTH, generator=numbers), scale * torch.randn(size, 1, generator=numbers)
        )
        for scale, (name, size) in enumerate(zip("abcd", SIZES, strict=True))
    }


def make_tasks(way: Way, seed: int = 0) -> dict[str, Any]:
    """Return the tasks of a way; with another seed, other ones of the same kinds."""
    samples = regressions(seed)
    if way.data == "augmented":
        return {name: Augmented(task) for name, task in samples.items()}
    if way.data in ("streams", "endless"):
        return {
            name: Stream(task, number + seed, way.data == "endless")
            for number, (name, task) in enumerate(samples.items())
        }
    if way.data == "loaders":
        return {name: _ready(way, task, way.workers if name == "c" else "none") for name, task in samples.items()}
    if way.data == "mixed":
        streams = {"b": Stream(samples["b"], seed, False), "d": Stream(samples["d"], seed, True)}
        return {**samples, **streams, "c": _ready(way, samples["c"], "none")}
    return dict(samples)


def _ready(way: Way, task: TensorDataset, workers: str) -> DataLoader:
    return DataLoader(
        task,
        batch_size=way.batch_size,
        shuffle=way.shuffle,
        num_workers=int(workers != "none"),
        persistent_workers=workers == "persistent",
    )


def _options(way: Way) -> dict[str, Any]:
    options: dict[str, Any] = {
        "batch_size": way.batch_size,
        "steps_per_epoch": way.steps_per_epoch,
        "shuffle": way.shuffle,
        "seed": 3,
    }
    if way.workers != "none" and way.data != "loaders":
        options.update(num_workers=2, persistent_workers=way.workers == "persistent")
    if way.data in ("streams", "endless", "mixed"):
        options["probe_tasks"] = make_tasks(way, seed=1)
    return options


def make_loader(way: Way) -> CurriculumLoader:
    """Return the training loader."""
    return CurriculumLoader(make_tasks(way), **_options(way))


def validation_loader() -> DataLoader:
    """Return two batches to validate on.

    A ``DataLoader`` without a generator takes a seed from torch's global stream whenever it is iterated. Lightning does
    not make up for a validation that was still to come when a checkpoint was written after the last batch of an epoch,
    so that a resumed run would have other random numbers, whatever the loader that it trains on.
    """
    return DataLoader(regressions()["a"], batch_size=8, generator=torch.Generator())


@cache
def _datamodule(package: str) -> type[Any]:
    lightning = importlib.import_module(package)

    class Own(lightning.LightningDataModule):
        """A datamodule that makes a loader of ours whenever it is asked for one."""

        def __init__(self, serve):
            super().__init__()
            self.serve = serve

        def train_dataloader(self):
            return self.serve()

        def val_dataloader(self):
            return validation_loader()

    return Own


def make_datamodule(way: Way) -> Any:
    """Return the datamodule that serves the loader, or ``None`` where another does."""
    own = _datamodule(way.package)
    if way.given_by == "own datamodule":
        return own(partial(make_loader, way))
    if way.given_by == "adopted datamodule":
        return CurriculumDataModule.from_datamodule(own(partial(make_tasks, way)), **_options(way))
    if way.given_by == "our datamodule":
        return CurriculumDataModule(make_tasks(way), {"a": validation_loader()}, **_options(way))
    return None
