"""Step size and exploration that fit the number of arms and the length of the run."""

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


def exp3_rates(num_arms: int, horizon: int | None) -> Rates:
    r"""Rates that minimise the regret bound of Exp3 against the best single arm.

    With rewards in ``[-1, 1]`` and :math:`\epsilon = N\eta`, the bound
    :math:`2\epsilon T + \ln(N)/\eta + \eta N T = 3\eta N T + \ln(N)/\eta` is least at

    .. math:: \eta = \sqrt{\ln N / (3 N T)}, \qquad \epsilon = \min(1, N \eta).

    Args:
        num_arms: N, at least 1.
        horizon: T; ``None`` means ``DEFAULT_HORIZON``.

    Source: Auer et al. 2002, Corollary 3.2, restated for rewards in ``[-1, 1]``.
    """
    steps = horizon or DEFAULT_HORIZON
    return _with_exploration(math.sqrt(max(math.log(num_arms), 1e-3) / (3 * num_arms * steps)), num_arms)


def exp3s_rates(num_arms: int, horizon: int | None, segments: int) -> Rates:
    r"""Rates that minimise the regret bound of Exp3.S against a best arm that changes.

    With ``S`` segments, :math:`\alpha_t = 1/t` and :math:`\epsilon = N\eta` the regret is at most
    :math:`3\eta N T + [S \ln(NT) + \ln T]/\eta`, which is least at

    .. math:: \eta = \sqrt{(S \ln(N T) + 1) / (3 N T)}, \qquad \epsilon = \min(1, N \eta).

    Args:
        num_arms: N, at least 1.
        horizon: T; ``None`` means ``DEFAULT_HORIZON``.
        segments: S, stretches of time with one best arm each, at least 1.

    Source: Auer et al. 2002, section 8, redone for the update of Graves et al. 2017.
    """
    steps = horizon or DEFAULT_HORIZON
    return _with_exploration(
        math.sqrt((segments * math.log(max(2, num_arms * steps)) + 1) / (3 * num_arms * steps)), num_arms
    )


def curriculum_rates(num_arms: int, horizon: int | None, segments: int) -> Rates:
    r"""Rates for curricula: those of :func:`exp3s_rates`, but never below a step of :math:`0.1 / N`.

    How soon the best task changes is a matter of the model, not of the length of the run: a generous ``max_steps``
    must not make the policy slow. The floor and the rule were chosen by measurement over three workloads; the page on
    results has the numbers.

    .. math:: \eta = \max(0.1 / N,\ \eta_{\text{Exp3.S}}), \qquad \epsilon = \min(1, N \eta).

    Args:
        num_arms: N, at least 1.
        horizon: T; ``None`` means ``DEFAULT_HORIZON``.
        segments: S, stretches of time with one best arm each, at least 1.
    """
    return _with_exploration(max(FLOOR / num_arms, exp3s_rates(num_arms, horizon, segments).eta), num_arms)


def _with_exploration(eta: float, num_arms: int) -> Rates:
    # The bounds need eta <= epsilon / N, so that no single reward moves a log-weight by more than 1.
    eta = min(eta, 1.0 / num_arms)
    return Rates(eta, min(1.0, num_arms * eta))
