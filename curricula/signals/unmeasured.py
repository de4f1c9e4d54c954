"""No signal: nothing is measured, and every draw is closed without a reward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curricula.signals.base import Signal

if TYPE_CHECKING:
    from curricula.signals.step import Step


class Unmeasured(Signal):
    """Takes the place of a signal that cannot tell draws apart where the policy would not learn from it anyway."""

    def after_step(self, step: Step) -> None:
        """Return that progress is not known."""

    def after_step_per_draw(self, step: Step) -> list[None]:
        """Return that progress is not known, for every draw."""
        return [None] * len(step.draws)
