"""Weights & Biases: numbers, interactive charts, a table of the tasks, and the curriculum's constants."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from curricula.tracking.loggers.lines import Lines, mean_lines, policy_lines
from curricula.tracking.loggers.numbers import plain
from curricula.tracking.loggers.scalars import PREFIX
from curricula.tracking.loggers.sink import Sink
from curricula.tracking.loggers.tasks import task_columns, task_rows
from curricula.tracking.summary import costs_differ, has_cost

if TYPE_CHECKING:
    from curricula.tracking.history import CurriculumHistory
    from curricula.tracking.loggers.pictures import Pictures
    from curricula.tracking.loggers.sink import Settings

STEP = "trainer/global_step"
"""The one step axis, which Lightning's own metrics have as well."""

LINES = {"policy_lines": "Probability", "loss_lines": "Loss", "reward_lines": "Reward"}
"""Charts that W&B draws itself, and their titles."""

CHARTS = ("policy", "losses", "rewards", "draws", "syllabus")
"""Charts of all tasks, besides ``"grid"`` where the tasks lie on one of two axes, and those of a known cost."""

_LARGEST = 600_000
"""Bytes of the largest Plotly chart that is sent; a larger one is sent as a picture."""


class WandbSink(Sink):
    """Sends every moment as one row of W&B's history, through the logger, so that steps never go back."""

    def start(self, settings: Settings) -> None:
        """Put the settings into the run's configuration, and the numbers on the trainer's step axis."""
        run = self.logger.experiment
        present = run.config.get("curriculum")
        # A hyperparameter of the user's own keeps its name.
        if present is None or (isinstance(present, dict) and set(present) == set(settings)):
            run.config.update({"curriculum": settings}, allow_val_change=True)
        # WandbLogger does so for the runs that it makes itself, but not for one that it was given.
        if not getattr(self.logger, "_wandb_init", {}).get("sync_tensorboard"):
            run.define_metric(STEP)
            run.define_metric(f"{self._prefix}{PREFIX}*", step_metric=STEP)

    def pictures(self, pictures: Pictures, step: int, *, last: bool) -> None:
        """Send lines of the leading tasks and the chart of the policy; at the end all charts and the table."""
        row = self._charts(pictures, last=last) if self.figures else {}
        if last:
            row[f"{PREFIX}tasks"] = _table(pictures.history)
        if row:
            self.logger.log_metrics(row, step=step)

    def _charts(self, pictures: Pictures, *, last: bool) -> dict[str, Any]:
        history = pictures.history
        row = {PREFIX + name: _plot(lines, LINES[name]) for name, lines in _lines(history).items()}
        names = (*CHARTS, *["grid"] * (len(history.grid or {}) == 2), *["learning"] * has_cost(history))
        names = (*names, *["costs"] * costs_differ(history))
        for name in names if last else CHARTS[:1]:
            shown = _chart(pictures.chart(name)) or _image(pictures.figure(name))
            if shown is not None:
                row[PREFIX + name] = shown
        return row

    @property
    def _prefix(self) -> str:
        prefix = getattr(self.logger, "_prefix", "")
        return f"{prefix}{self.logger.LOGGER_JOIN_CHAR}" if prefix else ""


def _lines(history: CurriculumHistory) -> dict[str, Lines]:
    return {
        "policy_lines": policy_lines(history),
        "loss_lines": mean_lines(history, "loss"),
        "reward_lines": mean_lines(history, "reward"),
    }


def _plot(lines: Lines, title: str) -> Any:
    import wandb

    steps = [at.tolist() for at in lines.steps]
    return wandb.plot.line_series(steps, plain(lines.values), keys=lines.names, title=title, xname="step")


def _table(history: CurriculumHistory) -> Any:
    import wandb

    columns: list[str | int] = [*task_columns(history)]
    return wandb.Table(columns=columns, data=task_rows(history), allow_mixed_types=True)


def _chart(chart: Any) -> Any:
    import wandb

    if chart is None:
        return None
    import plotly.graph_objects as go

    content = plain(chart.to_plotly_json())
    if len(json.dumps(content)) > _LARGEST:
        return None
    return wandb.Plotly(go.Figure(content, skip_invalid=True))


def _image(figure: Any) -> Any:
    import wandb

    if figure is None:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image  # matplotlib requires it

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    # 256 colours: a third of the size, with no difference that can be seen.
    few = picture.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return wandb.Image(few.convert("RGB"))
