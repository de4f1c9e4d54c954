"""Layers that get their shape, and draw their weights, in the first step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from curricula.signals.random_state import RandomState


class LazyLayers:
    """Where the random streams were when lazy layers had drawn their weights.

    A step that is run again draws no weights, and goes on with the random numbers that came after them.
    """

    __slots__ = ("_after", "_device")

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._after: list[tuple[nn.Module, list[RandomState]]] | None = None

    def add(self, module: nn.Module) -> bool:
        """Follow a module, if it is one that has no shape yet; tell whether it is."""
        if not isinstance(module, LazyModuleMixin) or not module.has_uninitialized_params():
            return False
        states: list[RandomState] = []
        handle: Any = module.register_forward_pre_hook(lambda *_: self._remember(states, handle))
        self._after = self._after or []
        self._after.append((module, states))
        return True

    def _remember(self, states: list[RandomState], handle: Any) -> None:
        states.append(RandomState(self._device))
        handle.remove()

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Let the random streams go on, at each of the layers, from where they were in the step itself."""
        handles: list[Any] = []
        for module, states in self._after or ():
            if states:
                handles.append(module.register_forward_pre_hook(partial(_go_on, list(states))))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _go_on(states: list[RandomState], *_: Any) -> None:
    if states:
        states.pop().restore()
