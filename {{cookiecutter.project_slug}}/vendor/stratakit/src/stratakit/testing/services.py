"""Fixtures for a service's integration tests, which its conftest.py assigns to module names.

    from stratakit.testing import services

    settings = services.settings
    service = services.fixture("billing")
    ahead = services.ahead

They are not fixtures of the plugin: a conftest.py next to the tests may define other `settings`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .. import project
from .serving import Service, serving


@pytest.fixture(scope="session")
def settings(postgres_url: str, redis_url: str) -> dict[str, str]:
    """Settings of the service under test, without its prefix: URLs of the servers."""
    return {"DATABASE_URL": postgres_url, "REDIS_URL": redis_url}


def fixture(name: str) -> Callable[..., Any]:
    """Return a fixture that runs the service `name` as in production, with the given `settings`."""

    @pytest.fixture(scope="session")
    def service(
        settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Service]:
        own, folder = project.service(name), tmp_path_factory.mktemp("service")
        with serving(own.package, settings, prefix=own.prefix, folder=folder) as service:
            yield service

    return service


@pytest.fixture(scope="session", autouse=True)
def ahead(request: pytest.FixtureRequest) -> None:
    """Start the service with the first test, so that it is up when its own tests run."""
    if any("service" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("service")
