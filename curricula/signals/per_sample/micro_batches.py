"""What several micro-batches noted, put together: of one parameter, and in the units of the samples' own losses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from curricula.signals.per_sample.terms import Terms, joined
from curricula.signals.per_sample.uses import MicroBatch


def check_changes(changes: Mapping[str, Tensor], covered: Sequence[str], parameters: Mapping[str, Tensor]) -> None:
    """Check changes of parameters.

    Args:
        changes: by name.
        covered: names that must be there.
        parameters: all of them.

    Raises:
        ValueError: if one is missing, unknown or of another shape.
    """
    unknown, missing = sorted(set(changes) - set(parameters)), sorted(set(covered) - set(changes))
    if unknown:
        raise ValueError(f"changes has {unknown}, which are no parameters: take names of named_parameters()")
    if missing:
        raise ValueError(f"changes lacks {missing}: give the changes of all covered parameters, zeros where none")
    for name, change in changes.items():
        shape = tuple(parameters[name].shape)
        if tuple(change.shape) != shape:
            raise ValueError(f"the change of {name!r} has shape {tuple(change.shape)}, not {shape}")


def terms_of(batches: Sequence[MicroBatch], name: str, slots: int | None) -> list[Terms]:
    """Return the gradients of a parameter with respect to the samples, or slots, of all micro-batches, in factors.

    Args:
        batches: in order.
        name: of the parameter.
        slots: of each micro-batch, ``None`` for samples.
    """
    noted = [
        [use.terms(attribute) for use in batch.uses for attribute, (own, _) in use.parameters.items() if own == name]
        for batch in batches
    ]
    if slots is None:
        return joined(noted, [batch.batch_size for batch in batches])
    return joined([[part.pooled(slots) for part in parts] for parts in noted], [slots] * len(batches))


def factors_of(batches: Sequence[MicroBatch], slots: int | None, parameters: Collection[Tensor]) -> Tensor:
    """Return what leads from each sample's part of the gradient to the gradient of its own loss.

    Args:
        batches: in order.
        slots: of each micro-batch, ``None`` for samples.
        parameters: of the module, which decide on device and precision.

    Returns:
        One number for every sample or slot.

    Raises:
        ValueError: if ``slots`` does not divide a batch size.
    """
    dtype = torch.float32
    for parameter in parameters:
        dtype = torch.promote_types(dtype, parameter.dtype)
    device = next((parameter.device for parameter in parameters), torch.device("cpu"))
    factors = []
    for batch in batches:
        if slots is not None and (slots < 1 or batch.batch_size % slots):
            raise ValueError(f"slots is {slots}: give a divisor of the batch size, {batch.batch_size}")
        ones = torch.ones(slots or batch.batch_size, dtype=dtype, device=device)
        factors.append(ones * (batch.batch_size / batch.loss_scale))
    return torch.cat(factors)
