"""The engine as a wheel from a package index, in place of vendor/stratakit/."""

import shutil
from pathlib import Path

import pytest
from baking import Bakery, commit, needs_git
from project import Changes, Project

pytestmark = [pytest.mark.proof(of="places"), needs_git, pytest.mark.timeout(900)]

ENGINE = "vendor/stratakit"
SOURCE = f'stratakit = {{ path = "{ENGINE}", editable = true }}\n'
INVOKE = str(Path(".venv", "bin", "invoke"))


def test_a_project_whose_engine_is_a_wheel_runs_its_tiers_and_actions(
    bake: Bakery, tmp_path: Path
) -> None:
    baked = bake.into(tmp_path / "wheel with ä space", project_name="Acme Wheel")
    wheels = tmp_path / "wheels"
    baked.run("uv", "build", "--quiet", "--wheel", ENGINE, "--out-dir", str(wheels))
    # A folder of wheels stands for the index.
    environment = {**baked.environment, "UV_FIND_LINKS": str(wheels), "STRATA_SERVERS": "embedded"}
    project = Project(baked.path, baked.answers, environment)
    changes = Changes(project)
    # The steps in "The engine" of the engine's docs/actions.md.
    changes.replace("pyproject.toml", SOURCE, "")
    changes.replace("noxfile.py", '["nox>=2026.8.10"]', '["nox>=2026.8.10", "stratakit"]')
    changes.replace("pyproject.toml", "skip = [", 'skip = ["vendor", ')
    shutil.rmtree(project.path / "vendor")
    project.run("uv", "lock", "--quiet")
    project.run("uv", "sync", "--quiet", "--all-packages", "--all-groups")
    commit(project.path)

    outcome = project.nox("-s", "unit", "integration")
    assert outcome.code == 0, outcome.output
    results = {(part["name"], part["service"]): part["status"] for part in outcome.summary["tiers"]}
    packages = ("gateway", "servicebase")
    parts = [(tier, package) for tier in ("unit", "integration") for package in packages]
    assert results == dict.fromkeys(parts, "passed")
    checked = project.nox("-s", "static", "--", "--only", "engine", "--only", "lint")
    assert checked.code == 0, checked.output
    assert "engine ABSENT" in " ".join(checked.output.split())
    graph = project.run(INVOKE, "graph").stdout
    assert "| `unit` |" in graph
    service = Project(project.path / "services" / "gateway", {}, environment)
    assert service.run(str(project.path / INVOKE), "graph").stdout == graph
    doctor = project.outcome(INVOKE, "doctor", "--tier", "unit")
    assert doctor.code == 0, doctor.output
    refused = project.outcome(INVOKE, "engine.eject", "--yes")
    assert refused.code == 3
    assert "or is a wheel" in refused.output

    (installed,) = project.path.glob(".venv/lib/python*/site-packages/stratakit")
    changes.hide(str(installed.relative_to(project.path)))
    lost = project.outcome(INVOKE, "graph")
    assert lost.code == 2, lost.output
    assert "is incomplete: No module named 'stratakit'" in lost.output
    assert "hint: uv sync --all-packages --all-groups --reinstall" in lost.output
    assert "Traceback" not in lost.output
    assert "vendor/stratakit" not in lost.output
