"""All that a forward pass may change, at one moment."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from curricula.batches import attributes_of, set_attributes
from curricula.generators import generator_state, set_generator_state
from curricula.signals.lazy_layers import LazyLayers
from curricula.signals.random_state import RandomState
from curricula.signals.reach import ATOMS, MANY, Kind, Unread, held_by, kind_of
from curricula.signals.values import KeptTensors, place_of

if TYPE_CHECKING:
    from curricula.signals.surroundings import Surroundings

_OWN_KEYS = frozenset(vars(nn.Module())) - {"training"}


class Moment:
    """The state of a module and what belongs to it at one moment, but for the parameters in training.

    Kept, and put back in place by :meth:`restore`: the global random streams; buffers; parameters that are not
    trained; the attributes of all modules, also of those hidden in lists and helper objects; the contents of
    containers; tensors and arrays in any of these; the attributes of helper objects of the user's own classes;
    generators of random numbers; options of optimisers, attributes of schedulers, the trainer's count of steps.

    Not kept: tensors, arrays and containers within a container of more than 1,000 items; objects of other libraries;
    iterators, which cannot be wound back.

    Args:
        around: the module and its trainer.
        also: a moment whose objects are kept too, those that are no longer reached from the module included.
        to_run: the moment is one to run a step from: no iterator may be read then.
    """

    __slots__ = (
        "_around",
        "_arrays",
        "_containers",
        "_generators",
        "_helpers",
        "_modules",
        "_numbers",
        "_options",
        "_seen",
        "_steps",
        "_tensors",
        "_to_run",
        "lazy",
        "parameters",
        "trained",
        "watched",
    )

    def __init__(self, around: Surroundings, *, also: Moment | None = None, to_run: bool = False) -> None:
        self._around = around
        self._to_run = to_run
        self._numbers = RandomState(around.device)
        self._steps = around.completed_steps()
        self._seen: dict[int, Any] = {}
        self._modules: list[tuple[nn.Module, dict[str, Any], dict[str, Any], dict[str, Any]]] = []
        self._helpers: list[tuple[Any, dict[str, Any]]] = []
        self._containers: list[tuple[Any, Any]] = []
        self._arrays: list[tuple[Any, Any]] = []
        self._generators: list[tuple[Any, Any]] = []
        self._options: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._tensors = KeptTensors()
        self.lazy = LazyLayers(around.device)
        self.trained: list[Tensor] = []
        """The parameters in training, which are never put back."""
        self.parameters: list[Tensor] = self.trained
        """All that a backward pass within the step would give gradients to."""
        self.watched: list[tuple[Tensor, int, int]] = []
        """Parameters too many to be copied, with their versions and places in memory."""
        self._fill(also)

    # ---------------------------------------------------------------- capture

    def _fill(self, also: Moment | None) -> None:
        around, seen = self._around, self._seen
        trained = around.trained()
        frozen: list[Tensor] = []
        waiting: list[Any] = [] if also is None else list(also._seen.values())
        waiting.append(around.module)
        for optimizer in around.optimizers:
            seen[id(optimizer)] = optimizer  # its state is that of the training
            for group in optimizer.param_groups:
                self._add_options(group, waiting)
        waiting.extend(around.schedulers)
        while waiting:
            value = waiting.pop()
            if id(value) in seen:
                continue
            seen[id(value)] = value
            kind = kind_of(value)
            if kind is Kind.MODULE:
                self._add_module(value, waiting)
            elif kind is Kind.TENSOR:
                if value in trained:
                    self.trained.append(value)
                elif trained.shares_memory_with(value):
                    pass  # another view of a trained parameter
                elif isinstance(value, nn.Parameter):
                    frozen.append(value)
                else:
                    self._tensors.add(value)
            elif kind is Kind.CONTAINER:
                self._add_container(value, waiting)
            elif kind is Kind.TUPLE:
                waiting.extend(part for part in value if type(part) not in ATOMS)
            elif kind is Kind.HELPER:
                attributes = dict(attributes_of(value))
                self._helpers.append((value, self._followed(attributes, waiting)))
            elif kind is Kind.CALLABLE:
                waiting.extend(held_by(value))
            elif kind is Kind.ARRAY:
                self._arrays.append((value, value.copy()))
            elif kind is Kind.GENERATOR:
                self._generators.append((value, generator_state(value)))
        if frozen:
            self._add_frozen(frozen)

    def _add_module(self, module: nn.Module, waiting: list[Any]) -> None:
        parameters, buffers, parts = module._parameters, module._buffers, module._modules
        if parameters:
            waiting.extend(module.parameters(recurse=False))
        if buffers:
            waiting.extend(module.buffers(recurse=False))
        if parts:
            waiting.extend(module.children())
        if self._to_run and self.lazy.add(module):
            return  # its attributes say that it has no shape; it has one by the time that the step is run again
        attributes = {key: value for key, value in vars(module).items() if key not in _OWN_KEYS}
        attributes = self._followed(attributes, waiting)
        if isinstance(buffers, dict):  # compiled by TorchScript, it is none
            self._modules.append((module, attributes, dict(buffers), dict(parts)))

    def _followed(self, attributes: dict[str, Any], waiting: list[Any]) -> dict[str, Any]:
        for name, value in attributes.items():
            if type(value) not in ATOMS:
                if self._to_run and kind_of(value) is Kind.ITERATOR:
                    attributes[name] = Unread(value)
                else:
                    waiting.append(value)
        return attributes

    def _add_container(self, container: Any, waiting: list[Any]) -> None:
        contents = copy.copy(container)
        self._containers.append((container, contents))
        if len(container) > MANY:
            return
        parts = [part for part in _parts(container) if type(part) not in ATOMS]
        waiting.extend(parts)
        if self._to_run and any(kind_of(part) is Kind.ITERATOR for part in parts) and not isinstance(contents, set):
            for key, part in list(contents.items() if isinstance(contents, dict) else enumerate(contents)):
                if kind_of(part) is Kind.ITERATOR:
                    contents[key] = Unread(part)

    def _add_options(self, group: dict[str, Any], waiting: list[Any]) -> None:
        options = {name: value for name, value in group.items() if name != "params"}
        waiting.extend(value for value in options.values() if type(value) not in ATOMS)
        self._options.append((group, options))

    def _add_frozen(self, frozen: list[Tensor]) -> None:
        self.parameters = [*self.trained, *(parameter for parameter in frozen if parameter.requires_grad)]
        if sum(map(_bytes, frozen)) <= max(2 * sum(map(_bytes, self.trained)), _FEW_BYTES):
            for parameter in frozen:
                self._tensors.add(parameter)
        else:
            self.watched = [(parameter, parameter._version, place_of(parameter)) for parameter in frozen]

    # ---------------------------------------------------------------- put back

    def restore(self) -> None:
        """Put everything back in place."""
        for module, attributes, buffers, parts in self._modules:
            state = vars(module)
            for key in state.keys() - attributes.keys() - _OWN_KEYS:
                del state[key]
            state.update(attributes)
            _refill(module._buffers, buffers)
            _refill(module._modules, parts)
        for helper, attributes in self._helpers:
            _set_attributes(helper, attributes)
        for container, contents in self._containers:
            container.clear()
            if isinstance(container, (dict, set)):
                container.update(contents)
            else:
                container.extend(contents)
        for group, options in self._options:
            for name in group.keys() - options.keys() - {"params"}:
                del group[name]
            group.update(options)
        for array, values in self._arrays:
            if array.flags.writeable:
                array[...] = values
        for generator, state in self._generators:
            set_generator_state(generator, state)
        self._tensors.restore()
        self._around.set_completed_steps(self._steps)
        self._numbers.restore()

    def silence(self) -> None:
        """Let the modules log nothing, until this moment is restored."""
        for module, *_ in self._modules:
            # Both names: a plain nn.Module may well have a `log` that is a function of mathematics.
            if callable(getattr(module, "log", None)) and callable(getattr(module, "log_dict", None)):
                vars(module).update(log=_no_log, log_dict=_no_log)

    def restore_versions(self) -> None:
        """Set the versions of tensors back, once their values are those of this moment again."""
        self._tensors.restore_versions()

    def is_watched_alike(self) -> bool:
        """Tell whether no parameter that was too large to be copied has been written to."""
        return all(
            parameter._version == version and place_of(parameter) == place for parameter, version, place in self.watched
        )


_FEW_BYTES = 64 * 2**20


def _parts(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _no_log(*args: Any, **kwargs: Any) -> None:
    """Take the place of ``log`` and ``log_dict``."""


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _refill(found: dict[str, Any], kept: dict[str, Any]) -> None:
    if found or kept:
        found.clear()
        found.update(kept)


def _set_attributes(helper: Any, attributes: dict[str, Any]) -> None:
    for name, _ in attributes_of(helper):
        if name not in attributes:
            object.__delattr__(helper, name)
    set_attributes(helper, attributes)
