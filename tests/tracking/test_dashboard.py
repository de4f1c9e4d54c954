"""The W&B workspace, without W&B: its specification is what would be sent."""

from __future__ import annotations

import builtins
import json

import pytest
from wandb_workspaces.workspaces import Workspace

from curricula.cli import main
from curricula.tracking.dashboard import curriculum_workspace
from curricula.tracking.loggers.scalars import Scalars
from curricula.tracking.loggers.weights_and_biases import CHARTS
from tests.test_package import modules_after


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refused(*_, **__):
        raise AssertionError("nothing may be sent")

    monkeypatch.setattr("socket.socket.connect", refused)


def panels(workspace):
    """Every panel of the specification that would be sent, by section."""
    view = json.loads(workspace._to_model().model_dump_json(by_alias=True, exclude_none=True))
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in sections if section["panels"]}, view


def test_the_sections_hold_every_number_chart_and_table_that_a_run_has():
    sections, view = panels(curriculum_workspace("team", "project", name="My view"))
    assert list(sections) == ["Curriculum", "Curriculum: numbers", "Curriculum: tasks"]
    assert (view["entity"], view["project"]) == ("team", "project")
    assert view["displayName"] == "My view"
    charts, numbers, table = sections.values()
    assert [panel["viewType"] for panel in charts] == ["Vega2"] * 3 + ["Media Browser"] * 8
    assert [panel["config"]["mediaKeys"] for panel in charts[3:]] == [
        [f"curriculum/{name}"] for name in (*CHARTS, "grid", "learning", "costs")
    ]
    for panel, key in zip(charts, ("policy_lines", "loss_lines", "reward_lines"), strict=False):
        assert panel["config"]["panelDefId"] == "wandb/lineseries/v0"
        assert f"curriculum/{key}_table" in json.dumps(panel["config"]["userQuery"])
    documented = Scalars.take.__doc__.split("``")[1::2]
    plotted = [metric for panel in numbers for metric in panel["config"]["metrics"]]
    assert plotted
    assert {f"curriculum/{name}" for name in documented if name.isidentifier() and "_" in name} <= set(plotted)
    assert {panel["config"]["xAxis"] for panel in numbers} == {"trainer/global_step"}
    assert "curriculum/tasks" in json.dumps(table)


def test_panels_of_other_metrics_stay():
    assert curriculum_workspace("team", "project").auto_generate_panels is True


@pytest.mark.parametrize(("entity", "project", "name"), [("", "p", "n"), ("e", " ", "n"), ("e", "p", "")])
def test_an_empty_name_is_refused(entity, project, name):
    with pytest.raises(ValueError, match="must be the name of a W&B"):
        curriculum_workspace(entity, project, name=name)


def test_the_command_saves_the_workspace_and_prints_its_address(monkeypatch, capsys):
    saved = []

    def save(self):
        saved.append((self.entity, self.project, self.name))
        return self

    monkeypatch.setattr(Workspace, "save", save)
    monkeypatch.setattr(Workspace, "url", property(lambda self: f"https://example.org/{self.project}"))
    assert main(["dashboard", "--entity", "team", "--project", "tasks", "--name", "Mine"]) == 0
    assert saved == [("team", "tasks", "Mine")]
    assert capsys.readouterr().out == "https://example.org/tasks\n"


def test_the_command_tells_why_there_is_no_dashboard(monkeypatch, capsys):
    def save(self):
        raise PermissionError("not logged in")

    monkeypatch.setattr(Workspace, "save", save)
    assert main(["dashboard", "--entity", "team", "--project", "tasks"]) == 1
    message = capsys.readouterr().err
    assert "PermissionError: not logged in" in message
    assert "wandb login" in message


def test_without_the_library_the_extra_is_named(monkeypatch):
    original = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("wandb_workspaces"):
            raise ImportError("No module named 'wandb_workspaces'")
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"lightning-curricula\[dashboard\]"):
        curriculum_workspace("team", "project")


def test_loggers_and_dashboard_load_no_library_before_it_is_needed():
    loaded = modules_after("import curricula.tracking.loggers, curricula.tracking.dashboard")
    assert not loaded & {"wandb", "wandb_workspaces", "matplotlib", "plotly", "mlflow", "tensorboard"}
