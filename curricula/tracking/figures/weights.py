"""What a variational network has learned: its weights beside their prior, and where the complexity lies."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch.nn.functional import softplus

from curricula.bandits.base import FloatArray
from curricula.tracking.figures.style import COLOURS, new_figure, shown, styled, tidy
from curricula.tracking.names import counted
from curricula.variational import Variational
from curricula.variational.gaussian import divergence

_BINS = 80
_TENSORS = 14
"""Most bars; the others are taken together."""


@styled
def weights_figure(network: Variational) -> Figure:
    r"""Draw the posterior of all Gaussian weights of a network beside the prior that it learned.

    Four parts: the means :math:`\mu` and the density of the prior; the standard deviations :math:`s` and that of the
    prior; the signal-to-noise ratio :math:`|\mu| / s` as the share of weights below it (a weight below 1 is mostly
    noise and could be left out); and the divergence from the prior by tensor, in nats per weight and in total. With a
    prior per tensor, means and deviations are in units of the prior's.

    Args:
        network: trained or not; nothing in it is changed.

    Source: Graves 2011, section 6, for pruning by signal-to-noise; Blundell et al. 2015, section 5.1.

    Example:
        >>> from torch import nn
        >>> weights_figure(Variational(nn.Linear(8, 4), samples=1000)).get_axes()[0].get_title(loc="left")
        'Means of 36 weights, and the prior'
    """
    if not isinstance(network, Variational):
        raise TypeError(f"network must be a Variational, got {network!r}")
    gaussians = [
        [_numbers(part) for part in (mean, softplus(rho), prior_mean, softplus(prior_rho))]
        for mean, rho, prior_mean, prior_rho in network.gaussians()
    ]
    relative = len(network.prior_mean) > 1
    means, deviations, ratios = [], [], []
    for mean, deviation, prior_mean, prior_deviation in gaussians:
        ratios.append(np.abs(mean) / deviation)
        means.append((mean - prior_mean) / prior_deviation if relative else mean)
        deviations.append(deviation / prior_deviation if relative else deviation)
    prior = (0.0, 1.0) if relative else (float(gaussians[0][2][0]), float(gaussians[0][3][0]))
    figure = new_figure(9.0, 6.4)
    axes = figure.subplots(2, 2)
    _means(axes[0, 0], np.concatenate(means), prior, relative)
    _deviations(axes[0, 1], np.concatenate(deviations), prior[1], relative)
    _ratios(axes[1, 0], np.concatenate(ratios))
    _complexity(axes[1, 1], network)
    return figure


def _numbers(tensor: torch.Tensor) -> FloatArray:
    return np.asarray(tensor.detach().double().cpu().flatten().numpy(), dtype=np.float64)


def _means(axes: Axes, means: FloatArray, prior: tuple[float, float], relative: bool) -> None:
    centre, deviation = prior
    low, high = min(float(means.min()), centre - 3 * deviation), max(float(means.max()), centre + 3 * deviation)
    axes.hist(means, bins=_BINS, range=(low, high), density=True, color=COLOURS[5], label="weights")
    at = np.linspace(low, high, 400)
    density = np.exp(-0.5 * ((at - centre) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
    axes.plot(at, density, color=COLOURS[1], linewidth=1.8, label="prior")
    axes.set_title(f"Means of {counted(len(means), 'weight')}, and the prior", loc="left", fontsize=11)
    axes.set_xlabel("μ, in deviations of the prior" if relative else "μ")
    axes.set_ylabel("density")
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)


def _deviations(axes: Axes, deviations: FloatArray, prior: float, relative: bool) -> None:
    low, high = min(float(deviations.min()), prior) / 1.2, max(float(deviations.max()), prior) * 1.2
    axes.hist(deviations, bins=np.geomspace(low, high, _BINS).tolist(), color=COLOURS[5], label="weights")
    axes.axvline(prior, color=COLOURS[1], linewidth=1.8, label="prior")
    axes.set_xscale("log")
    axes.set_title("Standard deviations", loc="left", fontsize=11)
    axes.set_xlabel("s, in deviations of the prior" if relative else "s")
    axes.set_ylabel("weights")
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)


def _ratios(axes: Axes, ratios: FloatArray) -> None:
    ordered = np.sort(ratios)
    share = np.arange(1, len(ordered) + 1) / len(ordered)
    few = np.unique(np.linspace(0, len(ordered) - 1, 1000).astype(int))
    below = float((ratios < 1).mean())
    axes.plot(np.maximum(ordered[few], 1e-6), share[few], color=COLOURS[0], linewidth=1.8)
    axes.axvline(1, color="#999999", linewidth=1, linestyle="--")
    axes.set_xscale("log")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title(f"Signal to noise: {below:.0%} of the weights are below 1", loc="left", fontsize=11)
    axes.set_xlabel("|μ| / s")
    axes.set_ylabel("weights below")
    axes.grid(color="#eeeeee")
    tidy(axes)


def _complexity(axes: Axes, network: Variational) -> None:
    with torch.no_grad():
        totals = np.array([float(divergence(*four)) for four in network.gaussians()])
    sizes = np.array([rho.numel() for rho in network.rho])
    order = np.argsort(-totals, kind="stable")
    named = [(shown(network.names[row], 22), totals[row], sizes[row]) for row in order[:_TENSORS]]
    if len(order) > _TENSORS:
        rest = order[_TENSORS:]
        named.append((counted(len(rest), "other tensor"), totals[rest].sum(), sizes[rest].sum()))
    names, nats, counts = zip(*named, strict=True)
    places = np.arange(len(names))
    bars = axes.barh(places, np.array(nats) / np.array(counts), color=COLOURS[2])
    axes.bar_label(bars, [f" {total:,.0f} nats" for total in nats], fontsize=7, color="#444444")
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.28)
    axes.set_title(f"Complexity: {totals.sum():,.0f} nats in all", loc="left", fontsize=11)
    axes.set_xlabel("nats per weight")
    tidy(axes)
