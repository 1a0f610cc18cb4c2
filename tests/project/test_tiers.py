"""The tiers of baked projects, run for real."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree

import pytest
from baking import Bakery, git, needs_git
from project import (
    NOX,
    PATIENCE,
    Changes,
    Project,
    has_images,
    left_alone,
    ready,
)

pytestmark = pytest.mark.slow
personas = pytest.mark.proof(of="personas")

PARTS = ["static", "unit", "unit", "integration", "integration"]
"""The tiers of a bake: those per package run for its service and for the kit."""
NO_DOCKER = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
LONGEST = "a" * 20


@dataclass(frozen=True)
class Persona:
    """A user who bakes, with special answers or circumstances."""

    name: str
    answers: dict[str, str] = field(default_factory=dict)
    hooks: bool = True
    env: dict[str, str] = field(default_factory=dict)


PERSONAS = [
    Persona("takes every default"),
    Persona(
        "names the project as the service, and has no hooks and no home",
        {
            "project_name": 'Bill\'s "Größe" {1}',
            "project_slug": "billing",
            "service": "billing",
            "resource": "category",
            "license": "Apache-2.0",
            "ci": "none",
        },
        hooks=False,
        # A home cannot be created there, not even by root.
        env={"HOME": "/proc/home", "XDG_CACHE_HOME": "/proc/cache"},
    ),
    Persona(
        "has names at their limits",
        {
            "project_slug": "b" * 20,
            "service": LONGEST,
            "resource": "line_item_of_invoice",
            "python": "3.11",
            "license": "Proprietary",
        },
    ),
]


@pytest.fixture(scope="session")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A locked project that tests do not change."""
    return ready(bake, tmp_path_factory.mktemp("tiers with ä space"), "Acme Tiers")


def living(bake: Bakery, folder: Path, persona: Persona) -> Project:
    """Bake a project for a persona and lock it."""
    baked = bake.into(folder, persona.answers, hooks=persona.hooks)
    cache = baked.run("uv", "cache", "dir").stdout.strip()
    environment = {**baked.environment, "UV_CACHE_DIR": cache, **persona.env}
    alive = Project(baked.path, baked.answers, environment)
    alive.run("uv", "lock", "--quiet")
    return alive


# It installs everything, perhaps from an empty cache.
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "persona",
    [PERSONAS[0], *(pytest.param(each, marks=personas) for each in PERSONAS[1:])],
    ids=lambda persona: persona.name,
)
def test_the_default_tiers_of_a_fresh_bake_pass(
    persona: Persona, bake: Bakery, tmp_path: Path
) -> None:
    project = living(bake, tmp_path / "mit Ä", persona)
    outcome = project.nox(env=NO_DOCKER)
    assert outcome.code == 0, outcome.output
    assert [tier["name"] for tier in outcome.summary["tiers"]] == PARTS
    assert outcome.summary["summary"]["passed"] == outcome.summary["summary"]["total"] > 100
    left_alone(project)


@personas
def test_the_tiers_pass_in_parallel_and_again_without_installing(project: Project) -> None:
    for arguments in (("-j", "auto"), ("-R",)):
        outcome = project.nox(*arguments, env=NO_DOCKER)
        assert outcome.code == 0, outcome.output
        assert [tier["name"] for tier in outcome.summary["tiers"]] == PARTS


@personas
def test_a_bare_pytest_passes_in_a_fresh_project(project: Project) -> None:
    outcome = project.outcome(".venv/bin/pytest", "-q", "-n", "2", env=NO_DOCKER)
    assert outcome.code == 0, outcome.output


def test_a_plain_sync_installs_everything_and_an_image_has_no_test_tools(project: Project) -> None:
    project.run("uv", "sync", "--quiet", "--locked")
    project.run("uv", "sync", "--check", "--locked", "--all-packages", "--all-groups")
    (line,) = {
        line.split("uv sync ")[1]
        for line in (project.path / "services/gateway/Dockerfile").read_text().splitlines()
        if "--no-editable" in line
    }
    image = {"UV_PROJECT_ENVIRONMENT": str(project.path / ".nox" / "image")}
    installed = project.run("uv", "sync", *line.split(), "--dry-run", env=image).stderr
    assert "+ fastapi==" in installed
    assert "+ pytest" not in installed
    assert "+ stratakit" not in installed


