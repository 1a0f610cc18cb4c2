"""The template's own repository: its workflows run what its README says."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from baking import ROOT
from documents import Document

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
README = Document(ROOT / "README.md")


def jobs(name: str) -> dict[str, Any]:
    """Return the jobs of a workflow."""
    text = (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)["jobs"]
    return found


@pytest.mark.parametrize(("number", "job"), [(0, "newcomer"), (1, "tests")])
def test_a_job_runs_a_command_of_the_readme_as_it_stands(number: int, job: str) -> None:
    console = next(block for block in README.blocks if block.commands)
    ran = [step.get("run", "").strip() for step in jobs("test.yml")[job]["steps"]]
    assert console.commands[number] in ran


def test_the_gate_waits_for_every_other_job() -> None:
    named = jobs("test.yml")
    assert set(named["gate"]["needs"]) == set(named) - {"gate"}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_may_do_nothing_unless_it_says_so(file: Path) -> None:
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {}


def test_the_newcomer_has_every_python_that_the_sessions_have() -> None:
    source = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    pythons = jobs("test.yml")["newcomer"]["strategy"]["matrix"]["python"]
    assert f"PYTHONS = {pythons}".replace("'", '"') in source
