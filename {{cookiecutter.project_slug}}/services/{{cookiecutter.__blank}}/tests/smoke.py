"""Requests with which `nox -s cloud` checks that the service works, wherever it runs."""

from collections.abc import Mapping
from uuid import uuid4

import httpx2

from {{ cookiecutter.__package }}.api.routes import PATH


def smoke(url: str, settings: Mapping[str, str]) -> None:
    """Create one, and read it."""
    with httpx2.Client(base_url=url, timeout=30) as client:
        created = client.post(PATH, json={"name": f"smoke {uuid4()}"})
        assert created.status_code == 201, created.text
        assert client.get(created.headers["location"]).json() == created.json()
