"""Tests of a library made by uv, in sessions, CI, the doctor and coverage, like those of services."""

import json
import re
import shutil
from collections.abc import Iterator

import pytest
from baking import Bakery
from project import Changes, Project, ready

pytestmark = pytest.mark.proof(of="outcomes")

EMBEDDED = {"STRATA_SERVERS": "embedded"}
UNIT = """
import socket

import pytest
from pytest_socket import SocketBlockedError

import acme_money as money


def test_it_greets() -> None:
    assert "money" in money.hello()


@pytest.mark.filterwarnings("ignore:A test tried")
def test_sockets_are_blocked() -> None:
    with pytest.raises(SocketBlockedError):
        socket.socket()
"""
INTEGRATION = """
import pytest
from redis import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
CREATE = "CREATE TABLE IF NOT EXISTS ledger (amount int)"


async def count(connection: AsyncConnection, query: str) -> int:
    return int((await connection.execute(text(query))).scalar_one())


@pytest.mark.parametrize("run", ["once", "again"])
async def test_the_rows_of_another_test_are_gone(
    run: str, postgres_engine: AsyncEngine, redis_url: str
) -> None:
    redis = Redis.from_url(redis_url)
    assert redis.get("amount") is None
    redis.set("amount", run)
    async with postgres_engine.begin() as connection:
        await connection.execute(text(CREATE))
        assert await count(connection, "SELECT count(*) FROM ledger") == 0
        await connection.execute(text("INSERT INTO ledger VALUES (1)"))


async def test_a_clone_is_empty(clone_url: str) -> None:
    engine = create_async_engine(clone_url)
    async with engine.begin() as connection:
        assert await count(connection, TABLES) == 0
    await engine.dispose()
"""
FILES = {
    "libs/money/tests/unit/test_money.py": UNIT,
    "libs/money/tests/integration/test_ledger.py": INTEGRATION,
}
MANIFEST = "libs/money/pyproject.toml"
LIBRARY = '[project]\nname = "acme-books-{0}"\nversion = "0.1.0"\n'


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a library made as the engine's guide says, with tests of both tiers."""
    baked = ready(bake, tmp_path_factory.mktemp("libraries with ä space"), "Acme Books")
    guide = (baked.path / "vendor/stratakit/docs/services.md").read_text(encoding="utf-8")
    for command in re.findall(r"^\$ (uv .*money.*)$", guide, re.MULTILINE)[:2]:
        baked.run(*command.split())
    for name, text in FILES.items():
        file = baked.path / name
        file.parent.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")
    baked.run("uv", "lock", "--quiet")
    baked.run("uv", "sync", "--quiet", "--all-packages", "--all-groups")
    return Project(baked.path, baked.answers, {**baked.environment, **EMBEDDED})


@pytest.fixture
def changes(project: Project) -> Iterator[Changes]:
    """Changes that are reverted after the test."""
    with Changes(project) as changes:
        yield changes


def test_unit_and_integration_run_the_tests_of_a_library(project: Project) -> None:
    outcome = project.nox("-s", "unit(money)", "integration(money)")
    assert outcome.code == 0, outcome.output
    tiers = [(tier["name"], tier["service"], tier["status"]) for tier in outcome.summary["tiers"]]
    assert tiers == [("unit", "money", "passed"), ("integration", "money", "passed")]
    assert {test["service"] for test in outcome.summary["tests"]} == {"money"}
    assert outcome.summary["summary"]["passed"] == 5
    assert (project.path / "reports" / "unit" / "money" / "junit.xml").exists()
    # It has none of the whole project's tools.
    (packages,) = (project.path / ".nox" / "library-money").glob("lib/*/site-packages")
    assert not (packages / "nox").exists()


def test_nox_lists_sessions_of_services_and_of_libraries_with_tests(
    project: Project, changes: Changes
) -> None:
    changes.write("libs/fabric/pyproject.toml", LIBRARY.format("fabric"))
    listed = re.findall(r"^[*-] (\S+)", project.run("nox", "-l").stdout, re.MULTILINE)
    assert [each for each in listed if "(" in each] == [
        *("unit(gateway)", "unit(money)", "unit(servicebase)"),
        *("integration(gateway)", "integration(money)", "integration(servicebase)"),
        "load(gateway)",
    ]


def test_the_graph_and_the_ci_matrix_include_a_library(project: Project) -> None:
    graph = project.run(".venv/bin/invoke", "graph", "--format", "json").stdout
    assert json.loads(graph)["libraries"] == [{"name": "money"}, {"name": "servicebase"}]
    said = project.run(".venv/bin/invoke", "ci.matrix", "test").stdout
    jobs, images, *_ = said.splitlines()
    sessions = [job["session"] for job in json.loads(jobs.removeprefix("jobs="))]
    assert {"unit(money)", "integration(money)"} < {*sessions}
    assert images == 'images=["gateway"]'


