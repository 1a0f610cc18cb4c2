"""The worked example: its tiers, its kinds of tests and its gates.

That its default tiers are green on embedded servers, test_tiers.py shows.
"""

from pathlib import Path

import pytest
from baking import INFERENCE, Bakery
from project import Project, has_images

pytestmark = pytest.mark.slow

EMBEDDED = {"STRATA_SERVERS": "embedded"}
DOCKER = {"STRATA_SERVERS": "docker"}


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One project for all tests."""
    folder = tmp_path_factory.mktemp("example with ä space")
    baked = bake.into(folder, INFERENCE, project_name="Acme Models")
    baked.run("uv", "lock", "--quiet")
    return Project(baked.path, baked.answers, baked.environment)


# Both tiers and all of integration, beside what else is tested.
@pytest.mark.timeout(900)
def test_its_tiers_are_green_on_docker_and_its_gates_hold(project: Project) -> None:
    servers = DOCKER if has_images() else EMBEDDED
    outcome = project.nox("-s", "coverage", env=servers)
    assert outcome.code == 0, outcome.output
    statuses = {tier["name"]: tier["status"] for tier in outcome.summary["tiers"]}
    assert statuses == {"unit": "passed", "integration": "passed", "coverage": "passed"}
    assert outcome.summary["summary"]["skipped"] == 0
    if servers is DOCKER:
        assert "postgres: docker" in outcome.output


@pytest.mark.parametrize(
    ("kind", "home"), [("smoke", "test_smoke.py"), ("e2e", "e2e"), ("contract", "contract")]
)
def test_a_kind_of_tests_can_be_asked_for(project: Project, kind: str, home: str) -> None:
    # The suite of the contract takes the longest; that it is chosen, its shortest file shows.
    fewer = ("-k", "test_events") if kind == "contract" else ()
    outcome = project.nox("-s", "integration", "--", "-m", kind, *fewer, env=EMBEDDED)
    assert outcome.code == 0, outcome.output
    places = {Path(test["name"].partition("::")[0]).parts[4] for test in outcome.summary["tests"]}
    assert places == {home}
