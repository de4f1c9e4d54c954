"""CurriculumDataModule: the loader as a LightningDataModule, made from tasks or from an existing datamodule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from curricula.data.loader import CurriculumLoader
from curricula.data.tasks import Grid, Task, check_tasks, is_map_style


class CurriculumDataModule(pl.LightningDataModule):
    """A datamodule whose training loader is a :class:`CurriculumLoader`.

    For trainers of ``lightning.pytorch``, which accept no datamodule of ``pytorch_lightning``, return a
    ``CurriculumLoader`` from your own datamodule instead.

    Args:
        tasks: name to training task, as for :class:`CurriculumLoader`.
        val_tasks: name to validation task: a dataset, or a ready loader. Lightning's ``dataloader_idx`` counts them in
            this order.
        batch_size: samples per batch and rank, also of the validation loaders.
        **loader_options: the other options of :class:`CurriculumLoader`, checked when it is made.

    Raises:
        TypeError: if an option is unknown to :class:`CurriculumLoader`.
        ValueError: as :class:`CurriculumLoader`.

    Example:
        >>> import torch
        >>> from torch.utils.data import TensorDataset
        >>> data = TensorDataset(torch.zeros(8, 1))
        >>> datamodule = CurriculumDataModule({"a": data, "b": data}, val_tasks={"a": data}, batch_size=4)
        >>> len(datamodule.train_dataloader()), len(datamodule.val_dataloader()["a"])
        (4, 2)
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        val_tasks: Mapping[str, Task] | None = None,
        *,
        batch_size: int = 1,
        steps_per_epoch: int | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        grid: Grid | None = None,
        seed: int = 0,
        **loader_options: Any,
    ) -> None:
        super().__init__()
        self.tasks = tasks
        self.val_tasks = val_tasks
        self.batch_size = batch_size
        self._num_workers = num_workers
        self._collate_fn = collate_fn
        self._options = {"steps_per_epoch": steps_per_epoch, "grid": grid, "seed": seed, **loader_options}
        self.train_dataloader()  # whatever is wrong with the options is said now
        if val_tasks is None:
            self.val_dataloader = super().val_dataloader  # type: ignore[method-assign]
        else:
            check_tasks(val_tasks)

    @staticmethod
    def from_datamodule(datamodule: pl.LightningDataModule, **loader_options: Any) -> AdoptedDataModule:
        """Adopt a datamodule whose ``train_dataloader()`` returns a dict of loaders, one per task.

        All else, validation loaders and hooks included, stays the datamodule's own.

        Args:
            datamodule: an existing datamodule.
            **loader_options: options of :class:`CurriculumLoader`, such as ``steps_per_epoch``.

        Raises:
            TypeError: if it is no LightningDataModule; when training starts, if ``train_dataloader()`` returns no dict.
        """
        return AdoptedDataModule(datamodule, **loader_options)

    def train_dataloader(self) -> CurriculumLoader:
        """Return the training loader."""
        return CurriculumLoader(
            self.tasks,
            batch_size=self.batch_size,
            num_workers=self._num_workers,
            collate_fn=self._collate_fn,
            **self._options,
        )

    def val_dataloader(self) -> dict[str, Any]:
        """Return one loader per validation task."""
        return {name: self._val_loader(task) for name, task in (self.val_tasks or {}).items()}

    def _val_loader(self, task: Task) -> Any:
        if not is_map_style(task):
            return task
        return DataLoader(
            task, batch_size=self.batch_size, num_workers=self._num_workers, collate_fn=self._collate_fn
        )


class AdoptedDataModule(pl.LightningDataModule):
    """Another datamodule with its dict of training loaders served by a :class:`CurriculumLoader`."""

    def __init__(self, datamodule: pl.LightningDataModule, **loader_options: Any) -> None:
        if not isinstance(datamodule, pl.LightningDataModule):
            raise TypeError(f"from_datamodule takes a LightningDataModule, got {type(datamodule).__name__}")
        super().__init__()
        self.datamodule = datamodule
        self._options = loader_options

    def train_dataloader(self) -> CurriculumLoader:
        """Return the adopted loaders as one curriculum.

        Raises:
            TypeError: if the datamodule's ``train_dataloader()`` returns no dict.
        """
        loaders = self.datamodule.train_dataloader()
        if not isinstance(loaders, Mapping):
            raise TypeError(
                f"{type(self.datamodule).__name__}.train_dataloader() must return a dict {{task name: loader}} to be "
                f"made a curriculum, got {type(loaders).__name__}"
            )
        return CurriculumLoader(loaders, **self._options)
