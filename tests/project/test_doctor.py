"""`invoke doctor` and `invoke completion` themselves; test_diagnostics.py has what the doctor finds."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from baking import Bakery
from project import Changes, Outcome, Project, ready

pytestmark = pytest.mark.slow

DOCTOR = (".venv/bin/invoke", "doctor")
BARE_DOCTOR = (sys.executable, "-m", "stratakit.doctor")
SOURCES = {"PYTHONPATH": "vendor/stratakit/src", "PYTHONDONTWRITEBYTECODE": "1"}
NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
UNCHECKED = """
from stratakit import tiers
from stratakit.doctor.checks import checks
for tier in tiers.load():
    for resource in set(tier.needs) - {tiers.RESOURCES["account"]}:
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
    """Changes to the project that end with the test."""
    with Changes(project) as changes:
        yield changes


def test_json_has_each_check_with_who_needs_it_and_what_mends_it(project: Project) -> None:
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
        "found": "uv.lock is there and fresh",
        "hint": "",
        "tiers": ["static", "unit", "integration"],
        "actions": [],
    }
    assert all(check["hint"] for check in checks.values() if check["name"] in {".env", "docker"})


def test_one_tier_is_asked_about_alone(project: Project) -> None:
    unit = project.outcome(*DOCTOR, "--tier", "unit")
    assert unit.code == 0, unit.output
    assert "all that unit need" in unit.output
    assert "docker" not in unit.output
    infrastructure = project.outcome(*DOCTOR, "--tier", "infrastructure")
    assert infrastructure.code == 2, infrastructure.output
    assert "no Docker engine answers" in infrastructure.output
    cloud = project.outcome(*DOCTOR, "--tier", "cloud")
    assert cloud.code == 2, cloud.output
    assert "there is no tier cloud here" in cloud.output


def test_a_tier_that_is_not_known_is_a_configuration_error(project: Project) -> None:
    for command in (DOCTOR, BARE_DOCTOR):
        outcome = project.outcome(*command, "--tier", "bogus", env=SOURCES)
        assert outcome.code == 3
        assert "there is no tier 'bogus'; there are: static" in outcome.output
    assert project.outcome(*BARE_DOCTOR, "--bogus", env=SOURCES).code == 3


def test_what_a_tier_needs_is_looked_at(project: Project) -> None:
    assert project.run(sys.executable, "-c", UNCHECKED, env=SOURCES).stdout == ""


def test_a_bare_python_with_no_path_and_no_home_is_enough(bake: Bakery, tmp_path: Path) -> None:
    baked = bake.into(tmp_path)
    bare = Project(baked.path, {}, {**SOURCES, "PATH": "/nonexistent", "HOME": "/proc/home"})
    # Isolated from the packages of the tests.
    outcome = bare.outcome(sys.executable, "-S", "-m", "stratakit.doctor")
    assert outcome.code == 3, outcome.output
    assert "Traceback" not in outcome.output
    assert "uv.lock is missing" in outcome.output
    assert ".venv is not there" in outcome.output
    assert "hint: uv run invoke setup" in outcome.output


def test_nothing_is_changed(project: Project, tmp_path: Path) -> None:
    home, before = tmp_path / "home", listing(project)
    home.mkdir()
    env = {"HOME": str(home), "XDG_CACHE_HOME": str(home), **SOURCES}
    outcome = project.outcome(*DOCTOR, env=env)
    assert outcome.code == 0, outcome.output
    assert listing(project) == before
    assert list(home.rglob("*")) == []


def listing(project: Project) -> dict[Path, int]:
    """Return when each file and folder of the project was changed."""
    return {path: path.lstat().st_mtime_ns for path in (project.path, *project.path.rglob("*"))}


def test_bash_completes_actions_and_sessions(project: Project) -> None:
    lines = ("invoke db.re", "invoke doctor --j", "nox -s uni")
    actions, flags, sessions = project.completed(*lines)
    assert {"db.reset", "db.restore"} <= set(actions.split())
    assert flags == "--json"
    assert sessions.split() == [r"unit\(gateway\)", r"unit\(servicebase\)"]


def script(project: Project, shell: str, *flags: str) -> Outcome:
    """Print what completes in a shell."""
    return project.outcome(".venv/bin/invoke", "completion", *flags, env={"SHELL": shell})


@pytest.mark.parametrize(
    ("shell", "has"),
    [("bash", "complete -F"), ("zsh", "compctl -K"), ("fish", "complete --command nox")],
)
def test_the_shell_of_the_user_decides_what_is_printed(
    shell: str, has: str, project: Project
) -> None:
    outcome = script(project, f"/usr/bin/{shell}")
    assert outcome.code == 0, outcome.output
    assert has in outcome.output


def test_a_shell_that_cannot_be_served_is_named(project: Project) -> None:
    outcome = script(project, "/bin/tcsh")
    assert outcome.code == 3
    assert "'tcsh' of $SHELL is none of bash, zsh, fish" in outcome.output
    assert script(project, "/bin/sh", "--shell", "tcsh").code == 3
