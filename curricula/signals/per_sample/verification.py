"""Whether the per-sample gradients of a parameter add up to the gradient that the backward pass gave it."""

from __future__ import annotations

import torch
from torch import Tensor

from curricula.signals.per_sample.uses import MicroBatch

MISMATCH = (
    "its gradient is not the sum over the calls of its layer: it is used in another way as well (in a function, in a "
    "compiled part, by a hook)"
)
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-2}
_HALF = 5e-2


def verified(batch: MicroBatch) -> dict[str, bool]:
    r"""Compare the sum of the samples' parts of the gradient with the gradient :math:`g` itself, along :math:`g`.

    For each parameter :math:`\sum_i \langle g_i, g \rangle` must be :math:`\lVert g \rVert^2`. Where the samples'
    parts cancel one another, rounding decides, and another batch has to.

    Args:
        batch: of which the backward pass has been, with the gradients that are to be verified.

    Returns:
        For the parameters of which it can be told, whether they agree.
    """
    names = list(batch.gradients)
    if not names:
        return {}
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    tolerance = {name: _TOLERANCE.get(gradient.dtype, _HALF) for name, gradient in batch.gradients.items()}
    for use in batch.uses:
        for attribute, (name, _) in use.parameters.items():
            if name in parts:
                change = {attribute: _dense(batch.gradients[name])}
                parts[name].append(use.inner_products(change))
                tolerance[name] = max(tolerance[name], _TOLERANCE.get(use.dtype, _HALF))
    rows = []
    for name in names:
        gradient = _dense(batch.gradients[name])
        samples = sum(parts[name], start=torch.zeros((), device=gradient.device)).double()
        rows.append(torch.stack([samples.sum(), samples.abs().sum(), gradient.double().square().sum()]))
    result = {}
    for name, (total, spread, norm) in zip(names, torch.stack(rows).tolist(), strict=True):
        allowed = tolerance[name] * max(spread, norm)
        if abs(total - norm) > allowed:
            result[name] = False
        elif norm > 0 and allowed < 0.2 * norm:
            result[name] = True
    return result


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient
