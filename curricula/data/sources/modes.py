"""The modes of autograd that a task's code runs in: its own while it runs, and the training's at all other times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch

Result = TypeVar("Result")

_AUTOCAST_DEVICES = tuple(device for device in ("cpu", "cuda", "xpu") if torch.amp.is_autocast_available(device))

_entered: list[Any] = []
"""Contexts that nobody is to leave any more. One that is collected would switch the mode back at any moment."""


def grad_modes() -> tuple[bool, bool]:
    """Return whether gradients are recorded, and whether inference mode is on. Takes a tenth of a microsecond."""
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled()


def restore_grad_modes(before: tuple[bool, bool]) -> None:
    """Switch to what :func:`grad_modes` returned."""
    if grad_modes() == before:
        return
    grad, inference = before
    if torch.is_inference_mode_enabled() != inference:
        _enter_inference_mode(inference)
    torch.set_grad_enabled(grad)


def _enter_inference_mode(mode: bool) -> Any:
    context = torch.inference_mode(mode)
    context.__enter__()
    _entered.append(context)
    return context


class _Modes(NamedTuple):
    grad: tuple[bool, bool]
    autocast: tuple[Any, ...]
    nesting: int


def _modes() -> _Modes:
    devices = [
        torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None for device in _AUTOCAST_DEVICES
    ]
    torch.autocast_increment_nesting()
    nesting = torch.autocast_decrement_nesting()
    return _Modes(grad_modes(), (torch.is_autocast_cache_enabled(), *devices), nesting)


def _switch(now: _Modes, then: _Modes) -> None:
    torch.set_grad_enabled(then.grad[0])
    if now.autocast == then.autocast and now.nesting == then.nesting:
        return
    cache, *devices = then.autocast
    torch.set_autocast_cache_enabled(cache)
    for device, dtype in zip(_AUTOCAST_DEVICES, devices, strict=True):
        torch.set_autocast_enabled(device, dtype is not None)
        if dtype is not None:
            torch.set_autocast_dtype(device, dtype)
    # The outermost autocast empties the cache of weights when it ends. One that a task has left open inside its
    # iterator would count as the outermost, and the training would go on with the weights of earlier steps.
    for _ in range(now.nesting, then.nesting):
        torch.autocast_increment_nesting()
    for _ in range(then.nesting, now.nesting):
        torch.autocast_decrement_nesting()
    torch.clear_autocast_cache()


class OwnModes:
    """Runs the steps of an iterator, which may stop inside ``no_grad()``, ``inference_mode()`` or ``autocast()``.

    The caller finds the modes that it had, and the iterator those that it left.

    Example:
        >>> def batches():
        ...     with torch.no_grad():
        ...         while True:
        ...             yield torch.is_grad_enabled()
        >>> iterator, modes = batches(), OwnModes()
        >>> [modes.run(lambda: next(iterator)) for _ in range(2)], torch.is_grad_enabled()
        ([False, False], True)
    """

    def __init__(self) -> None:
        self._inside: _Modes | None = None
        self._context: Any = None

    def run(self, function: Callable[[], Result]) -> Result:
        """Call a function that goes on with the iterator, makes it or lets go of it."""
        outside = _modes()
        if self._inside is not None:
            self._go_inside(outside)
        try:
            return function()
        finally:
            self._go_outside(outside)

    def _go_inside(self, outside: _Modes) -> None:
        assert self._inside is not None
        if self._context is not None:
            _entered.remove(self._context)
            self._context.__exit__(None, None, None)
            self._context = None
        _switch(outside, self._inside)

    def _go_outside(self, outside: _Modes) -> None:
        inside = _modes()
        self._inside = None if inside == outside else inside
        if inside == outside:
            return
        if inside.grad[1] != outside.grad[1]:
            self._context = _enter_inference_mode(outside.grad[1])
        _switch(inside, outside)
