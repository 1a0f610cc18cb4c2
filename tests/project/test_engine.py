"""Tests of the machinery that run inside a baked project, on each source of servers."""

import shutil
from collections.abc import Iterator

import baking
import pytest
from baking import Bakery
from project import Project, has_images

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

INSIDE = "services/gateway/tests/integration/inside"
SOURCES = {
    "embedded": {"STRATA_SERVERS": "embedded"},
    "docker": {"STRATA_SERVERS": "docker", "TESTCONTAINERS_RYUK_DISABLED": "true"},
}
MODULES = {file.name for file in (baking.ROOT / "tests" / "engine").glob("test_*.py")}
# By themselves, so that others can be run beside them: they take a minute or more, most of it waits.
# But for `builders`, whose own `postgres_url` a fixture of the session would meet if it came first.
APART = ("actions", "builders", "kills", "limits", "one_server", "waits")
# They start the servers that they need, or need none, so that Docker's would show nothing new.
OF_NO_SOURCE = {
    f"test_{name}.py"
    for name in (
        *("checks", "download_folders", "downloads", "folders", "keyspaces", "keyspaces_of_runs"),
        *("limits", "one_server", "raising", "registry", "serving", "settings", "waits"),
    )
}


def groups() -> Iterator[tuple[str, str]]:
    """Yield the source and the group of each run; the last group has what is not apart."""
    for source in SOURCES:
        for group in (*APART, "others"):
            if modules(source, group):
                yield source, group


def modules(source: str, group: str) -> list[str]:
    """Return the modules of a group that tell something about a source."""
    apart = {f"test_{name}.py" for name in APART}
    chosen = MODULES - apart if group == "others" else {f"test_{group}.py"}
    return sorted(chosen - OF_NO_SOURCE if source == "docker" else chosen)


def test_what_is_listed_is_there() -> None:
    assert {f"test_{name}.py" for name in APART} | OF_NO_SOURCE <= MODULES


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has the tests in its integration tier."""
    baked = bake.into(tmp_path_factory.mktemp("inside"), project_name="Acme Inside")
    baked.run("uv", "lock", "--quiet")
    baked.run("uv", "sync", "--quiet", "--all-packages", "--all-groups")
    shutil.copytree(baking.ROOT / "tests" / "engine", baked.path / INSIDE)
    return Project(baked.path, baked.answers, baked.environment)


@pytest.mark.parametrize(("source", "group"), [*groups()])
def test_the_machinery_passes_its_tests(source: str, group: str, project: Project) -> None:
    if source == "docker" and not has_images():
        # A machine may be without Docker: the same tests run on embedded servers there.
        pytest.skip("no Docker engine with the images")  # A fake engine would prove nothing.
    files = [f"{INSIDE}/{module}" for module in modules(source, group)]
    outcome = project.nox("-s", "integration", "--", *files, env=SOURCES[source])
    assert outcome.code == 0, outcome.output