def test_the_doctor_reports_a_library_and_its_tests(project: Project) -> None:
    outcome = project.outcome(".venv/bin/invoke", "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(outcome.output)["checks"]}
    assert "the library money" in checks["services"]["found"]
    assert checks["tests"]["found"] == "every test belongs to a tier"
    assert "libs/money/tests/unit/" in checks["tests: unit"]["found"]


def test_a_bare_pytest_runs_database_tests_of_a_service_and_a_library_together(
    project: Project,
) -> None:
    migrated = "services/gateway/tests/integration/test_migrations.py"
    done = project.run(".venv/bin/pytest", "-q", migrated, "libs", check=False)
    assert done.returncode == 0, done.stdout


def test_the_dev_group_of_a_library_is_in_its_environment_but_not_docs(
    project: Project, changes: Changes
) -> None:
    group = "[dependency-groups]\n"
    more = f'{group}dev = ["hypothesis"]\ndocs = ["fastapi"]\n'
    text = (project.path / MANIFEST).read_text(encoding="utf-8")
    assert group in text
    changes.write(MANIFEST, text.replace(group, more))
    changes.hide("uv.lock")
    project.run("uv", "lock", "--quiet", "--offline")
    tried = "def test_tries() -> None:\n    import hypothesis\n"
    changes.write("libs/money/tests/unit/test_tries.py", tried)
    outcome = project.nox("-s", "unit(money)", "--", "-k", "tries")
    assert outcome.code == 0, outcome.output
    (packages,) = (project.path / ".nox" / "library-money").glob("lib/*/site-packages")
    assert not (packages / "fastapi").exists()


def test_coverage_judges_a_library_alone_and_together_with_services(project: Project) -> None:
    few = ("-k", "domain or migration or ledger or money", "--cov", "--cov-report=")
    tested = project.nox("-s", "unit", "integration", "--", *few)
    assert tested.code == 0, tested.output
    alone = project.nox("-s", "coverage", "--", "--combine", "--package", "money")
    assert alone.code == 0, alone.output
    page = project.path / "reports" / "coverage" / "summary.md"
    assert "| `libs/money` | 100 % of 2 |" in page.read_text(encoding="utf-8")
    assert "services/gateway" not in page.read_text(encoding="utf-8")
    project.nox("-s", "coverage", "--", "--combine")
    for package in ("libs/money", "services/gateway"):
        assert f"| `{package}` |" in page.read_text(encoding="utf-8")
    shutil.rmtree(project.path / "reports" / "unit" / "money")
    unmeasured = project.nox("-s", "coverage", "--", "--combine")
    assert unmeasured.code == 2, unmeasured.output
    assert "there is no reports/unit/money/coverage.data" in unmeasured.output


def test_a_library_without_stratakit_is_refused_with_a_uv_add_hint(
    project: Project, changes: Changes
) -> None:
    changes.write("libs/fabric/pyproject.toml", LIBRARY.format("fabric"))
    changes.write("libs/fabric/tests/unit/test_a.py", "def test_a() -> None: ...\n")
    outcome = project.nox("-s", "unit(fabric)")
    assert outcome.code == 3, outcome.output
    assert "hint: uv add --package acme-books-fabric --group test stratakit" in outcome.output


def test_a_library_with_the_name_of_a_service_is_refused(
    project: Project, changes: Changes
) -> None:
    for file in ("pyproject.toml", "tests/unit/test_a.py"):
        text = LIBRARY.format("other-gateway") if file.endswith("toml") else ""
        changes.write(f"libs/gateway/{file}", text)
    for command in (("nox", "-l"), ("nox", "-s", "unit(gateway)")):
        done = project.run(*command, check=False)
        assert done.returncode == 3, done.stdout + done.stderr
        assert "there are a service and a library gateway" in done.stderr
        assert "hint: rename one" in done.stderr
    bare = project.run(".venv/bin/pytest", "libs", check=False)
    assert bare.returncode == 13
    assert "there are a service and a library gateway" in bare.stdout + bare.stderr


def test_a_library_without_a_project_table_is_refused(project: Project, changes: Changes) -> None:
    changes.write("libs/fabric/pyproject.toml", "[tool.other]\n")
    changes.write("libs/fabric/tests/unit/test_a.py", "")
    done = project.run("nox", "-l", check=False)
    assert done.returncode == 3
    assert "libs/fabric/pyproject.toml lacks the key 'project' of a library" in done.stderr