@personas
def test_a_bare_pytest_refuses_stray_test_files_and_runs_the_rest(
    project: Project,
) -> None:
    tests = "services/gateway/tests"
    strays = [f"{tests}/functional/test_stray.py", f"{tests}/units/test_stray.py"]
    with Changes(project) as changes:
        for file in strays:
            changes.write(file, "import what_nobody_has\n\ndef test_a() -> None: ...\n")
        bare = (".venv/bin/pytest", "-q", "-n", "2", "--ignore", f"{tests}/integration")
        done = project.run(*bare, tests, check=False)
        asked = project.run(".venv/bin/pytest", f"{strays[0]}::test_a", check=False)
    assert done.returncode == 13, done.stdout
    for file in strays:
        assert f"configuration: {file} belongs to no tier, so nothing runs its tests" in done.stdout
    assert f"hint: move it to one of the folders {tests}/unit, " in done.stdout
    assert re.search(r"^[1-9]\d+ passed, 2 errors", done.stdout, re.MULTILINE)
    assert "what_nobody_has" not in done.stdout
    # Tests named by path, as editors do.
    assert asked.returncode == 4
    assert f"{strays[0]} belongs to no tier" in asked.stdout + asked.stderr


@pytest.mark.parametrize("how", [(), ("-j", "2")])
def test_output_json_prints_only_the_summary_to_standard_output(
    project: Project, how: tuple[str, ...]
) -> None:
    asked = ("-s", "unit", "--", "--output", "json", "-k", "domain")
    done = project.run(*NOX, *how, *asked)
    assert json.loads(done.stdout) == project.summary()
    assert {test["service"] for test in project.summary()["tests"]} == {"gateway"}
    assert "Session unit(gateway) was successful" in done.stderr
    refused = project.run(*NOX, *asked[:-3], "yaml", check=False)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "--output: the only output format is json" in refused.stderr


def test_the_unit_tier_writes_junit_and_ctrf_reports(project: Project) -> None:
    outcome = project.nox("-s", "unit", "--", "-k", "domain")
    reports = project.path / "reports" / "unit" / "gateway"
    ctrf = json.loads((reports / "ctrf.json").read_text(encoding="utf-8"))
    total = sum(test["service"] == "gateway" for test in outcome.summary["tests"])
    assert ctrf["results"]["summary"]["tests"] == total
    assert f'tests="{total}"' in (reports / "junit.xml").read_text(encoding="utf-8")
    assert list((project.path / "reports").glob(".runs/*")) == []


def test_the_unit_tier_imports_no_client_of_a_server(project: Project) -> None:
    packages = ("services/gateway", "libs/servicebase")
    folders = [f"{each}/tests/{name}" for each in packages for name in ("unit", "contracts")]
    words = ("-X", "importtime", "-m", "pytest", "-q", "-s", "--tier", "unit", *folders)
    lines = project.run(".venv/bin/python", *words).stderr.splitlines()
    loaded = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    assert {"gateway.settings", "gateway.api.routes", "servicebase.idempotency"} <= loaded
    assert not loaded & {"alembic", "asyncpg", "docker", "psycopg", "redis", "sqlalchemy"}


def test_invoke_writes_bytecode_unless_forbidden_and_imports_no_sqlalchemy(
    project: Project,
) -> None:
    invoke = ("-X", "importtime", "-m", "invoke", "--list")
    kept = project.path / "vendor/stratakit/src/stratakit/tasks/__pycache__"
    for forbidden in ("1", ""):
        rmtree(kept, ignore_errors=True)
        env = {"PYTHONDONTWRITEBYTECODE": forbidden}
        loaded = project.run(".venv/bin/python", *invoke, env=env).stderr
        assert kept.exists() is not bool(forbidden)
    assert re.search(r"\| +psycopg$", loaded, re.MULTILINE)
    assert not re.search(r"\| +(alembic|docker|sqlalchemy)$", loaded, re.MULTILINE)


VARIABLES = """
import os, sys
from stratakit import environment

os.__file__ = sys.argv[1] or os.__file__
given = environment.variables(environment.ROOT / ".nox" / "static")
print(given["PYTHONDONTWRITEBYTECODE"], given.get("PYTHONPYCACHEPREFIX"))
"""


@pytest.mark.parametrize(
    ("library", "folder"), [("", "None"), ("/nonexistent/os.py", "{project}/.nox/bytecode")]
)
def test_bytecode_is_in_a_nox_folder_if_the_standard_library_cannot_have_any(
    library: str, folder: str, project: Project
) -> None:
    done = project.run(".venv/bin/python", "-c", VARIABLES, library)
    assert done.stdout == f"None {folder.format(project=project.path)}\n"


