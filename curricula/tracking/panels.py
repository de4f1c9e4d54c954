"""The charts of a page with their headings, captions and words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curricula.tracking.curves import Comparison
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.summary import costs_differ, has_cost
from curricula.tracking.words import (
    comparison_words,
    costs_words,
    draws_words,
    learning_words,
    losses_words,
    policy_words,
    quantiles_words,
    rewards_words,
    runs_words,
    syllabus_words,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go


_ROWS = "Bars hold the middle 80 % of a task's draws, dots are their middle; the dotted line is uniform sampling."


def panels(
    history: CurriculumHistory | None,
    comparison: Comparison | None = None,
    runs: Mapping[str, Sequence[CurriculumHistory]] | None = None,
) -> list[dict[str, Any]]:
    """Return the charts of a section of the page, in order.

    Returns:
        Per chart ``title``, ``caption``, ``words`` (what it shows, for those who cannot see it), ``height`` in pixels
        and ``specification``, the JSON of :func:`json_for_page`.
    """
    from curricula.tracking import charts

    found = []
    if comparison is not None:
        found.append(
            _chart(
                "Curriculum against others",
                "Left: the loss on the way to the goal. Right: how many steps each seed took to reach it; fewer is "
                "better. A cross is a run that did not reach it.",
                comparison_words(comparison),
                charts.comparison_chart(comparison),
            )
        )
    if runs:
        found.append(
            _chart(
                "Runs side by side",
                "The effective number of tasks, and the training losses, in which every task counts alike however "
                "often it was drawn. Lines are medians over runs of one name, bands reach from the least to the "
                "greatest.",
                runs_words(runs),
                charts.runs_chart(runs),
            )
        )
    return found if history is None else found + _charts_of_run(history)


def json_for_page(content: object) -> str:
    r"""Return JSON that can stand in a ``<script type="application/json">``: nothing in it can end the element.

    Example:
        >>> json_for_page(["</script>"])
        '["\\u003c/script\\u003e"]'
    """
    return _escaped(json.dumps(content, allow_nan=False, separators=(",", ":")))


def _escaped(text: str) -> str:
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _charts_of_run(history: CurriculumHistory) -> list[dict[str, Any]]:
    from curricula.tracking import charts

    found = [
        _chart(
            "Policy over time",
            "Which tasks were favoured when. A task that rises is one on which the model is learning; a task that "
            "falls is learned, or not yet within reach. Below, the effective number of tasks: all of them when the "
            "policy is uniform, 1 when a single task is drawn.",
            policy_words(history),
            charts.policy_chart(history),
            history,
        ),
        _chart(
            "The syllabus as a map",
            "Which task was practised when, and how much of the training it got. The target is marked in red. "
            + ("" if charts.has_grid(history) else _ROWS),
            syllabus_words(history),
            charts.syllabus_chart(history),
        ),
    ]
    if charts.has_grid(history):
        found.append(
            _chart(
                "The policy on the way",
                "The probability of every task on its axes; the slider moves through the run.",
                policy_words(history),
                charts.grid_chart(history),
            )
        )
    found += [
        _chart(
            "Losses by task",
            "The loss on the batches of each task, as they came.",
            losses_words(history),
            charts.losses_chart(history),
            history,
        ),
        _chart(
            "Draws by task",
            "What was drawn, part by part of the run; the policy above is what was likely.",
            draws_words(history),
            charts.draws_chart(history),
            history,
        ),
        *_charts_of_cost(history),
        _chart(
            "Rewards by task",
            "Where the bandit found progress: 1 is the best of recent steps, -1 the worst.",
            rewards_words(history),
            charts.rewards_chart(history),
            history,
        ),
        _chart(
            "Progress and reward",
            "The raw signal, whose size changes in the course of a run, and the rewards made of it, which stay spread "
            "over [-1, 1].",
            quantiles_words(history),
            charts.quantiles_chart(history),
            history,
        ),
    ]
    return found


def _charts_of_cost(history: CurriculumHistory) -> list[dict[str, Any]]:
    from curricula.tracking import charts

    found = []
    if costs_differ(history):
        found.append(
            _chart(
                "Cost by task",
                "What the draws of each task cost, part by part of the run: not all cost alike.",
                costs_words(history),
                charts.costs_chart(history),
                history,
            )
        )
    if has_cost(history):
        found.append(
            _chart(
                "Losses by task against their own cost",
                "The loss on the batches of each task, by what was spent on the task itself. A line that ends early "
                "is a task that got little.",
                learning_words(history),
                charts.learning_chart(history),
            )
        )
    return found


def _chart(
    title: str, caption: str, words: str, figure: go.Figure, over_time: CurriculumHistory | None = None
) -> dict[str, Any]:
    # The heading stands in the page; the template comes from the page's theme.
    figure.update_layout(title=None, template=None, margin_t=max(30, figure.layout.margin.t - 30))
    specification = _escaped(figure.to_json(engine="json"))
    from curricula.tracking.charts.cost import cost_changes

    moves = over_time is not None and has_cost(over_time) and len(figure.data) > 0
    if over_time is not None and moves:
        changes = json_for_page(cost_changes(figure, over_time))
        specification = f'{{"cost":{changes},{specification[1:]}'
    return {
        "title": title,
        "caption": caption,
        "words": words,
        "height": figure.layout.height,
        "specification": specification,
        "has_cost": moves,
    }
