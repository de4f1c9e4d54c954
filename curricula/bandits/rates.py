r"""Step size and exploration that fit the number of arms, the length of the run and the draws of a step.

A bandit learns from the :math:`B` draws of a step once, by their mean
(:meth:`Bandit.update_all <curricula.bandits.Bandit.update_all>`). Its variance is smaller than that of one draw, so
larger steps and less exploration are best. With :math:`\pi` the policy, the mean :math:`\tilde r_i` of the
importance-weighted rewards in :math:`[-1, 1]` has

.. math:: E\,\tilde r_i^2 \le \frac{1}{B\,\pi(i)} + \frac{B - 1}{B}, \qquad
   \sum_i \pi(i)\, E\,\tilde r_i^2 \le \frac{N + B - 1}{B}

where one draw has :math:`N`. It is enough for the bound that no *single* draw moves a log-weight by more than 1, that
is :math:`\eta \le B \epsilon / N`: draws of one policy are independent, so the expectation of the exponential of their
mean is a product over single draws, and :math:`E\,e^{\eta \tilde r_i} \le e^{\eta r_i + \eta^2 / (B \pi(i))}`. For
:math:`\eta \le 1/2` the regret per draw, summed over :math:`T` steps, is then at most

.. math:: 2 \epsilon T + \Lambda / \eta + \eta T (N / B + 1 + 3 \epsilon),

:math:`\Lambda` being :math:`\ln N` for Exp3 and :math:`S \ln(NT) + \ln T` for Exp3.S; for one draw it is
:math:`2 \epsilon T + \Lambda / \eta + \eta N T`. With very many draws it no longer grows with the number of arms, but
by :math:`\Lambda`: the step then tells what every arm earns.
"""

from __future__ import annotations

import math
from typing import NamedTuple

DEFAULT_HORIZON = 10_000
"""Number of updates assumed where the horizon is unknown and a rule needs one."""

FLOOR = 0.1
"""Least step, times the number of arms, of :func:`curriculum_rates`."""


class Rates(NamedTuple):
    """A step size and an exploration rate."""

    eta: float
    epsilon: float


def exp3_rates(num_arms: int, horizon: int | None, draws: int = 1) -> Rates:
    r"""Rates that minimise the regret bound of Exp3 against the best single arm.

    With rewards in ``[-1, 1]`` and :math:`\epsilon = N\eta`, the bound of one draw a step
    :math:`2\epsilon T + \ln(N)/\eta + \eta N T = 3\eta N T + \ln(N)/\eta` is least at

    .. math:: \eta = \sqrt{\ln N / (3 N T)}, \qquad \epsilon = \min(1, N \eta).

    With :math:`B` draws :math:`3 N` becomes :math:`(3 N + B - 1) / B`, and :math:`\epsilon = \min(1, N \eta / B)`.

    Args:
        num_arms: N, at least 1.
        horizon: T, in steps; ``None`` means ``DEFAULT_HORIZON``.
        draws: B, draws per step, at least 1.

    Source: Auer et al. 2002, Corollary 3.2, restated for rewards in ``[-1, 1]``.
    """
    steps = horizon or DEFAULT_HORIZON
    return _with_exploration(
        math.sqrt(max(math.log(num_arms), 1e-3) / _spread(num_arms, steps, draws)), num_arms, draws
    )


def exp3s_rates(num_arms: int, horizon: int | None, segments: int, draws: int = 1) -> Rates:
    r"""Rates that minimise the regret bound of Exp3.S against a best arm that changes.

    With ``S`` segments, :math:`\alpha_t = 1/t` and :math:`\epsilon = N\eta` the regret is at most
    :math:`3\eta N T + [S \ln(NT) + \ln T]/\eta`, which is least at

    .. math:: \eta = \sqrt{(S \ln(N T) + 1) / (3 N T)}, \qquad \epsilon = \min(1, N \eta).

    With :math:`B` draws :math:`3 N` becomes :math:`(3 N + B - 1) / B`, and :math:`\epsilon = \min(1, N \eta / B)`. With
    fewer draws than arms that is nearly :math:`\sqrt{B}` times the step size, and :math:`1 / \sqrt{B}` of the
    exploration.

    Args:
        num_arms: N, at least 1.
        horizon: T, in steps; ``None`` means ``DEFAULT_HORIZON``.
        segments: S, stretches of time with one best arm each, at least 1.
        draws: B, draws per step, at least 1.

    Source: Auer et al. 2002, section 8, redone for the update of Graves et al. 2017.
    """
    steps = horizon or DEFAULT_HORIZON
    return _with_exploration(
        math.sqrt((segments * math.log(max(2, num_arms * steps)) + 1) / _spread(num_arms, steps, draws)),
        num_arms,
        draws,
    )


def curriculum_rates(num_arms: int, horizon: int | None, segments: int, draws: int = 1) -> Rates:
    r"""Rates for curricula: those of :func:`exp3s_rates`, but never below a step of :math:`0.1 / N`.

    How soon the best task changes is a matter of the model, not of the length of the run: a generous ``max_steps``
    must not make the policy slow. The floor and the rule were chosen by measurement over three workloads; the page on
    results has the numbers.

    .. math:: \eta = \max(0.1 / N,\ \eta_{\text{Exp3.S}}), \qquad \epsilon = \min(1, N \eta / B).

    Args:
        num_arms: N, at least 1.
        horizon: T, in steps; ``None`` means ``DEFAULT_HORIZON``.
        segments: S, stretches of time with one best arm each, at least 1.
        draws: B, draws per step, at least 1.
    """
    eta = exp3s_rates(num_arms, horizon, segments, draws).eta
    return _with_exploration(max(FLOOR / num_arms, eta), num_arms, draws)


def _spread(num_arms: int, steps: int, draws: int) -> float:
    """Return what multiplies the step size in the bound, exploration included."""
    return 3 * num_arms * steps if draws == 1 else (3 * num_arms + draws - 1) * steps / draws


def _with_exploration(eta: float, num_arms: int, draws: int) -> Rates:
    # The bounds need eta <= B epsilon / N, so that no single draw moves a log-weight by more than 1; and eta <= 1/2,
    # so that all draws of a step together hardly do.
    eta = min(eta, max(1.0 / num_arms, min(0.5, draws / num_arms)))
    return Rates(eta, min(1.0, num_arms * eta / draws))
