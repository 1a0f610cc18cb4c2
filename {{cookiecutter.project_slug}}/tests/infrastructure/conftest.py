"""Local clouds and a copy of the modules, for the tests that ask for them."""

from collections.abc import Iterator

import pytest

from stratakit.infra import clouds, terraform


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The endpoint of a local AWS."""
    with clouds.running("aws") as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def gcs() -> Iterator[str]:
    """The endpoint of a local Google Cloud Storage."""
    with clouds.running("gcs") as endpoint:
        yield endpoint


@pytest.fixture
def workspace() -> Iterator[terraform.Workspace]:
    """A copy of the Terraform modules."""
    with terraform.workspace() as work:
        yield work
