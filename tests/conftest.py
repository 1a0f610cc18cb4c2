"""Fixtures of the template, its bakes and its hooks."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import baking
import pytest
from baking import INFERENCE, Bakery
from installed import Environment

# pytest takes these options and hooks from this module.
from sampling import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_configure_node,
    pytest_report_header,
)

__all__ = [
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_report_header",
]

# Run in the environment of a project: by `nox -s engine` and `nox -s "proof(clients)"`.
collect_ignore = ["clients", "engine"]

# A shell's background jobs ignore it, and so would all programs that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The current template, without git; read only."""
    return baking.snapshot(tmp_path_factory.mktemp("template") / "strata")


@pytest.fixture(scope="session")
def bake(template: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Bakery:
    """Bake a project: `bake(service="billing")`. Its folder has a space and a letter like ä."""
    own = tmp_path_factory.getbasetemp()
    # With several workers, each has a folder below the shared one.
    shared = own if worker_id == "master" else own.parent
    return Bakery(template, tmp_path_factory.mktemp("bakes"), shared)


@pytest.fixture(scope="session")
def environment(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with a project's dependencies, without its own packages."""
    folder = tmp_path_factory.mktemp("environment")
    # The example has all dependencies of a skeleton, and more.
    project = bake.into(folder, INFERENCE)
    everything = ("--no-install-workspace", "--all-packages", "--all-groups")
    home = {"UV_PROJECT_ENVIRONMENT": str(folder / "venv")}
    project.run("uv", "sync", "--quiet", *everything, env=home)
    return Environment(folder / "venv")


@pytest.fixture
def hook(template: Path, tmp_path: Path) -> Callable[..., ModuleType]:
    """Import a hook, rendered for some answers: `hook("pre_gen_project", service="billing")`."""
    return lambda name, **answers: baking.hook(template, name, tmp_path, **answers)


@pytest.fixture
def own_template(template: Path, tmp_path: Path) -> Path:
    """A copy of the template that a test may change."""
    return shutil.copytree(template, tmp_path / "own template")
