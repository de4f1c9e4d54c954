"""The figure of a variational network shows the numbers that are in it."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch import nn

from curricula.tracking.figures import weights_figure
from curricula.variational import Variational
from curricula.variational.gaussian import inverse_softplus


def network(layers=1, **options):
    torch.manual_seed(0)
    return Variational(nn.Sequential(*(nn.Linear(6, 6) for _ in range(layers))), samples=1000, **options)


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


@pytest.mark.parametrize("layers", [1, 2, 40])
@pytest.mark.parametrize("prior_per_tensor", [False, True])
def test_any_network_is_drawn_without_a_warning_and_left_as_it_is(layers, prior_per_tensor, recwarn):
    drawn = network(layers, prior_per_tensor=prior_per_tensor)
    before = {name: value.clone() for name, value in drawn.state_dict().items()}
    random = torch.get_rng_state()
    canvas = FigureCanvasAgg(weights_figure(drawn))
    canvas.draw()
    assert np.asarray(canvas.buffer_rgba()).std() > 5
    # What earlier tests left to the garbage collector may be found at any time.
    assert [str(found.message) for found in recwarn if found.category is not ResourceWarning] == []
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in drawn.state_dict().items())
    assert all(parameter.grad is None for parameter in drawn.parameters())


def test_the_share_of_weights_below_their_noise_is_told():
    drawn = Variational(nn.Linear(4, 1, bias=False), samples=10)
    with torch.no_grad():
        drawn.module.weight.copy_(torch.tensor([[0.1, -0.2, 3.0, -4.0]]))
        drawn.rho[0].fill_(inverse_softplus(1.0))
    assert "Signal to noise: 50% of the weights are below 1" in titles(weights_figure(drawn))


def test_the_complexity_is_the_divergence_by_tensor():
    drawn = network(2)
    figure = weights_figure(drawn)
    assert f"Complexity: {drawn.kl().item():,.0f} nats in all" in titles(figure)
    bars = figure.axes[3].containers[0]
    sizes = [drawn.rho[drawn.names.index(name)].numel() for name in names(figure)]
    nats = [bar.get_width() * size for bar, size in zip(bars, sizes, strict=True)]
    assert sum(nats) == pytest.approx(drawn.kl().item())
    assert nats == sorted(nats, reverse=True)


def names(figure):
    return [label.get_text() for label in figure.axes[3].get_yticklabels()]


def test_beyond_some_tensors_the_others_are_taken_together():
    figure = weights_figure(network(40))
    assert names(figure)[-1] == "66 other tensors"
    assert len(names(figure)) == 15


def test_with_a_prior_per_tensor_weights_are_in_units_of_their_own_prior():
    figure = weights_figure(network(2, prior_per_tensor=True))
    assert "μ, in deviations of the prior" in texts(figure)
    line = next(line for line in figure.axes[0].lines if line.get_label() == "prior")
    at, density = line.get_data()
    assert density.max() == pytest.approx(1 / np.sqrt(2 * np.pi), rel=1e-3)
    assert abs(at[density.argmax()]) < 0.05
