"""No signal: nothing is measured, and every draw is closed without a reward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curricula.signals.base import Signal

if TYPE_CHECKING:
    from curricula.signals.step import Step


class Unmeasured(Signal):
    """Measures nothing and costs nothing: for a policy that does not learn, such as that of a mixture found before.

    It asks nothing of the module, whatever the number of draws per batch. With a bandit that learns it is refused when
    the training starts.

    Example:
        >>> from curricula import CurriculumCallback
        >>> from curricula.bandits import FixedPolicy
        >>> callback = CurriculumCallback(FixedPolicy([0.7, 0.3]), Unmeasured())
    """

    def after_step(self, step: Step) -> None:
        """Return that progress is not known."""

    def after_step_per_draw(self, step: Step) -> list[None]:
        """Return that progress is not known, for every draw."""
        return [None] * len(step.draws)
