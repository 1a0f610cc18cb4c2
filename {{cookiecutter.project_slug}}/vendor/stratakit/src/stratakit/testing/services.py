"""Fixtures of a service's integration tests, which its conftest.py takes over by their names.

    from stratakit.testing import services

    settings = services.settings
    service = services.fixture("billing")
    ahead = services.ahead

They are no fixtures of the plugin: a conftest.py beside the tests may have other `settings`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .. import project
from .serving import Service, serving


@pytest.fixture(scope="session")
def settings(postgres_url: str, redis_url: str) -> dict[str, str]:
    """The settings that the service is started with, without its prefix: where the servers are."""
    return {"DATABASE_URL": postgres_url, "REDIS_URL": redis_url}


def fixture(name: str) -> Callable[..., Any]:
    """Return a fixture: the service `name` as in production, with the fixture `settings`."""

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
    """Start the service with the first test, so that it is up when its own tests come."""
    if any("service" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("service")