@personas
@needs_git
def test_static_fix_changes_nothing_in_a_fresh_bake(bake: Bakery, tmp_path: Path) -> None:
    project = living(bake, tmp_path, Persona(""))
    git(project.path, "init", "--quiet")
    git(project.path, "add", "--all")
    outcome = project.nox("-s", "static", "--", "--fix")
    assert outcome.code == 0, outcome.output
    assert git(project.path, "diff", "--stat") == ""
    assert git(project.path, "status", "--short", "--untracked-files") == git(
        project.path, "diff", "--cached", "--name-status"
    ).replace("\t", "  ")


@personas
def test_two_first_runs_in_one_project_do_not_interfere(bake: Bakery, tmp_path: Path) -> None:
    project = living(bake, tmp_path, Persona("", {"project_name": "Twice"}))
    at_once(project, project)


@personas
def test_two_first_runs_in_bakes_of_one_name_do_not_interfere(bake: Bakery, tmp_path: Path) -> None:
    persona = Persona("", {"project_name": "Twins"})
    at_once(*(living(bake, tmp_path / side, persona) for side in ("left", "right")))


def at_once(*projects: Project) -> None:
    """Run integration in all projects at the same time; all must pass."""
    running = [
        subprocess.Popen(
            [*NOX, "-s", "integration"],
            cwd=project.path,
            env={**project.environment, "STRATA_SERVERS": "embedded"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for project in projects
    ]
    for process in running:
        output, _ = process.communicate(timeout=PATIENCE * 2)
        assert process.returncode == 0, output


@personas
@pytest.mark.parametrize("source", ["url", "docker", "embedded"])
def test_integration_runs_all_its_tests_on_every_source_of_servers(
    source: str, project: Project
) -> None:
    if source == "docker" and not has_images():
        pytest.skip("no Docker engine with the images")  # URLs and embedded servers are tested.
    given = servers(project) if source == "url" else nothing()
    with given as urls:
        env = {"STRATA_SERVERS": source, "TESTCONTAINERS_RYUK_DISABLED": "true", **urls}
        outcome = project.nox("-s", "integration", env=env)
    assert outcome.code == 0, outcome.output
    assert f"postgres: {source} (STRATA_SERVERS={source}" in outcome.output
    assert outcome.summary["summary"]["total"] == count(project)


@personas
def test_the_smoke_marker_selects_only_smoke_tests(project: Project) -> None:
    outcome = project.nox("-s", "integration", "--", "-m", "smoke", env=NO_DOCKER)
    assert outcome.code == 0, outcome.output
    assert {test["name"].partition("::")[0] for test in outcome.summary["tests"]} == {
        "services/gateway/tests/integration/test_smoke.py"
    }
    [smoke] = outcome.summary["tests"]
    assert smoke["metrics"].keys() == {"requests", "p50_ms", "p95_ms", "p99_ms"}
    assert smoke["metrics"]["requests"] > 20


def count(project: Project) -> int:
    """Return the number of tests in the tier integration."""
    done = project.run(".venv/bin/python", "-m", "pytest", "--tier", "integration", "-q", "--co")
    return sum("::" in line for line in done.stdout.splitlines())


@contextmanager
def nothing() -> Iterator[dict[str, str]]:
    """Yield no URLs: the project must find servers itself."""
    yield {}


SERVE = """
import json, sys
from stratakit import database, servers, settings

with servers.lease(settings.load()) as up:
    with database.connect(up["postgres"].url) as admin:
        if not admin.execute("SELECT FROM pg_roles WHERE rolname = 'plain'").rowcount:
            admin.execute("CREATE ROLE plain LOGIN CREATEDB")
    print(json.dumps({kind: server.url for kind, server in up.items()}), flush=True)
    sys.stdin.read()
"""


@contextmanager
def servers(project: Project) -> Iterator[dict[str, str]]:
    """Run servers outside of the project, with a role that is not a superuser; yield their URLs."""
    with subprocess.Popen(
        [".venv/bin/python", "-c", SERVE],
        cwd=project.path,
        env={**project.environment, "STRATA_SERVERS": "embedded"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout
        urls = json.loads(running.stdout.readline())
        yield {
            "TEST_DATABASE_URL": urls["postgres"].replace("postgres@", "plain@"),
            "TEST_REDIS_URL": urls["redis"],
        }
        running.communicate("")
