"""Learnability: the variance of success, largest for tasks that succeed half of the time."""

from __future__ import annotations

from torch import Tensor

from curricula.checks import as_number
from curricula.signals.reported import Reported


class Learnability(Reported):
    r"""How often a task succeeds times how often it does not.

    .. math:: \nu_i = p_i (1 - p_i), \qquad p_i \leftarrow \gamma\, p_i + (1 - \gamma)\, s

    :math:`p_i` is the moving average of the success :math:`s` of the draws of task :math:`i`, and begins with that of
    the first. Progress is 0 for a task that is solved or out of reach, and 1/4 at most. Values are reported as for
    :class:`~curricula.signals.Reported`: whether each episode (or sample) succeeded, or a rate.

    Args:
        name: key of the value in what ``training_step`` returns.
        decay: :math:`\gamma`, in ``[0, 1)``; 0 takes each draw's own success, which needs many episodes per draw.

    Raises:
        ValueError: if ``decay`` is out of range; in training, if a success is not in ``[0, 1]``.

    Source: Rutherford et al. 2024, "No Regrets", arXiv:2408.15099; Tzannetos et al. 2023, "Proximal Curriculum for
    Reinforcement Learning Agents", arXiv:2304.12877.

    Example:
        >>> signal = Learnability("success")
        >>> signal.compare("easy", 1.0), signal.compare("hard", 0.5)
        (0.0, 0.25)
    """

    def __init__(self, name: str = "success", *, decay: float = 0.9) -> None:
        super().__init__(name)
        self._decay = as_number("decay", decay)
        if not 0.0 <= self._decay < 1.0:
            raise ValueError(f"decay must be in [0, 1), got {decay}")

    def each(self, values: Tensor) -> Tensor:
        """Refuse what is no success rate."""
        if bool(((values < 0.0) | (values > 1.0)).any()):
            raise ValueError(
                f"the value {self.name!r} is a success, in [0, 1], got {values.min():g} to {values.max():g}: report 0 "
                "or 1 for each episode, or a rate"
            )
        return values

    def compare(self, task: str, value: float) -> float:
        """Return the variance of success of a task, now that it had this one."""
        before = self._last.get(task, value)
        rate = self._last[task] = self._decay * before + (1.0 - self._decay) * value
        return rate * (1.0 - rate)
