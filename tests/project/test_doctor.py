"""`invoke doctor` and `invoke completion`; test_diagnostics.py has the findings of the doctor."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from baking import Bakery
from project import ABSENT_TIER, Changes, Outcome, Project, add_absent_tier, ready

pytestmark = pytest.mark.slow

DOCTOR = (".venv/bin/invoke", "doctor")
BARE_DOCTOR = (sys.executable, "-m", "stratakit.doctor")
SOURCES = {"PYTHONPATH": "vendor/stratakit/src", "PYTHONDONTWRITEBYTECODE": "1"}
NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
UNCHECKED = """
from stratakit import tiers
from stratakit.doctor.checks import checks
for tier in tiers.load():
    for resource in tier.needs:
        alone = tiers.Tier("alone", "", "repository", needs=(resource,))
        general = tiers.Tier("general", "", "repository")
        if not any(each.tiers(alone) and not each.tiers(general) for each in checks(tiers.load())):
            print(resource.name)
"""


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that tests do not change."""
    baked = ready(bake, tmp_path_factory.mktemp("doctor with ä space"), "Acme Doctor")
    return Project(baked.path, baked.answers, {**baked.environment, **NO_ENGINE})


@pytest.fixture
def changes(project: Project) -> Iterator[Changes]:
    """Changes to the project, reverted after the test."""
    with Changes(project) as changes:
        yield changes


def test_json_lists_each_check_with_its_tiers_and_hint(project: Project) -> None:
    outcome = project.outcome(*DOCTOR, "--json")
    assert outcome.code == 0, outcome.output
    report = json.loads(outcome.output)
    assert (report["exit_code"], report["tiers"]) == (0, ["static", "unit", "integration"])
    checks = {check["name"]: check for check in report["checks"]}
    assert {check["status"] for check in checks.values()} <= {"ok", "optional"}
    assert checks["postgres"]["tiers"] == ["integration"]
    assert checks["lock"] == {
        "name": "lock",
        "status": "ok",
        "found": "uv.lock is up to date",
        "hint": "",
        "tiers": ["static", "unit", "integration"],
        "actions": [],
    }
    assert all(check["hint"] for check in checks.values() if check["name"] in {".env", "docker"})
    assert "plpgsql" in checks["extensions"]["found"]
    assert "migrations create: none" in checks["extensions"]["found"]


def test_the_doctor_checks_only_the_requested_tier(project: Project) -> None:
    unit = project.outcome(*DOCTOR, "--tier", "unit")
    assert unit.code == 0, unit.output
    assert "unit: everything needed is there" in unit.output
    assert "docker" not in unit.output
    infrastructure = project.outcome(*DOCTOR, "--tier", "infrastructure")
    assert infrastructure.code == 2, infrastructure.output
    assert "no Docker engine answers" in infrastructure.output
    with Changes(project) as changes:
        add_absent_tier(changes)
        absent = project.outcome(*DOCTOR, "--tier", ABSENT_TIER)
    assert absent.code == 2, absent.output
    assert f"there is no tier {ABSENT_TIER} here" in absent.output


def test_the_cloud_tier_needs_the_credentials_of_the_configured_cloud(
    project: Project,
) -> None:
    alone = {"HOME": str(project.path.parent), "HCLOUD_TOKEN": ""}
    free = project.outcome(*DOCTOR, "--tier", "cloud", env=alone)
    assert free.code == 0, free.output
    assert re.search("^account +ok +local: needs none$", free.output, re.MULTILINE)
    token = {**alone, "HCLOUD_TOKEN": "what nobody else may see"}
    with Changes(project) as changes:
        table = '[tool.stratakit.cloud]\ncloud = "hetzner"\n\n[tool.pytest]'
        changes.replace("pyproject.toml", "[tool.pytest]", table)
        without = project.outcome(*DOCTOR, "--tier", "cloud", env=alone)
        found = project.outcome(*DOCTOR, "--tier", "cloud", env=token)
    assert without.code == 2, without.output
    assert "export HCLOUD_TOKEN=" in without.output
    assert found.code == 0, found.output
    assert "local: needs none; hetzner: HCLOUD_TOKEN\n" in found.output
    assert token["HCLOUD_TOKEN"] not in found.output


def test_an_unknown_tier_is_a_configuration_error(project: Project) -> None:
    for command in (DOCTOR, BARE_DOCTOR):
        outcome = project.outcome(*command, "--tier", "bogus", env=SOURCES)
        assert outcome.code == 3
        assert "there is no tier 'bogus'; there are: static" in outcome.output
    assert project.outcome(*BARE_DOCTOR, "--bogus", env=SOURCES).code == 3


