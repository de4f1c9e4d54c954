"""Step size and exploration that fit the number of arms and the length of the run."""

from __future__ import annotations

import math
from typing import NamedTuple

DEFAULT_HORIZON = 10_000
"""Number of updates assumed where the horizon is unknown and a rule needs one."""


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


def exp3s_rates(num_arms: int, horizon: int | None, switches: int) -> Rates:
    r"""Rates that minimise the regret bound of Exp3.S against a best arm that changes.

    With ``S`` segments, :math:`\alpha_t = 1/t` and :math:`\epsilon = N\eta` the regret is at most
    :math:`3\eta N T + [S \ln(NT) + \ln T]/\eta`, which is least at

    .. math:: \eta = \sqrt{(S \ln(N T) + 1) / (3 N T)}, \qquad \epsilon = \min(1, N \eta).

    Args:
        num_arms: N, at least 1.
        horizon: T; ``None`` means ``DEFAULT_HORIZON``.
        switches: S, how many times the best arm is expected to change, at least 1.

    Source: Auer et al. 2002, section 8, redone for the update of Graves et al. 2017.
    """
    steps = horizon or DEFAULT_HORIZON
    return _with_exploration(
        math.sqrt((switches * math.log(max(2, num_arms * steps)) + 1) / (3 * num_arms * steps)), num_arms
    )


def _with_exploration(eta: float, num_arms: int) -> Rates:
    # The bounds need eta <= epsilon / N, so that no single reward moves a log-weight by more than 1.
    eta = min(eta, 1.0 / num_arms)
    return Rates(eta, min(1.0, num_arms * eta))
