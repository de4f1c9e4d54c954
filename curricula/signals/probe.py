"""The probe: the module's own loss once more, without a trace."""

from __future__ import annotations

import copy
import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from curricula.signals.random_state import RandomState

_OWN_KEYS = frozenset(vars(nn.Module())) - {"training"}
_CONTAINERS = (list, dict, set, deque)
_WALKED = (*_CONTAINERS, tuple)
_MANY = 1000
"""Items above which a container's own containers are left alone (a replay buffer)."""
_OWN_LOSS = (
    "The signal runs it a second time, without gradients, to see what the step taught: define "
    "`curriculum_loss(self, batch, batch_idx)` in the module, which returns the loss and changes nothing, "
    "or use a signal of the gradients such as GradientPredictionGain()"
)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Probe:
    """Runs ``curriculum_loss``, or else ``training_step``, so that nothing can tell that it ran.

    For the time of the probe: no gradients; ``log`` and ``log_dict`` do nothing; afterwards buffers, metric states,
    the modules' own attributes and containers, and the random streams are as they were.

    Args:
        module: a LightningModule.
        context: makes the precision context (autocast) in which the training step runs.
    """

    def __init__(self, module: nn.Module, context: Callable[[], AbstractContextManager[Any]]) -> None:
        self._module = module
        self._context = context
        custom = getattr(module, "curriculum_loss", None)
        self.is_custom = custom is not None
        """Whether the module defines ``curriculum_loss(batch, batch_idx)``."""
        self._name = "curriculum_loss" if self.is_custom else "training_step"
        self._parameters = list(module.parameters())
        takes = inspect.signature(getattr(module, self._name)).parameters
        kinds = [parameter.kind for parameter in takes.values()]
        self._batch_idx_by_name = "batch_idx" in takes
        self._takes_batch_idx = (
            inspect.Parameter.VAR_POSITIONAL in kinds or sum(kind in _POSITIONAL for kind in kinds) > 1
        )

    def loss(self, batch: Any, batch_idx: int, random_state: RandomState | None) -> Tensor:
        """Return the loss of ``batch`` at the present parameters, shape ``()``.

        Args:
            batch: on the module's device.
            batch_idx: given to the step as it was in training.
            random_state: the random numbers to use; ``None``: those of the present moment.

        Raises:
            RuntimeError: if the step returns no loss, differentiates by itself, or writes to parameters.
        """
        function = getattr(self._module, self._name)
        arguments: dict[str, Any] = {}
        positional = [same_batch(batch)]
        if self._batch_idx_by_name:
            arguments["batch_idx"] = batch_idx
        elif self._takes_batch_idx:
            positional.append(batch_idx)
        versions = sum(parameter._version for parameter in self._parameters)
        with untouched(self._module), torch.no_grad(), self._context():
            if random_state is not None:
                random_state.restore()
            try:
                output = function(*positional, **arguments)
            except RuntimeError as error:
                if "require grad" in str(error):
                    raise RuntimeError(f"`{self._name}` differentiates by itself ({error}). {_OWN_LOSS}") from error
                raise
        shard_again(self._module)
        if sum(parameter._version for parameter in self._parameters) != versions:
            raise RuntimeError(f"`{self._name}` writes to parameters (a moving average, say). {_OWN_LOSS}")
        return as_loss(output, self._name)


def shard_again(module: nn.Module) -> None:
    """Let go of the whole parameters that a forward pass under FSDP2 leaves behind where no backward pass follows.

    The next forward pass would take them for the parameters, although the optimiser has changed the shards.
    """
    for part in module.modules():
        reshard = getattr(part, "reshard", None)
        if callable(reshard) and callable(getattr(part, "unshard", None)):
            reshard()


def same_batch(batch: Any) -> Any:
    """Return the batch in containers of its own, so that a training step may take things out of it."""
    parts = batch.values() if type(batch) is dict else batch
    if type(batch) in (dict, list, tuple) and all(type(part) is Tensor for part in parts):
        return batch if type(batch) is tuple else copy.copy(batch)  # by far the most common, and quick
    return tree_map(lambda part: part, batch)


