"""Which parameters have per-sample gradients, and why the others have none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from curricula.signals.per_sample.layers import KINDS, LayerKind, kind_of

COMPILED = "is part of a compiled module, where no hook runs"


@dataclass(frozen=True)
class Coverage:
    """The trained parameters with per-sample gradients, and those without.

    Attributes:
        covered: names of parameters, as in ``named_parameters``.
        uncovered: name to reason.
        share: numbers in covered parameters, of those in all trained ones; in [0, 1], and 1 where nothing is trained.
    """

    covered: tuple[str, ...]
    uncovered: dict[str, str]
    share: float


@dataclass(frozen=True)
class CoveredLayer:
    """A layer of which per-sample gradients are known.

    Attributes:
        name: as in ``named_modules``.
        layer: the layer.
        kind: what it is.
        parameters: attribute to parameter and its name.
    """

    name: str
    layer: nn.Module
    kind: LayerKind
    parameters: dict[str, tuple[str, Tensor]]


@dataclass(frozen=True)
class Survey:
    """What can be told of a module before it is called.

    Attributes:
        layers: that can be covered.
        reasons: why the parameters of the others cannot.
        mixing: layers that may mix the samples of a batch, with their names.
        unseen: those of them that hooks do not see.
    """

    layers: list[CoveredLayer]
    reasons: dict[str, str]
    mixing: list[tuple[str, nn.Module]]
    unseen: list[tuple[str, nn.Module]]


def survey(module: nn.Module, exclude: Collection[str]) -> Survey:
    """Look at all layers of a module.

    Args:
        module: whose layers.
        exclude: names of modules that are left out with all that is in them.

    Raises:
        ValueError: if a name is unknown, or a layer has no shape yet.
    """
    modules = list(module.named_modules(remove_duplicate=False))
    unknown = sorted(set(exclude) - {name for name, _ in modules})
    if unknown:
        raise ValueError(f"exclude has {unknown}, which are no modules: take names of named_modules()")
    hidden: dict[int, str] = {}
    compiled: set[int] = set()
    for path, part in modules:
        reason = "is excluded" if path in exclude else _hides(part)
        if reason is not None:
            hidden |= {id(inner): reason for inner in part.modules() if id(inner) not in hidden}
        if reason == COMPILED:
            compiled |= {id(inner) for inner in part.modules()}
    layers, reasons = _layers(module, hidden)
    mixing: list[tuple[str, nn.Module]] = [
        (path, part) for path, part in module.named_modules() if isinstance(part, _BatchNorm)
    ]
    return Survey(layers, reasons, mixing, [(path, part) for path, part in mixing if id(part) in compiled])


def _layers(module: nn.Module, hidden: Mapping[int, str]) -> tuple[list[CoveredLayer], dict[str, str]]:
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    layers: list[CoveredLayer] = []
    reasons: dict[str, str] = {}
    layouts: dict[str, set[str]] = {}
    for path, layer in module.named_modules():
        kind = kind_of(layer)
        reason = hidden.get(id(layer)) or _reason(layer, kind)
        parameters = {}
        for attribute, parameter in layer._parameters.items():
            if parameter is None:
                continue
            if is_lazy(parameter):
                raise ValueError(f"layer {path!r} has no shape yet: run a batch through the module first")
            name = names[id(parameter)]
            why = reason or _parameter_reason(attribute, parameter, kind)
            if why is not None:
                reasons.setdefault(name, why)
            elif kind is not None:
                parameters[attribute] = (name, parameter)
                layouts.setdefault(name, set()).add(kind.layout(layer, attribute))
        if kind is not None and parameters:
            layers.append(CoveredLayer(path, layer, kind, parameters))
    for name, found in layouts.items():
        if len(found) > 1:
            reasons.setdefault(name, "is shared by layers of different kinds")
    return layers, reasons


def _hides(module: nn.Module) -> str | None:
    """Return why no hook sees what a module does with the layers in it."""
    if isinstance(module, nn.MultiheadAttention):
        return "nn.MultiheadAttention computes with its parameters itself, without calling a layer"
    compiled = hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
    return COMPILED if compiled or isinstance(module, torch.jit.ScriptModule) else None


def _reason(layer: nn.Module, kind: LayerKind | None) -> str | None:
    if kind is None:
        known = ", ".join(cls.__name__ for kind in KINDS for cls in kind.classes)
        return f"{type(layer).__name__} is none of the covered layers ({known})"
    if kind.overrides(layer):
        return f"{type(layer).__name__} has a forward of its own"
    refusal = kind.refusal(layer)
    return None if refusal is None else f"{type(layer).__name__} {refusal}"


def _parameter_reason(attribute: str, parameter: Tensor, kind: LayerKind | None) -> str | None:
    if kind is not None and attribute not in kind.attributes:
        return "the weight is computed from it (a parametrization)"
    if hasattr(parameter, "placements"):
        return "is sharded over processes"
    if parameter.is_complex():
        return "is complex"
    return None
