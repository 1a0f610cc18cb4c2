"""The service and its migrations as they are started in production."""

import asyncio
import json
from pathlib import Path

import httpx2
import pytest
from alembic import command
from alembic.config import Config

from stratakit.testing import Service, eventually

from {{ cookiecutter.__package }}.api.routes import PATH
from {{ cookiecutter.__package }}.settings import PREFIX

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


async def test_alembic_reaches_the_database_of_the_settings_alone(
    postgres_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PREFIX + "DATABASE_URL", postgres_url)
    # It raises if there is anything left to migrate.
    await asyncio.to_thread(command.check, Config(toml_file=PYPROJECT))


async def test_it_starts_and_serves_until_it_is_told_to_stop(service: Service) -> None:
    await service.ready()

    async with httpx2.AsyncClient(base_url=service.url) as client:
        response = await client.post(PATH, json={"name": "lamp"})
        assert response.status_code == 201
        place = response.headers["location"]
        assert (await client.get(place)).json() == response.json()
        assert (await client.patch(place, json={"quantity": 1})).json()["quantity"] == 1
        assert (await client.delete(place)).status_code == 204

    def logged() -> bool:
        lines = service.output.read_text(encoding="utf-8").splitlines()
        return any({"request_id", "status", "path"} <= json.loads(line).keys() for line in lines)

    await eventually(logged)
    # It stops while other tests run. That it does, and with 0, is seen at the end of the session.
    service.process.terminate()
