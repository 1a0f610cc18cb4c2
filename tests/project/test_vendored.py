"""The engine in a bake: compared with its manifest, and ejected."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from baking import Bakery
from project import Change, Changes, Project, hide, replace, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

places = pytest.mark.proof(of="places")

ENGINE = "vendor/stratakit"
SCHEMA = "src/stratakit/summary.schema.json"
BESIDE = [f"--exclude-dir={name}" for name in (".nox", ".venv", "engine", "reports")]
DIFFERENCES = {
    f"changed: {SCHEMA}": replace(f"{ENGINE}/{SCHEMA}", "draft", "draught"),
    f"missing: {SCHEMA}": hide(f"{ENGINE}/{SCHEMA}"),
    "extra: src/stratakit/mine.py": write(f"{ENGINE}/src/stratakit/mine.py", ""),
}


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose files are in git's index."""
    baked = bake.into(tmp_path_factory.mktemp("vendored"), project_name="Acme Vendor")
    baked.run("uv", "lock", "--quiet")
    baked.run("git", "init", "--quiet")
    baked.run("git", "add", "--all")
    return Project(baked.path, baked.answers, baked.environment)


@pytest.fixture
def changes(project: Project) -> Iterator[Changes]:
    """Changes that are reverted after the test."""
    with Changes(project) as changes:
        yield changes


def test_the_engine_of_a_fresh_bake_matches_its_manifest(project: Project) -> None:
    outcome = project.nox("-s", "static", "--", "--only", "engine")
    assert outcome.code == 0, outcome.output


@pytest.mark.parametrize("said", DIFFERENCES)
def test_a_difference_from_the_manifest_of_the_engine_is_reported(
    said: str, project: Project, changes: Changes
) -> None:
    change: Change = DIFFERENCES[said]
    change(changes)
    outcome = project.nox("-s", "static", "--", "--only", "engine")
    assert outcome.code == 1, outcome.output
    assert said in outcome.output
    assert "hint: git checkout -- vendor/stratakit" in outcome.output


def test_a_file_of_the_engine_that_is_not_in_git_is_reported(project: Project) -> None:
    project.run("git", "rm", "--quiet", "--cached", f"{ENGINE}/upgrade.py")
    outcome = project.nox("-s", "static", "--", "--only", "engine")
    project.run("git", "add", f"{ENGINE}/upgrade.py")
    assert outcome.code == 1, outcome.output
    assert "not in git: upgrade.py" in outcome.output


@places
def test_no_other_check_reads_the_engine(project: Project, changes: Changes) -> None:
    wrong = "import os\ndef f( x ):\n  return x + undefined\npassword = 'hunter2hunter2'\n"
    changes.write(f"{ENGINE}/src/stratakit/wrong.py", wrong)
    checks = ("lint", "format", "types", "dependencies", "secrets")
    only = [word for name in checks for word in ("--only", name)]
    outcome = project.nox("-s", "static", "--", *only)
    assert outcome.code == 0, outcome.output
    # By its path, as an editor or a hook would.
    linted = project.outcome(".nox/static/bin/ruff", "check", f"{ENGINE}/src/stratakit/wrong.py")
    assert "No Python files found" in linted.output


@places
def test_an_ejected_engine_is_checked_as_code_of_the_project(bake: Bakery, tmp_path: Path) -> None:
    baked = bake.into(tmp_path, project_name="Acme Eject")
    baked.run("uv", "sync", "--quiet", "--all-packages", "--all-groups")
    project = Project(baked.path, baked.answers, baked.environment)
    refused = project.outcome(".venv/bin/invoke", "engine.eject")
    assert refused.code == 3, refused.output
    done = project.outcome(".venv/bin/invoke", "engine.eject", "--yes")
    assert done.code == 0, done.output
    assert not (project.path / "vendor").exists()
    baked.run("uv", "sync", "--quiet", "--all-packages", "--all-groups")
    mentions = project.outcome("grep", "-rIl", "vendor/stratakit", ".", *BESIDE).output
    assert mentions == ""
    checked = project.nox("-s", "static")
    assert checked.code == 0, checked.output
    (project.path / "engine/src/stratakit/mine.py").write_text("import os\n", encoding="utf-8")
    linted = project.nox("-s", "static", "--", "--only", "lint")
    assert linted.code == 1, linted.output
    assert "engine/src/stratakit/mine.py" in linted.output
    tested = project.nox("-s", "unit")
    assert tested.code == 0, tested.output
    again = project.outcome(".venv/bin/invoke", "engine.eject", "--yes")
    assert again.code == 3, again.output
