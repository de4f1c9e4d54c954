"""L1 value loss: how far the value function is from the returns that it sees."""

from __future__ import annotations

from torch import Tensor

from curricula.signals.reported import Reported


class L1ValueLoss(Reported):
    r"""The mean magnitude of the advantages, as in prioritised level replay.

    .. math:: \nu = \frac{1}{T} \sum_{t=1}^{T} \bigg| \sum_{k=t}^{T} (\gamma \lambda)^{k-t} \delta_k \bigg|

    with the temporal-difference errors :math:`\delta_k` of the value function: the generalised advantage estimates
    (GAE) of the unroll. Report them before they are normalised; :class:`~curricula.signals.Reported` says how. They may
    have any shape, the batch first where it has several draws.

    Args:
        name: key of the advantages in what ``training_step`` returns.

    Source: Jiang et al. 2021, "Prioritized Level Replay", arXiv:2010.03934; "Replay-Guided Adversarial
    Environment Design", arXiv:2110.02439.

    Example:
        >>> from curricula import CurriculumCallback
        >>> callback = CurriculumCallback(signal=L1ValueLoss("advantages"))
    """

    def __init__(self, name: str = "advantages") -> None:
        super().__init__(name)

    def each(self, values: Tensor) -> Tensor:
        """Return the magnitudes."""
        return values.abs()
