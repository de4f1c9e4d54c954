"""Figures of a curriculum, one file each. matplotlib, without pyplot: nothing global is touched."""

from curricula.tracking.figures.comparison import comparison_figure
from curricula.tracking.figures.losses import losses_figure
from curricula.tracking.figures.policy import policy_figure
from curricula.tracking.figures.syllabus import syllabus_figure
from curricula.tracking.figures.weights import weights_figure

__all__ = ["comparison_figure", "losses_figure", "policy_figure", "syllabus_figure", "weights_figure"]
