"""Per-sample gradients by ``torch.func``: a pass for every sample, nothing clever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from curricula.signals.per_sample import PerSampleGradients


def mean_of_squares(output: Tensor) -> Tensor:
    """A loss per sample, shape ``(samples,)``, that is no sum over features that are all alike."""
    flat = output.flatten(1)
    return (flat * (1 + torch.arange(flat.shape[1]) % 3)).square().mean(1) + flat.sin().sum(1)


def gradients(
    module: nn.Module, inputs: Tensor, losses: Callable[[Tensor], Tensor] = mean_of_squares
) -> dict[str, Tensor]:
    """Return the gradient of each sample's loss for each trained parameter, shape ``(samples, ...)``."""
    trained = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}

    def loss(parameters: dict[str, Tensor], sample: Tensor) -> Tensor:
        return losses(functional_call(module, parameters, (sample[None],)))[0]

    return vmap(grad(loss), in_dims=(None, 0))(trained, inputs)


def changes_of(module: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Return a change for every parameter."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
        for name, p in module.named_parameters()
    }


def measured(
    module: nn.Module, inputs: Tensor, losses: Callable[[Tensor], Tensor] = mean_of_squares, **options: Any
) -> Any:
    """Return the measure after one forward and backward pass."""
    per_sample = PerSampleGradients(module, **options)
    with per_sample.watch(batch_size=len(inputs)):
        losses(module(inputs)).mean().backward()
    return per_sample


def flat(rows: dict[str, Tensor], names: Any) -> Tensor:
    """Return some gradients side by side, shape ``(samples, numbers)``."""
    rows = {name: rows[name] for name in names}
    size = len(next(iter(rows.values())))
    return torch.cat([row.reshape(size, -1) for row in rows.values()], 1)


def assert_agrees(
    per_sample: PerSampleGradients, expected: dict[str, Tensor], changes: dict[str, Tensor], rtol: float = 1e-10
) -> None:
    """Compare everything that is measured with the gradients of the covered parameters."""
    covered = per_sample.coverage().covered
    assert covered
    wanted = flat(expected, covered)
    size = len(wanted)
    change = torch.cat([changes[name].flatten() for name in covered])
    gram = wanted @ wanted.T
    close(per_sample.inner_products(changes), wanted @ change, rtol)
    close(per_sample.squared_norms(), gram.diag(), rtol)
    close(per_sample.gram(), gram, rtol)
    for slots in {1, size // 2 if size % 2 == 0 else 1, size}:
        sums = wanted.view(slots, size // slots, -1).sum(1)
        close(per_sample.gram(slots), sums @ sums.T, rtol)
        close(per_sample.squared_norms(slots), (sums @ sums.T).diag(), rtol)


def close(actual: Tensor, expected: Tensor, rtol: float) -> None:
    """Compare to within a share of the largest number."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=rtol * max(1e-12, float(expected.abs().max())))


def check(
    module: nn.Module, inputs: Tensor, losses: Callable[[Tensor], Tensor] = mean_of_squares, **options: Any
) -> None:
    """Compare a module on a batch with the reference."""
    module = module.double()
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    assert_agrees(measured(module, inputs, losses, **options), gradients(module, inputs, losses), changes_of(module))
