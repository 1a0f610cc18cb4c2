"""Tests of the machinery that run inside a baked project, on each source of servers."""

import shutil

import baking
import pytest
from baking import Bakery
from living import Project, has_images

# Some seven hundred tests, three minutes on a machine that does nothing else.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

INSIDE = "services/gateway/tests/integration/inside"
SOURCES = {
    "embedded": {"OPS_SERVERS": "embedded"},
    "docker": {"OPS_SERVERS": "docker", "TESTCONTAINERS_RYUK_DISABLED": "true"},
}


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has the tests in its integration tier."""
    baked = bake.into(tmp_path_factory.mktemp("inside"), project_name="Acme Inside")
    baked.run("uv", "lock", "--quiet")
    baked.run("uv", "sync", "--quiet", "--all-packages", "--all-groups")
    shutil.copytree(baking.ROOT / "tests" / "inside", baked.path / INSIDE)
    return Project(baked.path, baked.answers, baked.environment)


@pytest.mark.parametrize("source", SOURCES)
def test_the_machinery_passes_its_tests(source: str, project: Project) -> None:
    if source == "docker" and not has_images():
        # A machine may be without Docker: the same tests run on embedded servers there.
        pytest.skip("no Docker engine with the images")  # A fake engine would prove nothing.
    outcome = project.nox("-s", "integration", "--", INSIDE, env=SOURCES[source])
    assert outcome.code == 0, outcome.output
