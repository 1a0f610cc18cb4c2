"""Settings of a project for editors, devcontainers and update bots."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from baking import Bake, Bakery
from project import Project, ready

slow, places = pytest.mark.slow, pytest.mark.proof(of="places")


def load(bake: Bake, name: str) -> Any:
    """Return the parsed content of a JSON file."""
    return json.loads((bake.path / name).read_text(encoding="utf-8"))


def test_the_devcontainer_has_the_chosen_python_setup_and_recommended_extensions(
    bake: Bakery,
) -> None:
    baked = bake(python="3.12")
    container = load(baked, ".devcontainer/devcontainer.json")
    assert container["image"].endswith("/python:3.12")
    assert container["postCreateCommand"] == "uv run invoke setup"
    told = container["customizations"]["vscode"]["extensions"]
    assert told == load(baked, ".vscode/extensions.json")["recommendations"]


def test_both_update_bots_have_the_same_groups_and_the_waiting_time_of_uv(bake: Bakery) -> None:
    settings = tomllib.loads((bake().path / "pyproject.toml").read_text(encoding="utf-8"))
    wait = settings["tool"]["uv"]["exclude-newer"]
    file = bake().path / ".github" / "dependabot.yml"
    dependabot = yaml.safe_load(file.read_text(encoding="utf-8"))["updates"]
    assert {f"{each['cooldown']['default-days']} days" for each in dependabot} == {wait}
    renovate = load(bake(), "renovate.json")
    assert renovate["minimumReleaseAge"] == wait
    groups = {rule["groupName"] for rule in renovate["packageRules"]}
    assert {group for each in dependabot for group in each["groups"]} == groups


def test_the_settings_of_each_update_bot_say_to_enable_one(bake: Bakery) -> None:
    assert "enable one" in " ".join(load(bake(), "renovate.json")["description"])
    text = (bake().path / ".github" / "dependabot.yml").read_text(encoding="utf-8")
    assert "enable one" in text


def test_a_project_without_github_still_has_the_settings_of_renovate(bake: Bakery) -> None:
    baked = bake(ci="none")
    assert not (baked.path / ".github").exists()
    assert (baked.path / "renovate.json").exists()


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the environment that editors use."""
    return ready(bake, tmp_path_factory.mktemp("editors"), "Acme Edited")


@slow
@places
def test_vscode_settings_find_the_interpreter_and_the_tests_of_each_tier(project: Project) -> None:
    settings = load(project, ".vscode/settings.json")
    assert settings["python.testing.pytestEnabled"]
    folder = {"${workspaceFolder}": str(project.path)}
    python, environment = (
        Path(re.sub(r"\$\{.*?\}", lambda found: folder[found[0]], settings[key]))
        for key in ("python.defaultInterpreterPath", "python.envFile")
    )
    assert environment.exists()
    found = project.run(str(python), "-m", "pytest", "--collect-only", "-q").stdout
    for tier in ("unit", "integration", "contracts"):
        assert f"services/gateway/tests/{tier}/" in found


@slow
@places
def test_vscode_tasks_run_only_existing_sessions_and_actions(project: Project) -> None:
    listed = json.loads(project.run("uv", "run", "nox", "--list", "--json").stdout)
    sessions = {entry["name"] for entry in listed}
    actions = project.run("uv", "run", "invoke", "--list").stdout
    for task in load(project, ".vscode/tasks.json")["tasks"]:
        program, *words = task["command"].removeprefix("uv run ").split()
        if program == "nox":
            assert set(words[1:2]) <= sessions, task["command"]
        else:
            assert program == "invoke"
            assert re.search(rf"^  {re.escape(words[0])}\s", actions, re.MULTILINE), words
