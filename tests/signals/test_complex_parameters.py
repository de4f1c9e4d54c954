"""Complex parameters are measured as the pairs of real numbers that they are, or refused."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.data import TensorDataset

from curricula import CurriculumCallback, CurriculumLoader
from curricula.bandits import FixedPolicy
from curricula.signals.tensors import inner_product, squared_norm
from curricula.variational import NORMALISATION, Variational
from tests.models import trainer
from tests.signals.kinds import measuring_classes

KINDS = [kind for kind in measuring_classes() if "Variational" not in kind.__name__]


def tasks():
    numbers = torch.Generator().manual_seed(0)
    return {
        name: TensorDataset(
            torch.randn(64, 4, generator=numbers, dtype=torch.float64),
            torch.randn(64, 1, generator=numbers, dtype=torch.float64) * scale,
        )
        for scale, name in enumerate("ab", start=1)
    }


class Spectral(pl.LightningModule):
    """A filter in the frequency domain, by complex weights or by pairs of real ones."""

    def __init__(self, *, pairs, mixed, optimizer):
        super().__init__()
        numbers = torch.Generator().manual_seed(1)
        weight = torch.randn(3, dtype=torch.complex128, generator=numbers)
        self.weight = nn.Parameter(torch.view_as_real(weight) if pairs else weight)
        self.bias = nn.Parameter(torch.ones(1, dtype=torch.float64), requires_grad=mixed)
        self.pairs, self.optimizer = pairs, optimizer

    def training_step(self, batch, batch_idx):
        weight = torch.view_as_complex(self.weight) if self.pairs else self.weight
        outputs = torch.fft.irfft(torch.fft.rfft(batch[0]) * weight, n=4)
        readout = torch.tensor([[1.0], [-2.0], [0.5], [3.0]], dtype=torch.float64)
        return mse_loss(outputs @ readout + self.bias, batch[1])

    def configure_optimizers(self):
        return self.optimizer(self.parameters())


def progress(kind, **options):
    signal = kind()
    callback = CurriculumCallback(FixedPolicy.uniform(), signal, target="b" if signal.needs_target else None)
    accumulate = 2 if signal.needs_micro_batches else 1
    loader = CurriculumLoader(tasks(), batch_size=8, steps_per_epoch=12)
    fitter = trainer(callback, max_steps=6, accumulate_grad_batches=accumulate, precision="64-true")
    fitter.fit(Spectral(**options), loader)
    return callback.history.column("progress").tolist()


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.5)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-2)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("optimizer", [sgd, adam])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_signal_measures_complex_weights_as_pairs_of_real_ones(kind, optimizer, mixed):
    found = progress(kind, pairs=False, mixed=mixed, optimizer=optimizer)
    assert len(found) == 6
    assert found == pytest.approx(progress(kind, pairs=True, mixed=mixed, optimizer=optimizer), rel=1e-9)


def test_the_inner_product_is_the_change_of_the_loss_to_first_order():
    numbers = torch.Generator().manual_seed(0)
    weights = [
        torch.randn(5, dtype=torch.complex128, generator=numbers, requires_grad=True),
        torch.randn(3, dtype=torch.float64, generator=numbers, requires_grad=True),
    ]

    def loss(complex_weight, weight):
        return (
            complex_weight.conj() ** 2 * torch.exp(complex_weight)
        ).sum().imag + complex_weight.abs().sum() * weight.prod()

    directions = [torch.randn(part.shape, dtype=part.dtype, generator=numbers) for part in weights]
    gradients = torch.autograd.grad(loss(*weights), weights)
    step = 1e-6
    ahead, back = (
        loss(*[part + sign * step * way for part, way in zip(weights, directions, strict=True)]) for sign in (1, -1)
    )
    assert float(inner_product(directions, gradients)) == pytest.approx(
        float((ahead - back).detach()) / (2 * step), rel=1e-7
    )
    conjugated = [gradient.conj().conj_physical() if gradient.is_complex() else gradient for gradient in gradients]
    assert float(inner_product(directions, conjugated)) == pytest.approx(float(inner_product(directions, gradients)))


@pytest.mark.parametrize("exactly", [False, True])
@pytest.mark.parametrize("dtype", [torch.complex32, torch.complex64, torch.complex128])
def test_the_squared_norm_is_that_of_both_parts(dtype, exactly):
    tensors = [torch.tensor([3.0 + 4.0j, 1.0j]).to(dtype), torch.tensor([2.0])]
    assert float(squared_norm(tensors, exactly=exactly)) == pytest.approx(30.0)
    assert float(squared_norm([tensors[0].conj()], exactly=exactly)) == pytest.approx(26.0)


def test_complex_weights_cannot_be_gaussian():
    class Filter(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, dtype=torch.complex64))

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.filter, self.layer = Filter(), nn.Linear(2, 1)

    with pytest.raises(ValueError, match=r"parameters \['filter.weight'\] of Both are complex.*deterministic="):
        Variational(Both(), samples=10)
    assert Variational(Both(), samples=10, deterministic=(*NORMALISATION, Filter)).names == (
        "layer.weight",
        "layer.bias",
    )
