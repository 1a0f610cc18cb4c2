"""The worked example: its tiers on each source of servers, its gates, its kinds of tests."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from baking import INFERENCE, ROOT, Bakery, named
from documents import Document
from project import Project, has_images, left_alone, listen_elsewhere

pytestmark = pytest.mark.proof(of="example")

EMBEDDED = {"STRATA_SERVERS": "embedded"}
DOCKER = {"STRATA_SERVERS": "docker"}


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project that all tests share."""
    folder = tmp_path_factory.mktemp("example with ä space")
    baked = bake.into(folder, INFERENCE, project_name="Acme Models")
    baked.run("uv", "lock", "--quiet")
    return Project(baked.path, baked.answers, baked.environment)


# Runs all of its tiers, while other tests are running.
@pytest.mark.timeout(900)
def test_the_examples_tiers_and_coverage_gates_pass_on_embedded_servers(project: Project) -> None:
    outcome = project.nox("-s", "static", "coverage", env=EMBEDDED)
    assert outcome.code == 0, outcome.output
    statuses = {tier["name"]: tier["status"] for tier in outcome.summary["tiers"]}
    assert statuses == dict.fromkeys(("static", "unit", "integration", "coverage"), "passed")
    assert outcome.summary["summary"]["skipped"] == 0
    assert outcome.summary["summary"]["total"] > 100
    left_alone(project)


@pytest.mark.timeout(900)
def test_the_examples_integration_tier_passes_in_docker(project: Project) -> None:
    if not has_images():
        pytest.skip("no Docker engine with the images")  # The tier runs on embedded servers above.
    outcome = project.nox("-s", "integration", env=DOCKER)
    assert outcome.code == 0, outcome.output
    assert outcome.summary["summary"]["skipped"] == 0
    assert "postgres: docker" in outcome.output


@pytest.mark.parametrize(
    ("kind", "home"), [("smoke", "test_smoke.py"), ("e2e", "e2e"), ("contract", "contract")]
)
def test_a_marker_selects_one_kind_of_the_examples_integration_tests(
    project: Project, kind: str, home: str
) -> None:
    servers = DOCKER if has_images() else EMBEDDED
    # The contract suite takes the longest: its shortest file shows that it is selected.
    fewer = ("-k", "test_client") if kind == "contract" else ()
    outcome = project.nox("-s", "integration", "--", "-m", kind, *fewer, env=servers)
    assert outcome.code == 0, outcome.output
    places = {Path(test["name"].partition("::")[0]).parts[4] for test in outcome.summary["tests"]}
    assert places == {home}
    if servers is DOCKER:
        assert "postgres: docker" in outcome.output


def test_the_benchmark_uses_names_that_the_example_has(project: Project, tmp_path: Path) -> None:
    # It runs in a project like this one, but in no test.
    bench = tmp_path / "bench"
    shutil.copytree(ROOT / "benchmarks" / "inside" / "gateway", bench)
    files = (str(file) for file in sorted(bench.glob("*.py")))
    checker = ("uv", "run", "--quiet", "--all-packages", "--all-groups", "pyrefly", "check")
    options = ("--config", "pyproject.toml", "--search-path", str(bench), "--min-severity=error")
    checked = project.run(*checker, *options, *files, check=False)
    assert checked.returncode == 0, checked.stdout


# The promised time for a newcomer, with cached packages.
@pytest.mark.timeout(120)
def test_the_readme_leads_to_a_first_completion_within_two_minutes(
    bake: Bakery, tmp_path: Path
) -> None:
    project = bake.into(tmp_path, {**INFERENCE, **named("Acme First")})
    listen_elsewhere(project)
    manifest = (project.path / "services/gateway/pyproject.toml").read_text(encoding="utf-8")
    port = manifest.partition("\nport = ")[2].partition("\n")[0]
    readme = Document(project.path / "services/gateway/README.md")
    tried = next(block for block in readme.blocks if "stack.up" in "".join(block.commands))
    answers: dict[str, str] = {}
    answer: dict[str, Any] = {}
    env = {"STRATA_SERVERS": "embedded"}
    try:
        for line in ("uv run invoke setup", *tried.commands):
            # Like a reader, replace the words in capitals by values from earlier responses.
            typed = line.replace("localhost:8000", f"localhost:{port}").replace("curl", "curl -sSf")
            for name, value in answers.items():
                typed = typed.replace(name, value)
            said = project.run("sh", "-c", typed, env=env).stdout
            if "curl" in line:
                answer = json.loads(said)
                answers |= {
                    name: answer[field]
                    for name, field in (("TOKEN", "token"), ("KEY", "key"))
                    if field in answer
                }
        assert answer["choices"][0]["message"]["content"] == "hello"
    finally:
        project.run("uv", "run", "invoke", "stack.down", env=env)
