"""A copy of the Terraform modules, for the tests that ask for one."""

from collections.abc import Iterator

import pytest

from stratakit.infra import terraform


@pytest.fixture
def workspace() -> Iterator[terraform.Workspace]:
    """A copy of the Terraform modules."""
    with terraform.workspace() as work:
        yield work
