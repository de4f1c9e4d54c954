"""The dashboard: a W&B workspace in which the curriculum of every run of a project is laid out."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from curricula.tracking.loggers.scalars import PREFIX
from curricula.tracking.loggers.weights_and_biases import LINES, STEP

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

_PLOTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Effective number of tasks", ("effective_tasks",)),
    ("Probability of the target", ("target_probability",)),
    ("Reward", ("reward",)),
    (
        "Progress rate, and the rates rewarded with -1 and 1",
        ("progress_rate", "progress_rate_low", "progress_rate_high"),
    ),
    ("Share of the time spent on the signal", ("signal_time_share",)),
    ("Steps that taught the curriculum nothing", ("skipped",)),
    ("Cost so far", ("total_cost",)),
)
_MEDIA = (
    ("Policy over time", "policy"),
    ("Loss by task", "losses"),
    ("Reward by task", "rewards"),
    ("Share of the draws by task", "draws"),
    ("Share of the cost by task", "costs"),
    ("Loss by task against its own cost", "learning"),
    ("Syllabus", "syllabus"),
    ("Policy on the grid of the tasks", "grid"),
)


def curriculum_workspace(entity: str, project: str, *, name: str = "Curriculum") -> Workspace:
    """Return the workspace, without saving it: nothing is sent.

    Three sections: what the curriculum does, its numbers, and the table of the tasks; W&B's own panels of all other
    metrics follow.

    Args:
        entity: user or team that the project is of.
        project: with or without runs so far.
        name: of the view.

    Returns:
        A ``wandb_workspaces.workspaces.Workspace``, to be changed or saved.

    Raises:
        ImportError: if the ``dashboard`` extra is not installed.
        ValueError: if a name is empty.

    Example:
        >>> workspace = curriculum_workspace("my-team", "my-project")
        >>> [section.name for section in workspace.sections]
        ['Curriculum', 'Curriculum: numbers', 'Curriculum: tasks']
    """
    for what, value in (("entity", entity), ("project", project), ("name", name)):
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{what} must be the name of a W&B {_KINDS[what]}, got {value!r}")
    ws, wr = _libraries()
    pictures = [wr.MediaBrowser(title=title, media_keys=[PREFIX + key], num_columns=1) for title, key in _MEDIA]
    lines = [
        wr.CustomChart(
            query={"summaryTable": {"tableKey": f"{PREFIX}{key}_table"}},
            chart_name="wandb/lineseries/v0",
            chart_fields={"step": "step", "lineKey": "lineKey", "lineVal": "lineVal"},
            chart_strings={"title": title, "xname": "step"},
        )
        for key, title in LINES.items()
    ]
    numbers = [wr.LinePlot(title=title, x=STEP, y=[PREFIX + key for key in keys]) for title, keys in _PLOTS]
    table = wr.WeavePanelSummaryTable(table_name=f"{PREFIX}tasks")

    def section(title: str, panels: list[Any], columns: int, rows: int) -> Any:
        layout = ws.SectionLayoutSettings(columns=columns, rows=rows)
        return ws.Section(name=title, panels=panels, is_open=True, layout_settings=layout)

    return ws.Workspace(  # type: ignore[no-any-return]
        entity=entity,
        project=project,
        name=name,
        sections=[
            section("Curriculum", [*lines, *pictures], 3, 2),
            section("Curriculum: numbers", numbers, 3, 2),
            section("Curriculum: tasks", [table], 1, 1),
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP),
        auto_generate_panels=True,
    )


def create_dashboard(entity: str, project: str, *, name: str = "Curriculum") -> str:
    """Save the workspace as a new view of the project, and return its address.

    Needs the network and a login (``wandb login``). Runs logged earlier and later show in it alike.

    Args:
        entity: user or team that the project is of.
        project: an existing one.
        name: of the view.

    Raises:
        ConnectionError: if W&B cannot be reached or refuses.
        ImportError: if the ``dashboard`` extra is not installed.
        ValueError: if a name is empty.
    """
    workspace: Any = curriculum_workspace(entity, project, name=name)
    try:
        return str(workspace.save().url)
    except Exception as error:
        raise ConnectionError(
            f"W&B did not take the dashboard ({type(error).__name__}: {error}): look whether `wandb login` was done "
            f"and whether the project {entity}/{project} exists"
        ) from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to a parser."""
    parser.add_argument("--entity", required=True, help="user or team that the W&B project is of")
    parser.add_argument("--project", required=True, help="name of the W&B project")
    parser.add_argument("--name", default="Curriculum", help="name of the view (default: %(default)s)")


_KINDS = {"entity": "user or team", "project": "project", "name": "view"}


def _libraries() -> tuple[Any, Any]:
    try:
        from wandb_workspaces import workspaces
        from wandb_workspaces.reports import v2
    except ImportError as error:
        raise ImportError(
            f"the dashboard needs the dashboard extra ({error}): pip install 'lightning-curricula[dashboard]'"
        ) from error
    return workspaces, v2
