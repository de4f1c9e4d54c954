"""Interactive charts of a curriculum, one file each: plotly figures, with the arithmetic of the matplotlib ones."""

from curricula.tracking.charts.by_task import draws_chart, losses_chart, rewards_chart
from curricula.tracking.charts.comparison import comparison_chart
from curricula.tracking.charts.cost import costs_chart, learning_chart, on_cost_axis
from curricula.tracking.charts.grid import grid_chart, has_grid
from curricula.tracking.charts.policy import policy_chart
from curricula.tracking.charts.quantiles import quantiles_chart
from curricula.tracking.charts.runs import runs_chart
from curricula.tracking.charts.syllabus import syllabus_chart

__all__ = [
    "comparison_chart",
    "costs_chart",
    "draws_chart",
    "grid_chart",
    "has_grid",
    "learning_chart",
    "losses_chart",
    "on_cost_axis",
    "policy_chart",
    "quantiles_chart",
    "rewards_chart",
    "runs_chart",
    "syllabus_chart",
]