def as_loss(output: Any, name: str) -> Tensor:
    """Return the loss in what a training step returned, detached, shape ``()``.

    Raises:
        RuntimeError: if there is none.
    """
    loss = output.get("loss") if isinstance(output, (dict, Mapping)) else output  # dict first: it is quicker to tell
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise RuntimeError(
            f"`{name}` returned no loss (a tensor of one number, or a dict with the key 'loss') but {_brief(output)}: "
            "return the loss, or define `curriculum_loss(self, batch, batch_idx)` in the module that returns it"
        )
    if loss.requires_grad:
        loss = loss.detach()
    return loss if loss.ndim == 0 else loss.reshape(())


def _brief(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"a dict with the keys {sorted(map(str, output))}"
    return f"{output!r}"[:80]


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Put everything that a forward pass may change in ``module`` back afterwards, and silence its logging meanwhile.

    Restored: the global random streams; buffers; the state of torchmetrics metrics; all other attributes of all
    submodules, and the contents of those that are plain containers, also of containers in containers. Not restored:
    arrays and tensors in containers that are written in place, and what is reached through other objects,
    such as a logger's own API called inside the training step.
    """
    device = getattr(module, "device", None) or torch.device("cpu")
    before = RandomState(device)
    snapshots = [_Snapshot(part) for part in module.modules()]
    try:
        for snapshot in snapshots:
            snapshot.silence()
        yield
    finally:
        for snapshot in snapshots:
            snapshot.restore()
        before.restore()


class _Snapshot:
    """The attributes of one module."""

    __slots__ = ("_attributes", "_buffers", "_contents", "_module", "_tensors")

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        state = vars(module)
        self._attributes = {key: value for key, value in state.items() if key not in _OWN_KEYS}
        self._buffers = dict(module._buffers)
        self._contents = [(value, copy.copy(value)) for value in _containers(self._attributes.values())]
        # The kernels of BatchNorm change running statistics without raising a tensor's version: buffers always go back.
        buffers = [value for value in self._buffers.values() if value is not None]
        # A torchmetrics metric keeps its state in plain attributes and adds to them in place.
        tensors = [value for value in self._attributes.values() if isinstance(value, Tensor)]
        self._tensors = [(tensor, tensor.detach().clone(), -1) for tensor in buffers]
        self._tensors += [(tensor, tensor.detach().clone(), _version(tensor)) for tensor in tensors]

    def silence(self) -> None:
        # Both names: a plain nn.Module may well have a `log` that is a function of mathematics.
        if all(callable(getattr(self._module, name, None)) for name in ("log", "log_dict")):
            vars(self._module).update(log=_no_log, log_dict=_no_log)

    def restore(self) -> None:
        state = vars(self._module)
        for key in [key for key in state if key not in _OWN_KEYS and key not in self._attributes]:
            del state[key]
        state.update(self._attributes)
        self._module._buffers.clear()
        self._module._buffers.update(self._buffers)
        for container, contents in self._contents:
            _refill(container, contents)
        for tensor, values, version in self._tensors:
            if version < 0 or tensor._version != version:
                with torch.inference_mode(tensor.is_inference()), torch.no_grad():
                    tensor.copy_(values)


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version  # kept from a validation, say; it counts no versions


def _containers(values: Iterable[Any]) -> list[Any]:
    found: dict[int, Any] = {}
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, _WALKED) and id(value) not in found:
            found[id(value)] = value
            if len(value) <= _MANY:
                waiting.extend(value.values() if isinstance(value, dict) else value)
    return [value for value in found.values() if not isinstance(value, tuple)]


def _no_log(*args: Any, **kwargs: Any) -> None:
    """Stand in for ``log`` and ``log_dict`` while a probe runs."""


def _refill(container: Any, contents: Any) -> None:
    container.clear()
    if isinstance(container, (dict, set)):
        container.update(contents)
    else:
        container.extend(contents)
