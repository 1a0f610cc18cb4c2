"""Unmodified clients of OpenAI's API against the worked example, with a real engine behind it."""

import shutil
from pathlib import Path

import pytest
from baking import INFERENCE, ROOT, Bakery, named
from project import Project

pytestmark = pytest.mark.proof(of="clients")

CLIENTS = (
    *("litellm>=1.80", "langchain-openai>=1.1", "instructor>=1.14", "pydantic-ai-slim[openai]>=2"),
    *("gguf>=0.17", "numpy>=2.2", "xllamacpp>=2026.10"),
)
"""Packages that no project depends on: clients, the engine, and tools to make its model."""
HERE = Path("services", "gateway", "tests", "integration", "clients")


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the clients in its environment, and their tests in its gateway."""
    baked = bake.into(tmp_path_factory.mktemp("clients"), {**INFERENCE, **named("Acme Clients")})
    baked.run("uv", "lock", "--quiet")
    baked.run("uv", "sync", "--quiet", "--all-packages", "--all-groups")
    baked.run("uv", "pip", "install", "--quiet", *CLIENTS)
    shutil.copytree(ROOT / "tests" / "clients", baked.path / HERE)
    return Project(baked.path, baked.answers, baked.environment)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "file", ["test_contract", "test_engine", "test_gateway", "test_python", "test_others"]
)
def test_the_tests_of_openai_clients_pass_with_a_real_engine(project: Project, file: str) -> None:
    done = project.run(
        *("uv", "run", "--no-sync", "pytest", "--tier", "integration"),
        *("--home", "services/gateway", str(HERE / f"{file}.py")),
        # Warnings come from third-party packages.
        *("-W", "default"),
        env={"STRATA_SERVERS": "embedded"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
