"""CurriculumDataModule: the loader as a LightningDataModule, made from tasks or from an existing datamodule."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from curricula.data.loader import CurriculumLoader
from curricula.data.options import Collate
from curricula.data.sources.loaders import batches_of
from curricula.data.tasks import Grid, Task, check_tasks, is_map_style


class _Existing(Protocol):
    def train_dataloader(self) -> Any: ...


Module = TypeVar("Module", bound=_Existing)


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
        collate_fn: Collate | None = None,
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
            # Lightning takes it for not overridden; unlike a bound method it survives pickling.
            vars(self)["val_dataloader"] = partial(pl.LightningDataModule.val_dataloader, self)
        else:
            check_tasks(val_tasks)

    @staticmethod
    def from_datamodule(datamodule: Module, **loader_options: Any) -> Module:
        """Return a copy of a datamodule whose dict of training loaders is served as one curriculum.

        All else, validation loaders and hooks included, stays as the datamodule has it. Datamodules of
        ``lightning.pytorch`` are welcome.

        Args:
            datamodule: its ``train_dataloader()`` returns a dict from task name to loader or dataset.
            **loader_options: options of :class:`CurriculumLoader`, such as ``steps_per_epoch``.

        Raises:
            TypeError: if it has no ``train_dataloader()``, or an option is unknown; when training starts, if that
                returns no dict.

        Example:
            >>> import torch
            >>> class Existing(pl.LightningDataModule):
            ...     def train_dataloader(self):
            ...         return {name: DataLoader(torch.zeros(8, 1), batch_size=4) for name in ("a", "b")}
            >>> datamodule = CurriculumDataModule.from_datamodule(Existing(), steps_per_epoch=10)
            >>> len(datamodule.train_dataloader())
            10
        """
        if isinstance(datamodule, type) or not callable(getattr(datamodule, "train_dataloader", None)):
            raise TypeError(f"from_datamodule takes an instance of a LightningDataModule, got {datamodule!r}")
        known = [name for name in inspect.signature(CurriculumLoader).parameters if name != "tasks"]
        unknown = [name for name in loader_options if name not in known]
        if unknown:
            raise TypeError(f"CurriculumLoader has no options {unknown}: it has {known}")
        adopted = copy.copy(datamodule)
        vars(adopted)["train_dataloader"] = partial(_serve, adopted, loader_options)
        return adopted

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
            return batches_of(task, self.batch_size, drop_last=False, collate_fn=self._collate_fn)
        data: Any = task
        return DataLoader(data, batch_size=self.batch_size, num_workers=self._num_workers, collate_fn=self._collate_fn)


def _serve(datamodule: Any, loader_options: dict[str, Any]) -> CurriculumLoader:
    loaders = type(datamodule).train_dataloader(datamodule)  # the class's: the instance has this function
    if not isinstance(loaders, Mapping):
        raise TypeError(
            f"{type(datamodule).__name__}.train_dataloader() must return a dict {{task name: loader}} to be made a "
            f"curriculum, got {type(loaders).__name__}"
        )
    return CurriculumLoader(loaders, **loader_options)