def test_each_resource_that_a_tier_needs_has_a_check(project: Project) -> None:
    assert project.run(sys.executable, "-c", UNCHECKED, env=SOURCES).stdout == ""


def test_the_doctor_runs_on_a_bare_python_without_path_and_home(
    bake: Bakery, tmp_path: Path
) -> None:
    baked = bake.into(tmp_path)
    bare = Project(baked.path, {}, {**SOURCES, "PATH": "/nonexistent", "HOME": "/proc/home"})
    # Isolated from the packages of the tests.
    outcome = bare.outcome(sys.executable, "-S", "-m", "stratakit.doctor")
    assert outcome.code == 3, outcome.output
    assert "Traceback" not in outcome.output
    assert "uv.lock is missing" in outcome.output
    assert ".venv is not there" in outcome.output
    assert "hint: uv run invoke setup" in outcome.output


def test_a_missing_folder_of_the_template_is_reported_as_optional(
    project: Project, changes: Changes
) -> None:
    record = {"template": "/home/ann/strata", "commit": 40 * "0", "context": {"cookiecutter": {}}}
    changes.write(".cruft.json", json.dumps(record))
    report = json.loads(project.outcome(*DOCTOR, "--json").output)
    (row,) = [check for check in report["checks"] if check["name"] == "template"]
    assert row["status"] == "optional"
    assert "it is in /home/ann/strata, and nothing is there" in row["found"]


def test_rejected_changes_of_an_update_are_reported_with_a_hint(
    project: Project, changes: Changes
) -> None:
    changes.write("README.md.rej", "-1\n+2\n")
    outcome = project.outcome(*DOCTOR, "--json")
    (row,) = [row for row in json.loads(outcome.output)["checks"] if row["name"] == "update"]
    assert row["found"] == "left by an update or a merge: README.md.rej"
    assert row["hint"] == "apply their changes by hand, then remove them"


def test_a_missing_postgresql_extension_is_reported_with_its_service(
    project: Project, changes: Changes
) -> None:
    statement = "op.execute('CREATE EXTENSION IF NOT EXISTS \"unheard-of\"')"
    changes.write("services/gateway/migrations/versions/0009_more.py", f"{statement}\n")
    report = json.loads(project.outcome(*DOCTOR, "--json").output)
    assert report["exit_code"] == 2
    (row,) = [check for check in report["checks"] if check["name"] == "extensions"]
    assert "lacks extensions of migrations (gateway: unheard-of); it has " in row["found"]
    # PostgreSQL's images have only its own extensions.
    assert row["hint"] == "use one that has it: TEST_DATABASE_URL=postgresql://..."


def test_the_doctor_changes_no_file(project: Project, tmp_path: Path) -> None:
    home, before = tmp_path / "home", listing(project)
    home.mkdir()
    env = {"HOME": str(home), "XDG_CACHE_HOME": str(home), **SOURCES}
    outcome = project.outcome(*DOCTOR, env=env)
    assert outcome.code == 0, outcome.output
    assert listing(project) == before
    assert list(home.rglob("*")) == []


def listing(project: Project) -> dict[Path, int]:
    """Return the modification time of each file and folder of the project."""
    return {path: path.lstat().st_mtime_ns for path in (project.path, *project.path.rglob("*"))}


def test_bash_completes_actions_and_sessions(project: Project) -> None:
    lines = ("invoke db.re", "invoke doctor --j", "nox -s uni")
    actions, flags, sessions = project.completed(*lines)
    assert {"db.reset", "db.restore"} <= set(actions.split())
    assert flags == "--json"
    assert sessions.split() == [r"unit\(gateway\)", r"unit\(servicebase\)"]


def script(project: Project, shell: str, *flags: str) -> Outcome:
    """Run `completion` for a shell."""
    return project.outcome(".venv/bin/invoke", "completion", *flags, env={"SHELL": shell})


@pytest.mark.parametrize(
    ("shell", "has"),
    [("bash", "complete -F"), ("zsh", "compctl -K"), ("fish", "complete --command nox")],
)
def test_completion_prints_a_script_for_the_users_shell(
    shell: str, has: str, project: Project
) -> None:
    outcome = script(project, f"/usr/bin/{shell}")
    assert outcome.code == 0, outcome.output
    assert has in outcome.output


def test_an_unsupported_shell_is_refused_by_name(project: Project) -> None:
    outcome = script(project, "/bin/tcsh")
    assert outcome.code == 3
    assert "'tcsh' in $SHELL is not one of bash, zsh, fish" in outcome.output
    assert script(project, "/bin/sh", "--shell", "tcsh").code == 3
