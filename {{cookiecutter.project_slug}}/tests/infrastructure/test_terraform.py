"""Each Terraform module: its own tests, on a mock of its provider."""

import re
from collections.abc import Iterator

import pytest

from stratakit.infra import terraform
from stratakit.infra.terraform import Workspace


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    """A copy of the modules."""
    with terraform.workspace() as work:
        yield work


@pytest.mark.parametrize("module", terraform.modules())
def test_the_tests_of_the_module_pass(module: str, workspace: Workspace) -> None:
    workspace.init(module)
    done = workspace.run(module, "test", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr
    # Terraform passes where it finds no test.
    assert re.search(r"[1-9]\d* passed, 0 failed", done.stdout), done.stdout


@pytest.mark.parametrize("module", terraform.modules())
def test_the_module_is_valid(module: str, workspace: Workspace) -> None:
    workspace.init(module)
    done = workspace.run(module, "validate", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr
